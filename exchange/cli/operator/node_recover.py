"""``exchange node recover``: a node that was lost or restored begins a new epoch from what its peers hold.

Twice: without ``--manifest`` it asks the members and writes the checkpoint that the agency's root must sign; with it,
it asks again, builds the new database and puts it in the old one's place. Repeating either does no harm.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audit.note.checkpoint import parse_note
from exchange.cli.options import home_option, json_option, lines_as_json, passphrase_option, read_passphrase
from keys.errors import IntegrityError, RefusedError

if TYPE_CHECKING:
    from exchange.acts.node_view import NodeView
    from exchange.node.config import NodeConfig
    from exchange.recovery.first_group import Entered
    from exchange.rpc.recovery.rebuild import Gathered
    from exchange.rpc.transport.channel import Identity
    from keys.dsse import SignedPayload
    from keys.identity import AgencyId
    from keys.key_files import NodeKeys

FILE = click.Path(exists=False, dir_okay=False, path_type=Path)


LOOK = "recovery.part"  # folder for the copy of the old database


@click.command("recover")
@home_option
@click.option("--from-peers", is_flag=True, required=True, help="Take back what the other members hold.")
@click.option("--close", is_flag=True, help="The home is whole: close its epoch in order, then go on as after a loss.")
@click.option("--manifest", "manifest_file", type=FILE, help="Our new manifest, which opens the new epoch.")
@click.option("--roster", "roster_file", type=FILE, help="Roster 1, where the database is lost.")
@click.option(
    "--words", "told", metavar="WORDS", help="That roster's twelve words, as you were told them; or be asked."
)
@click.option("--record", "records", type=FILE, multiple=True, help="A manifest or key sheet at hand; repeat it.")
@click.option("--peer", "peers", multiple=True, metavar="AGENCY=HOST:PORT", help="Where a member is; repeat it.")
@click.option("--without", multiple=True, metavar="AGENCY", help="Give up what this member alone holds; repeat it.")
@passphrase_option
@json_option
@lines_as_json
def recover(
    home: Path,
    from_peers: bool,
    close: bool,
    manifest_file: Path | None,
    roster_file: Path | None,
    told: str | None,
    records: tuple[Path, ...],
    peers: tuple[str, ...],
    without: tuple[str, ...],
    passphrase_fd: int | None,
) -> None:
    """Begin a new epoch of the log from what the peers hold, after the node or its disk was lost.

    First without --manifest: it asks every member and writes what the agency's root signs with exchange keys make
    epoch. Then with the new manifest: it builds the database anew. The old files are moved aside, never deleted.
    With --close it ends the log of a node that has lost nothing, because its key was stolen or it forked: EPOCH_CLOSED
    is its last entry, cosigned by the members, and nothing is signed in that epoch any more.
    """
    from exchange.node.config import paths_of
    from exchange.recovery import swap_files
    from keys.key_files import load_node
    from keys.show import load_kind

    if not home.is_dir():
        raise FileNotFoundError(2, "no such folder", str(home))
    manifest = load_kind(manifest_file, "manifest") if manifest_file is not None else None
    roster = load_kind(roster_file, "roster") if roster_file is not None else None
    given = [load_kind(each, "manifest", "key-sheet") for each in records]
    addresses = _addresses(peers)
    if close:
        if manifest is not None or roster is not None:
            raise click.UsageError("--close is for a whole home, before there is a manifest: leave the other files out")
        keys = load_node(home, read_passphrase(passphrase_fd, "the node"))
        _close(home, keys, addresses, list(without))
        return
    with _occupied(home):
        if swap_files.unfinished(home) is not None:
            _say_done(home, swap_files.change_places(paths_of(home)))
            return
        if roster is not None:
            from exchange.cli.operator.compare_words import compare_words

            compare_words(roster, told)
        keys = load_node(home, read_passphrase(passphrase_fd, "the node"))
        with _empty_folder(home / LOOK) as look:
            view, old = _known(home, look, keys, roster, given, _now_ms())
            gathered = _gather(home, view, keys, addresses, list(without))
            _go_on(home, gathered, old, manifest)


@contextmanager
def _occupied(home: Path) -> Iterator[None]:
    """Keep every other process from this home."""
    from exchange.node.home import occupy

    occupied = occupy(home)
    try:
        yield
    finally:
        os.close(occupied)


@contextmanager
def _empty_folder(path: Path) -> Iterator[Path]:
    """Give a folder of our own, which is gone afterwards."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _close(home: Path, keys: NodeKeys, addresses: dict[AgencyId, list[str]], without: list[str]) -> None:
    """Close the epoch of a whole home, have the members cosign that, and write what the root must sign."""
    from exchange.node.close_epoch import close_epoch, finish
    from exchange.node.home import open_home
    from exchange.rpc.recovery import rebuild

    node = open_home(home, keys, closed=True)
    try:
        gathered = _gather(home, node.view, keys, addresses, without)
        note = close_epoch(node, [(each.peer, text) for each in gathered.recovered for _, text in each.notes])
        shown = rebuild.show_all(gathered, _identity(home, keys), addresses, note, node.log.consistency, _now_ms())
        note = asyncio.run(shown)
        finish(node, note)
    finally:
        node.stop()
    rebuild.save_recovered(home, gathered)
    checkpoint, own = rebuild.save_for_root(home, note, gathered)
    end = parse_note(note).checkpoint
    click.echo(f"{end.origin} is closed at size {end.size:,}; for whoever keeps the root: {checkpoint} and {own}")
    click.echo("exchange: next: exchange keys make epoch, then this with --manifest instead of --close", err=True)


def _known(
    home: Path,
    look: Path,
    keys: NodeKeys,
    roster: SignedPayload | None,
    records: list[SignedPayload],
    now_ms: int,
) -> tuple[NodeView, str | None]:
    """Return what the home still knows: by its database, whose copy is what is filled from, or by files alone."""
    from exchange.node.config import paths_of
    from exchange.recovery import swap_files
    from exchange.rpc.recovery import rebuild

    try:
        store = swap_files.copy_database(paths_of(home), look)
    except IntegrityError as error:
        if roster is None:
            raise click.UsageError(f"{error}; then roster 1 is needed: --roster FILE") from error
        click.echo("exchange: no database of before can be read; everything comes from the members", err=True)
        return rebuild.view_of_files(roster, records, keys, now_ms), None
    try:
        return rebuild.view_of_database(store.reads(), records, keys, now_ms), swap_files.copied_to(
            paths_of(home), look
        )
    finally:
        store.close()


def _gather(
    home: Path, view: NodeView, keys: NodeKeys, addresses: dict[AgencyId, list[str]], without: list[str]
) -> Gathered:
    from exchange.rpc.recovery import rebuild

    for peer, address in _config(home, view).peers.items():
        addresses.setdefault(_code(peer, "peers"), [address])
    members = [_code(each, "--without") for each in without if "/" not in each]
    gathered = asyncio.run(rebuild.gather(view, _identity(home, keys), addresses, members, _now_ms()))
    width = max((len(each.peer) for each in gathered.recovered), default=0)
    for each in gathered.recovered:
        newest = each.newest
        seen = f"saw {newest.origin} at size {newest.size:,}" if newest is not None else "saw nothing of our log"
        click.echo(
            f"{each.peer:<{width}}  {seen}; gives back {len(each.deliveries)} deliveries of ours"
            f" and {len(each.receipts)} of our receipts"
        )
    external = _config(home, view).witnesses
    cosigned = asyncio.run(rebuild.check_witnesses(gathered, external, keys, without))
    for name, size in cosigned.items():
        click.echo(f"{name}  has cosigned size {size:,} of {gathered.view.origin}")
    return gathered


def _go_on(home: Path, gathered: Gathered, old: str | None, manifest: SignedPayload | None) -> None:
    """Write what the root must sign; or, with what it signed, build the new epoch and put it in its place."""
    from exchange.node.config import CONFIG_FILE, paths_of
    from exchange.recovery import swap_files
    from exchange.rpc.recovery import rebuild

    folder = rebuild.save_recovered(home, gathered)
    if manifest is None:
        note, end = rebuild.choose_end(gathered)
        checkpoint, own = rebuild.save_for_root(home, note, gathered)
        click.echo(f"what they gave back is kept in {folder}")
        click.echo(f"{end.origin} ends at size {end.size:,}; for whoever keeps the root: {checkpoint} and {own}")
        click.echo("exchange: next: exchange keys make epoch, then this again with --manifest", err=True)
        return
    view = rebuild.check_manifest(manifest, gathered, _now_ms())
    if rebuild.is_there(old, view):
        click.echo(f"nothing to do: this home is in {view.origin} already")
        return
    plan = rebuild.plan_of(view, gathered)
    part = swap_files.part_of(home, view.epoch)
    entered = swap_files.build(paths_of(home), part, plan, old, time.time_ns() // 1000, os.urandom)
    before = swap_files.change_places(paths_of(home))
    if not (home / CONFIG_FILE).exists():
        _write_config(home, view)
    _say(entered)
    _say_done(home, before)


def _say(entered: Entered) -> None:
    click.echo(
        f"recovered: {entered.bulletins} bulletins of ours, {entered.deliveries} deliveries, {entered.receipts} receipts"
        f" of peers, {entered.given} receipts of our own"
    )
    click.echo(f"queued again: {entered.renumbered} deliveries that were waiting")


def _say_done(home: Path, before: Path) -> None:
    click.echo(f"the new epoch is in place; what was here before is in {before}")
    click.echo(f"exchange: next: exchange node serve --home {home}", err=True)


def _config(home: Path, view: NodeView) -> NodeConfig:
    from exchange.node.config import CONFIG_FILE, NodeConfig, load_config

    return load_config(home) if (home / CONFIG_FILE).exists() else NodeConfig(agency=view.agency)


def _write_config(home: Path, view: NodeView) -> None:
    """Write settings anew, where they are lost too, and enrol whoever is not any more."""
    from exchange.node.config import CONFIG_FILE, format_config
    from exchange.node.node_init import enrol_all
    from keys.files import PUBLIC, write_file

    write_file(home / CONFIG_FILE, format_config(_config(home, view)).encode(), mode=PUBLIC)
    enrol_all(home, view.federation.rosters[0].signed)
    click.echo(
        f"exchange: {home / CONFIG_FILE} was lost too and is as exchange node init writes it: look at it", err=True
    )


def _identity(home: Path, keys: NodeKeys) -> Identity:
    from exchange.rpc.transport.channel import Identity
    from keys.agency import TLS_FILE
    from keys.certificate import private_pem

    return Identity(leaf=(home / TLS_FILE).read_bytes(), private_pem=private_pem(keys.tls_private))


def _addresses(peers: tuple[str, ...]) -> dict[AgencyId, list[str]]:
    found: dict[AgencyId, list[str]] = {}
    for each in peers:
        agency, equals, address = each.partition("=")
        if not equals or ":" not in address:
            raise click.UsageError(f"--peer {each!a}: AGENCY=HOST:PORT was expected, as TH-DSI=192.0.2.7:7443")
        found.setdefault(_code(agency, "--peer"), []).append(address)
    return found


def _code(text: str, where: str) -> AgencyId:
    from keys.identity import parse_agency

    try:
        return parse_agency(text)
    except RefusedError as error:
        raise click.UsageError(f"{where}: {error}") from error


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
