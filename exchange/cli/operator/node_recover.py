"""``exchange node recover``: a node that was lost or restored begins a new epoch from what its peers hold.

Twice: without ``--manifest`` it asks the members and writes the checkpoint that the agency's root must sign; with it,
it asks again, builds the new database and puts it in the old one's place. Repeating either does no harm.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audit.note.checkpoint import parse_note
from exchange.cli.operator.recovery_steps import RecoverySteps, addresses_of, code_of
from exchange.cli.options import home_option, json_option, passphrase_option, read_passphrase
from keys.errors import IntegrityError

if TYPE_CHECKING:
    from audit.note.checkpoint import Checkpoint
    from exchange.acts.node_view import NodeView
    from exchange.node.config import NodeConfig
    from exchange.recovery.first_group import Entered
    from exchange.rpc.recovery.rebuild import Gathered
    from exchange.rpc.transport.channel import Identity
    from exchange.store.store import NodeStore
    from keys.dsse import SignedPayload
    from keys.identity import AgencyId
    from keys.key_files import NodeKeys

FILE = click.Path(exists=False, dir_okay=False, path_type=Path)


LOOK = "recovery.part"  # folder for the copy of the old database


@click.command("recover", short_help="Begin a new epoch from what the peers hold.")
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
    as_json: bool,
) -> None:
    """Begin a new epoch of the log from what the peers hold, after the node or its disk was lost.

    First without --manifest: it asks every member and writes what the agency's root signs with exchange keys make
    epoch. Then with the new manifest: it builds the database anew. The old files are moved aside, never deleted.
    With --close it ends the log of a node that has lost nothing, because its key was stolen or it forked: EPOCH_CLOSED
    is its last entry, cosigned by the members, and nothing is signed in that epoch any more.
    """
    from exchange.cli.operator.compare_words import compare_words
    from exchange.recovery.fresh_keys import load_keys
    from keys.key_files import load_node
    from keys.show import load_kind

    _check_home(home)
    manifest = load_kind(manifest_file, "manifest") if manifest_file is not None else None
    roster = load_kind(roster_file, "roster") if roster_file is not None else None
    given = [load_kind(each, "manifest", "key-sheet") for each in records]
    addresses, steps = addresses_of(peers), RecoverySteps(as_json)
    if close:
        if manifest is not None or roster is not None:
            raise click.UsageError("--close is for a whole home, before there is a manifest: leave the other files out")
        _close(steps, home, load_node(home, _late(passphrase_fd)), addresses, list(without))
        return steps.end()
    with _occupied(home):
        if _completed(steps, home):
            return steps.end()
        if roster is not None:
            compare_words(roster, told)
        with _empty_folder(home / LOOK) as look, _old_database(home, look, roster is not None) as store:
            _add_old(steps, home, store)
            secret = read_passphrase(passphrase_fd, "the node")  # after the facts
            keys = load_keys(home, secret, _now_ms(), os.urandom, keep=manifest is not None)
            view = _known(store, keys, roster, given, _now_ms())
            gathered = _gather(steps, home, view, keys, addresses, list(without))
            _list_lost(steps, home, store, gathered)
            _go_on(steps, home, gathered, (look if store is not None else None, keys), manifest)
    return steps.end()


def _late(passphrase_fd: int | None) -> Callable[[], bytes]:
    """Return what asks for the node's passphrase, once it is called."""
    return lambda: read_passphrase(passphrase_fd, "the node")


@contextmanager
def _occupied(home: Path) -> Iterator[None]:
    """Keep every other process from this home."""
    from exchange.node.home import occupy

    occupied = occupy(home)
    try:
        yield
    finally:
        os.close(occupied)


def _completed(steps: RecoverySteps, home: Path) -> bool:
    """Bring to its end what a recovery before began; return whether there was such a one."""
    from exchange.node.config import paths_of
    from exchange.recovery import swap_files

    if swap_files.unfinished(home) is None:
        return False
    steps.add("", stage="completed")
    _add_place(steps, home, swap_files.change_places(paths_of(home)))
    return True


def _check_home(home: Path) -> None:
    """Look for what no recovery can do without, before anybody is asked for a passphrase."""
    from keys.agency import TLS_FILE
    from keys.keystore import NODE_FILE

    if not home.is_dir():
        raise FileNotFoundError(2, "no such folder", str(home))
    for name in (NODE_FILE, TLS_FILE):
        if not (home / name).exists():
            raise FileNotFoundError(2, "no keys", str(home / name))


def _add_old(steps: RecoverySteps, home: Path, store: NodeStore | None) -> None:
    """Say whether the database of before can be read, and whether what opens content is lost."""
    from exchange.recovery.fresh_keys import keys_are_lost

    lost = keys_are_lost(home)
    steps.add("", old_database=store is not None, new_keys=lost)
    if store is None:
        steps.note("no database of before can be read; everything comes from the members")
    if lost:
        steps.note("the keys that open content are not here; new ones are made, and the members give contents back")


@contextmanager
def _old_database(home: Path, look: Path, has_roster: bool) -> Iterator[NodeStore | None]:
    """Open a copy of the home's database; None where none can be read and a roster says who we are."""
    from exchange.node.config import paths_of
    from exchange.recovery.swap_files import copy_database

    try:
        store = copy_database(paths_of(home), look)
    except IntegrityError as error:
        if not has_roster:
            raise click.UsageError(f"{error}; then roster 1 is needed: --roster FILE") from error
        yield None
        return
    try:
        yield store
    finally:
        store.close()


@contextmanager
def _empty_folder(path: Path) -> Iterator[Path]:
    """Give a folder of our own, which is gone afterwards."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _close(
    steps: RecoverySteps, home: Path, keys: NodeKeys, addresses: dict[AgencyId, list[str]], without: list[str]
) -> None:
    """Close the epoch of a whole home, have the members cosign that, and write what the root must sign."""
    from exchange.node.close_epoch import close_epoch, finish
    from exchange.node.home import open_home
    from exchange.rpc.recovery import rebuild

    node = open_home(home, keys, closed=True)
    try:
        gathered = _gather(steps, home, node.view, keys, addresses, without)
        note = close_epoch(node, [(each.peer, text) for each in gathered.recovered for _, text in each.notes])
        shown = rebuild.show_all(gathered, _identity(home, keys), addresses, note, node.log.consistency, _now_ms())
        note = asyncio.run(shown)
        finish(node, note)
    finally:
        node.stop()
    rebuild.save_recovered(home, gathered)
    files = rebuild.save_for_root(home, note, gathered)
    end = parse_note(note).checkpoint
    _add_end(steps, end, f"{end.origin} is closed at size {end.size:,}", files)
    steps.add("", stage="closed")
    steps.note("next: exchange keys make epoch, then this with --manifest instead of --close")


def _add_end(steps: RecoverySteps, end: Checkpoint, line: str, files: tuple[Path, Path | None]) -> None:
    """Say where the old epoch ends, and in which files that is for whoever signs the next one."""
    checkpoint, own = files
    steps.add(
        f"{line}; for whoever keeps the root: {checkpoint}" + (f" and {own}" if own is not None else ""),
        origin=end.origin,
        size=end.size,
        checkpoint=str(checkpoint),
        manifest=str(own) if own is not None else None,
    )


def _known(
    store: NodeStore | None,
    keys: NodeKeys,
    roster: SignedPayload | None,
    records: list[SignedPayload],
    now_ms: int,
) -> NodeView:
    """Return what the home still knows: by its database, whose copy is what is filled from, or by files alone."""
    from exchange.rpc.recovery import rebuild

    if store is not None:
        return rebuild.view_of_database(store.reads(), records, keys, now_ms)
    if roster is None:
        raise AssertionError("the options were looked at")
    return rebuild.view_of_files(roster, records, keys, now_ms)


def _gather(
    steps: RecoverySteps,
    home: Path,
    view: NodeView,
    keys: NodeKeys,
    addresses: dict[AgencyId, list[str]],
    without: list[str],
) -> Gathered:
    """Ask the members, and the witnesses without a node; say what each gave back."""
    from exchange.rpc.recovery import rebuild

    for peer, address in _config(home, view).peers.items():
        addresses.setdefault(code_of(peer, "peers"), [address])
    members = [code_of(each, "--without") for each in without if "/" not in each]
    gathered = asyncio.run(rebuild.gather(view, _identity(home, keys), addresses, members, _now_ms()))
    width = max((len(each.peer) for each in gathered.recovered), default=0)
    members_told = []
    for each in gathered.recovered:
        newest = each.newest
        seen = f"saw {newest.origin} at size {newest.size:,}" if newest is not None else "saw nothing of our log"
        steps.add(
            f"{each.peer:<{width}}  {seen}; gives back {len(each.deliveries)} deliveries of ours"
            f" and {len(each.receipts)} of our receipts"
        )
        members_told.append(
            {
                "agency": each.peer,
                "origin": newest.origin if newest is not None else None,
                "size": newest.size if newest is not None else None,
                "deliveries": len(each.deliveries),
                "receipts": len(each.receipts),
            }
        )
    external = _config(home, view).witnesses
    cosigned = asyncio.run(rebuild.check_witnesses(gathered, external, keys, without))
    for name, size in cosigned.items():
        steps.add(f"{name}  has cosigned size {size:,} of {gathered.view.origin}")
    steps.add("", members=members_told, witnesses=cosigned)
    return gathered


def _list_lost(steps: RecoverySteps, home: Path, store: NodeStore | None, gathered: Gathered) -> None:
    """List the bulletins whose content nobody has any more."""
    from exchange.evidence.epoch_proofs import RECOVERED
    from exchange.recovery.not_given import not_given, save_list

    view = gathered.view
    lost = not_given(gathered.recovered, view.agency, store.reads() if store is not None else None, view.storage)
    path = save_list(home / RECOVERED, lost)
    told = [{"sender": each.sender, "bulletin_id": each.bulletin_id.hex(), "number": each.number} for each in lost]
    line = f"no member has the content of {len(lost)} bulletins any more; they are listed in {path}" if lost else ""
    steps.add(line, not_given=told)


def _go_on(
    steps: RecoverySteps,
    home: Path,
    gathered: Gathered,
    known: tuple[Path | None, NodeKeys],
    manifest: SignedPayload | None,
) -> None:
    """Write what the root must sign; or, with what it signed, build the new epoch and put it in its place."""
    from exchange.node.config import CONFIG_FILE, paths_of
    from exchange.recovery import swap_files
    from exchange.recovery.fresh_keys import with_own_sheet
    from exchange.rpc.recovery import rebuild

    look, keys = known
    old = swap_files.copied_to(paths_of(home), look) if look is not None else None
    folder = rebuild.save_recovered(home, gathered)
    if manifest is None:
        note, end = rebuild.choose_end(gathered)
        files = rebuild.save_for_root(home, note, gathered)
        steps.add(f"what they gave back is kept in {folder}", stage="gathered", folder=str(folder))
        _add_end(steps, end, f"{end.origin} ends at size {end.size:,}", files)
        steps.note("next: exchange keys make epoch, then this again with --manifest")
        return
    view = rebuild.check_manifest(manifest, gathered, _now_ms())
    if rebuild.is_there(old, view):
        steps.add(f"nothing to do: this home is in {view.origin} already", stage="unchanged", epoch=view.origin)
        return
    plan = rebuild.plan_of(with_own_sheet(view, keys, home, _now_ms()), gathered)
    part = swap_files.part_of(home, view.epoch)
    entered = swap_files.build(paths_of(home), part, plan, old, time.time_ns() // 1000, os.urandom)
    before = swap_files.change_places(paths_of(home))
    lost = not (home / CONFIG_FILE).exists()
    if lost:
        _write_config(home, view)
        steps.note(f"{home / CONFIG_FILE} was lost too and is as exchange node init writes it: look at it")
    steps.add("", stage="recovered", epoch=view.origin, settings_written=lost)
    _add_entered(steps, entered)
    _add_place(steps, home, before)


def _add_entered(steps: RecoverySteps, entered: Entered) -> None:
    """Say what the new epoch has taken back."""
    steps.add(
        f"recovered: {entered.bulletins} bulletins of ours, {entered.deliveries} deliveries, {entered.receipts} receipts"
        f" of peers, {entered.given} receipts of our own",
        bulletins=entered.bulletins,
        deliveries=entered.deliveries,
        receipts=entered.receipts,
        own_receipts=entered.given,
    )
    steps.add(f"queued again: {entered.renumbered} deliveries that were waiting", queued_again=entered.renumbered)


def _add_place(steps: RecoverySteps, home: Path, before: Path) -> None:
    """Say that the new epoch is in its place, and where the old files are."""
    steps.add(f"the new epoch is in place; what was here before is in {before}", before=str(before))
    steps.note(f"next: exchange node serve --home {home}")


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


def _identity(home: Path, keys: NodeKeys) -> Identity:
    from exchange.rpc.transport.channel import Identity
    from keys.agency import TLS_FILE
    from keys.certificate import private_pem

    return Identity(leaf=(home / TLS_FILE).read_bytes(), private_pem=private_pem(keys.tls_private))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
