"""A node's home: one folder with its keys, database, lock, log and people, and how a node is opened from it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from audit.entry.entry import parse_entry
from audit.log.lock_factory import lock_exists, open_lock
from exchange.acts.node_view import NodeView, newest_epoch
from exchange.node.config import paths_of
from exchange.node.federation_store import restore_federation
from exchange.node.node import Node, check_not_closed, now_ms
from exchange.recovery.swap_files import check_finished
from exchange.rules.catalogue import Catalogue
from exchange.store.factory import open_store, store_exists
from exchange.store.storage_key import StorageKeys
from exchange.store.store import NodeStore, Reads
from keys.errors import IntegrityError, RefusedError, UnavailableError
from keys.federation import Federation
from keys.identity import AgencyId
from keys.key_files import NodeKeys, load_node
from keys.keystore import SEALING_FILE, Passphrase

MAX_BEHIND_MS = 1000  # what NTP corrects without anybody noticing
_SIGNS = "signs"
RUNNING = "running"  # holds the process number; locked as long as it runs


class OccupiedError(UnavailableError):
    """Another process runs this home's node."""

    def __init__(self, home: Path, owner: str) -> None:
        super().__init__(f"{home}: a node is running here already, process {owner}", 5)
        self.hint = "one process at a time works in a home; exchange node adopt gives a running node new records"


class ClockError(IntegrityError):
    """This machine's clock is behind what the log says, so that everybody's records seem not to hold yet."""

    def __init__(self, home: Path, behind_ms: int) -> None:
        super().__init__(f"{home}: this machine's clock is {behind_ms // 1000} s behind the log's last entry")
        self.hint = "set the clock, then start again"


class RestoredError(IntegrityError):
    """The home came out of a backup: it has neither the lock nor the keys that open content."""

    def __init__(self, home: Path) -> None:
        super().__init__(
            f"{home} is a restored backup: its log has gone on since, and what was signed last is not known here, so"
            " nothing is signed"
        )
        self.hint = f"begin a new epoch from what the members hold: exchange node recover --home {home} --from-peers"


def check_startable(home: Path) -> None:
    """Refuse a home in which no node may start, before anybody is asked for a passphrase.

    Raises:
        UnfinishedError: A recovery was interrupted.
        RestoredError: It is a restored backup.
    """
    check_finished(home)
    paths = paths_of(home)
    if store_exists(paths.store) and not lock_exists(paths.lock) and not (home / SEALING_FILE).exists():
        raise RestoredError(home)


def check_idle(home: Path) -> None:
    """Refuse a home whose node runs: OccupiedError."""
    if (process := running_process(home)) is not None:
        raise OccupiedError(home, str(process))


def open_node(home: Path, passphrase: Passphrase) -> tuple[Node, NodeKeys]:
    """Open a home's keys and database and check database, log and lock against each other.

    Args:
        home: The node's.
        passphrase: Or what asks for it, once nothing is known that would make it useless.

    Raises:
        UnavailableError: A node runs here already.
        IntegrityError: Something is missing, older than what was signed, or contradicts the rest.
        RefusedError: The passphrase does not open the keys.
    """
    check_idle(home)
    check_startable(home)
    if not store_exists(paths_of(home).store):
        open_store(paths_of(home).store)  # says what to do
    keys = load_node(home, passphrase)
    return open_home(home, keys), keys


def open_home(home: Path, keys: NodeKeys, *, closed: bool = False) -> Node:
    """As ``open_node``, where the keys are open already; *closed* where the epoch may have been closed."""
    paths = paths_of(home)
    check_finished(home)
    with ExitStack() as undo:
        occupied = occupy(home)
        undo.callback(os.close, occupied)
        store = open_store(paths.store)
        undo.callback(store.close)
        undo.enter_context(store.guard())
        lock = open_lock(paths.lock)
        undo.callback(lock.close)
        try:
            view = restore_view(store, keys)
        except IntegrityError as error:
            if (behind_ms := clock_behind_ms(store.reads(), now_ms())) > MAX_BEHIND_MS:
                raise ClockError(home, behind_ms) from error
            raise
        if not closed:
            check_not_closed(store)
        node = Node(home, view, store, lock, os.urandom)
        undo.pop_all()
        node.at_stop.append(lambda: os.close(occupied))
    return node


def occupy(home: Path) -> int:
    """Take a home for this process; two nodes on one home would fork the log.

    Returns:
        A file descriptor; closing it lets the home go.

    Raises:
        UnavailableError: Another process has it; the message says which.
    """
    handle = os.open(home / RUNNING, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = _owner(handle)
        os.close(handle)
        raise OccupiedError(home, owner) from error
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def clock_behind_ms(reads: Reads, at_ms: int) -> int:
    """Return how far a clock is behind the log's last entry; negative where it is not."""
    size = reads.size()
    return parse_entry(reads.read_entries(size - 1, 1)[0]).time_us // 1000 - at_ms if size else -at_ms


def say_signing(home: Path) -> None:
    """Write beside the process number that the node may sign now: before, it asks what others hold of it."""
    with suppress(OSError), open(home / RUNNING, "ab") as file:  # a hint for anybody who looks
        file.write(f"{_SIGNS}\n".encode())


def is_signing(home: Path) -> bool:
    """Return whether a home's node runs and may sign."""
    return running_process(home) is not None and _SIGNS in (home / RUNNING).read_text("ascii", "replace").splitlines()


def _owner(handle: int) -> str:
    return os.read(handle, 20).decode("ascii", "replace").partition("\n")[0].strip()


def running_process(home: Path) -> int | None:
    """Return which process runs a home's node; None where nobody does."""
    try:
        handle = os.open(home / RUNNING, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(_owner(handle) or 0) or None
    finally:
        os.close(handle)
    return None


def restore_view(store: NodeStore, keys: NodeKeys) -> NodeView:
    """Return an agency's view as its store and keys have it.

    Raises:
        IntegrityError: There is no agency in the store, or its roster does not name it.
    """
    reads = store.reads()
    agency, pseudonym_key = reads.meta("agency"), reads.meta("pseudonym-key")
    if agency is None or pseudonym_key is None:
        raise IntegrityError(f"{store.name}: no agency in it; exchange node init did not end")
    federation, catalogues = restore_federation(reads, now_ms())
    if federation.roster.member(agency.decode()) is None:
        raise IntegrityError(f"{store.name}: {agency.decode()} is not in its own roster")
    return view_from(federation, AgencyId(agency.decode()), keys, pseudonym_key, catalogues)


def view_from(
    federation: Federation,
    agency: AgencyId,
    keys: NodeKeys,
    pseudonym_key: bytes,
    catalogues: Mapping[bytes, Catalogue],
) -> NodeView:
    """Put a node view together from what was adopted and the node's keys.

    Raises:
        RefusedError: NOT_A_MEMBER.
    """
    member = federation.roster.member(agency)
    if member is None:
        raise RefusedError("NOT_A_MEMBER", f"{agency} is not in roster {federation.roster.version}")
    return NodeView(
        agency=agency,
        number=member.number,
        epoch=newest_epoch(federation, agency),
        federation=federation,
        catalogues=catalogues,
        operations=keys.operations,
        log_signer=keys.log,
        log_mldsa44=keys.log_mldsa44,
        encryption={each.key.public.key_id: each.key for each in keys.encryption},
        storage=StorageKeys.of(*(secret.reveal() for secret in keys.storage)),
        pseudonym_key=pseudonym_key,
    )
