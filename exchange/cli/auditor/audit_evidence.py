"""``exchange audit evidence``: what proves one bulletin, in one file that a court can check without us."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click

from audit.record.commitments import SLOTS
from exchange.cli.options import home_option, json_option, only_officer, passphrase_option, read_passphrase
from exchange.evidence.epoch_proofs import EpochLogs
from exchange.evidence.gather_evidence import Shown, evidence_file, find_bulletin, gather
from exchange.node.config import paths_of
from exchange.node.home import running_process
from exchange.store.factory import may_be_written, open_reading
from exchange.store.rows import StoredBulletin
from keys.errors import UnavailableError
from keys.files import PUBLIC, write_file

PUBLISH_SECONDS = 15.0  # a running node publishes its log's files within one


@click.command()
@click.argument("bulletin", metavar="ID")
@home_option
@click.option("--purpose", required=True, metavar="TEXT", help="What it is for, as a court's file number.")
@click.option("--without-content", is_flag=True, help="Proofs alone: no key is needed, nothing is opened.")
@click.option("--field", "fields", multiple=True, type=click.Choice(SLOTS), help="Show this part alone; repeatable.")
@click.option("--as", "officer", envvar="EXCHANGE_AS", metavar="OFFICER", help="Who asks a running node.")
@passphrase_option
@click.option("-o", "--output", required=True, metavar="FILE", help="The file; one that is there stays.")
@json_option
def evidence(
    bulletin: str,
    home: Path,
    purpose: str,
    without_content: bool,
    fields: tuple[str, ...],
    officer: str | None,
    passphrase_fd: int | None,
    output: str,
    as_json: bool,
) -> None:
    """Write the evidence for one bulletin: who sent what to whom, when, and the proofs of all of it.

    ID is the bulletin's id, the first eight characters of it, or its number. The purpose goes into the file, and its
    digest into the log. Taking content out is logged before anything is opened: a running node is asked by an officer
    (--as), a stopped node's home is opened with the node's own passphrase. `exchange audit verify FILE` checks it.
    """
    if without_content and fields:
        raise click.UsageError("--without-content shows nothing, --field shows a part: give one of them")
    if not 0 < len(purpose) <= 500:
        raise click.UsageError(f"--purpose has {len(purpose)} characters; 1 to 500 are allowed")
    if not home.is_dir():
        raise FileNotFoundError(2, "no such folder", str(home))
    path = Path(output)
    _check_room(path)
    alone = not without_content and running_process(home) is None
    if alone and not may_be_written(paths_of(home).store):
        why = "what is taken out is entered in the log first (EXPORTED), and that cannot be; so no content is given"
        raise click.UsageError(f"{home} cannot be written: {why}; proofs alone: --without-content")
    taken = _Home(home)
    try:
        stored = find_bulletin(taken.store.reads(), bulletin)
        shown = None
        if not without_content:
            shown = _asked(home, stored, purpose, fields, officer, passphrase_fd) if running_process(home) else None
        if shown is None and not without_content:
            taken.close()
            shown = _alone(home, stored, purpose, fields, passphrase_fd)
            taken = _Home(home)
        core, left = _gathered(taken, stored, purpose, shown)
        data = evidence_file(core)
    finally:
        taken.close()
    _write(path, data)
    _tell(path, data, stored, shown, left, as_json)


def _check_room(path: Path) -> None:
    """Refuse a file that could not be written, before anything is opened and logged."""
    if path.exists():
        raise FileExistsError(17, "it is there already", str(path))
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise click.UsageError(f"{path} cannot be written: {path.parent} is no folder that you may write to")


def _write(path: Path, data: bytes) -> None:
    try:
        write_file(path, data, mode=PUBLIC)
    except FileExistsError as error:
        raise FileExistsError(17, "it is there already", str(path)) from error
    except OSError as error:
        raise click.UsageError(f"{path} cannot be written: {error.strerror}") from error


class _Home:
    """A home's database; a running node may have it open, too."""

    def __init__(self, home: Path) -> None:
        if not home.is_dir():
            raise FileNotFoundError(2, "no such folder", str(home))
        self.home, self.store = home, open_reading(paths_of(home).store)

    def close(self) -> None:
        self.store.close()


def _asked(
    home: Path, stored: StoredBulletin, purpose: str, fields: tuple[str, ...], officer: str | None, fd: int | None
) -> Shown:
    """Have an officer ask the running node; EXPORTED is durable before it answers."""
    from uuid import UUID

    from exchange.client.client import Client
    from exchange.evidence.export import CASE
    from exchange.node.enrolment import load_enrolment

    whose = officer or only_officer(home)
    owner = load_enrolment(home, whose).owner
    with Client.connect(home, whose, passphrase=lambda: read_passphrase(fd, owner)) as client:
        exported = client.export(client.find(str(UUID(bytes=stored.bulletin_id))), case=CASE, because=purpose)
    return Shown(
        statement=exported.opened.signed,
        exported_index=exported.opened.log_index,
        request=exported.request,
        blind=exported.blind,
        fields=fields,
    )


def _alone(home: Path, stored: StoredBulletin, purpose: str, fields: tuple[str, ...], fd: int | None) -> Shown:
    """Open a stopped node's home with the node's own passphrase."""
    from exchange.evidence.export import export_alone
    from exchange.node.home import open_node

    node, _ = open_node(home, lambda: read_passphrase(fd, f"the node in {home}"))
    try:
        return export_alone(node, stored, purpose, fields)
    finally:
        node.stop()


def _gathered(
    taken: _Home, stored: StoredBulletin, purpose: str, shown: Shown | None
) -> tuple[dict[str, bytes], list[str]]:
    """Gather, and wait for entries that a running node is about to publish."""
    until = time.monotonic() + PUBLISH_SECONDS
    while True:
        try:
            reads = taken.store.reads()
            return gather(reads, EpochLogs(taken.home, reads), stored, purpose=purpose, shown=shown)
        except UnavailableError:
            if time.monotonic() > until:
                raise
        time.sleep(0.2)


def _tell(path: Path, data: bytes, stored: StoredBulletin, shown: Shown | None, left: list[str], as_json: bool) -> None:
    from hashlib import sha256
    from uuid import UUID

    pdf = _pdf(path, data)
    told: dict[str, Any] = {
        "file": str(path),
        "bulletin": str(UUID(bytes=stored.bulletin_id)),
        "sender": stored.sender,
        "content": "none" if shown is None else "fields" if shown.fields else "whole",
        "exported": shown.exported_index if shown is not None else None,
        "bytes": len(data),
        "sha256": sha256(data).hexdigest(),
        "pdf": str(pdf) if pdf is not None else None,
    }
    if left:
        told["left_out"] = left
    if as_json:
        import json

        print(json.dumps(told))
        return
    for each in left:
        click.echo(f"exchange: left out: {each}", err=True)
    words = {"none": "without content", "fields": f"showing {', '.join(shown.fields) if shown else ''}"}
    print(f"{path}: {told['bulletin']} of {stored.sender}, {words.get(told['content'], 'with its text')}")
    if shown is not None:
        print(f"  logged before it was opened, as entry {shown.exported_index}")
    print(f"  SHA-256 {told['sha256']}")
    if pdf is not None:
        print(f"  to print: {pdf}")
    print("  verify it: exchange audit verify FILE --roster ROSTER; to read it: report.html in the file")


def _pdf(path: Path, data: bytes) -> Path | None:
    """Write the report for print beside the file, where the extra ``pdf`` is installed; it proves nothing."""
    from exchange.evidence.pdf import print_report

    beside = path.with_suffix(".pdf")
    if beside.exists() or beside == path:
        return None
    try:
        return beside if print_report(data, beside) else None
    except OSError as error:  # the evidence itself is written, and the page for print is none
        click.echo(f"{beside} cannot be written: {error.strerror}", err=True)
        return None
