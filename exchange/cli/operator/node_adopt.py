"""``exchange node adopt``: records from files, into the running node or into a stopped one's database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exchange.cli.options import home_option, json_option, passphrase_option, read_passphrase
from keys.cli.ending import print_json
from keys.errors import RefusedError, UnavailableError

if TYPE_CHECKING:
    from keys.cli.failure import Failure
    from keys.dsse import SignedPayload

FILE = click.Path(exists=False, dir_okay=False, path_type=Path)
Adopt = Callable[["SignedPayload"], "str | None"]  # how a record is in force now; None where it was before
HINTS = {  # where the general one of the code is about something else
    "EQUIVOCATION": "keep both files and ask its maker, by another way, which one holds; adopt the version after it",
    "REPLAYED": "a newer one is in force here; nothing is to be done",
}
FROM_START = "in force from the next start on"


@dataclass(slots=True)
class Outcomes:
    """What became of each file, told as it comes; or all at the end as one object for programs."""

    as_json: bool
    told: dict[str, list[str]] = field(default_factory=lambda: {"adopted": [], "known": []})
    failures: list[tuple[Path, Failure]] = field(default_factory=list)

    def add(self, title: str, how: str | None) -> None:
        """Note a record that is in force, and how it came to be."""
        self.told["known" if how is None else "adopted"].append(title)
        if not self.as_json:
            click.echo(f"known before: {title}" if how is None else f"adopted {title}; {how}")

    def refuse(self, file: Path, error: Exception) -> None:
        """Note a file of which nothing was kept."""
        from keys.cli.failure import failure_of, tell_people

        made = failure_of(error)
        if made is None:
            raise error
        named = str(file) in made.message
        message = made.message if named else f"{file}: {made.message}"
        made = replace(made, message=message, hint=HINTS.get(made.code, made.hint))
        self.failures.append((file, made))
        if not self.as_json:
            tell_people(made, "exchange")

    def end(self) -> int:
        """Print the object, where a program wants it; return the exit code, that of the first file refused."""
        if self.as_json:
            refused = [{"file": str(file), **each.to_json()} for file, each in self.failures]
            first = self.failures[0][1].to_json() if self.failures else {"ok": True}
            print_json({**first, **self.told, "refused": refused})
        return self.failures[0][1].exit_code if self.failures else 0


@click.command(short_help="Adopt records from files, our own too.")
@home_option
@passphrase_option
@click.argument("files", nargs=-1, required=True, type=FILE, metavar="FILE…")
@json_option
def adopt(home: Path, passphrase_fd: int | None, files: tuple[Path, ...], as_json: bool) -> int:
    """Adopt manifests and key sheets from files, other members' and our own, in any order; or what our root renewed.

    Each file wholly or not at all. A running node takes them without a passphrase and tells every connected peer at
    once; where none runs, the node's passphrase is needed.
    """
    from exchange.node.config import load_config

    agency, outcomes = str(load_config(home).agency), Outcomes(as_json)
    records = _in_order(_read(files, outcomes))
    if records:
        with _taking(home, lambda: read_passphrase(passphrase_fd, agency)) as take:
            for file, record in records:
                try:
                    outcomes.add(_title(record), take(record))
                except (RefusedError, UnavailableError) as error:
                    outcomes.refuse(file, error)
    return outcomes.end()


def _read(files: tuple[Path, ...], outcomes: Outcomes) -> Iterator[tuple[Path, SignedPayload]]:
    from keys.show import load_kind

    for file in files:
        try:
            record = load_kind(file, "manifest", "key-sheet", "renewal")
            _title(record)
        except (RefusedError, OSError) as error:
            outcomes.refuse(file, error)
        else:
            yield file, record


def _title(record: SignedPayload) -> str:
    from exchange.acts.directory import title
    from keys.renewal import is_renewal, parse_renewal

    if not is_renewal(record):
        return title(record)
    renewal = parse_renewal(record.payload)
    return f"{title(renewal.manifest)} and {len(renewal.leaves) + 1} certificates"


def _in_order(records: Iterable[tuple[Path, SignedPayload]]) -> list[tuple[Path, SignedPayload]]:
    """Put manifests before the key sheets that they verify, and older versions before newer ones."""
    from exchange.acts.directory import kind_of_record, named
    from keys.renewal import is_renewal, parse_renewal

    def place(each: tuple[Path, SignedPayload]) -> tuple[int, str, int]:
        record = parse_renewal(each[1].payload).manifest if is_renewal(each[1]) else each[1]
        kind = kind_of_record(record)
        return (int(kind), *named(kind, record))

    return sorted(records, key=place)


@contextmanager
def _taking(home: Path, passphrase: Callable[[], bytes]) -> Iterator[Adopt]:
    """Return what adopts one record: the running node, or a stopped one's database."""
    from exchange.node.home import running_process

    with _by_node(home) if running_process(home) is not None else _by_database(home, passphrase) as take:
        yield take


@contextmanager
def _by_node(home: Path) -> Iterator[Adopt]:
    from exchange.cli.operator.admin_client import SECONDS, admin
    from exchange.rpc.transport.status import error_named
    from exchange.v1 import admin_pb2

    with admin(home) as stub:

        def take(record: SignedPayload) -> str | None:
            request = admin_pb2.AdoptRequest(records=[record.to_message()])
            (result,) = stub.Adopt(request, timeout=SECONDS, wait_for_ready=True).results
            if result.HasField("refusal"):
                raise error_named(result.refusal.code, result.refusal.message)
            peers = "1 connected peer" if result.told == 1 else f"{result.told} connected peers"
            return None if result.known else f"in force here, told to {peers}"

        yield take


@contextmanager
def _by_database(home: Path, passphrase: Callable[[], bytes]) -> Iterator[Adopt]:
    from exchange.acts.directory import check_own, is_known, kind_of_record
    from exchange.node.home import open_node
    from exchange.node.node import now_ms
    from keys.node_certificates import check_renewal, put_renewal
    from keys.renewal import is_renewal

    opened, _ = open_node(home, passphrase)

    def take(record: SignedPayload) -> str | None:
        renewal = check_renewal(record, opened.view, home, now_ms()) if is_renewal(record) else None
        record = renewal.manifest if renewal is not None else record
        kind = kind_of_record(record)
        known = is_known(opened.store.reads(), kind, record)
        if not known:
            check_own(kind, record, opened.view, now_ms())
        if renewal is not None:
            put_renewal(home, opened.view, renewal)
        if known:
            return None
        opened.adopt_now(kind, record)  # nothing is signed before another member has said what it holds of this log
        return FROM_START

    try:
        yield take
    finally:
        opened.stop()
