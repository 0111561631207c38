"""A node: the store, the log, the lock and the keys of one agency, brought together and kept in their order.

Everything that changes state goes through ``writer``; the five acts are the only things it runs. Sockets are not
here: ``exchange.rpc`` puts services in front of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from audit.entry.entry import HEAD_LENGTH, Body, Kind, parse_body, parse_entry, parse_head
from audit.entry.kinds import Role
from audit.log.lock import Lock, check_start
from audit.log.lock_factory import create_lock, lock_exists
from audit.log.log import Log
from audit.note.checkpoint import Checkpoint, VerifierKey
from audit.note.epochs import check_first_entry
from audit.verify.trust import policy_of
from exchange.acts import directory
from exchange.acts.directory import FirstRecords, FreshRecord, RecordKind
from exchange.acts.erasing import erase_again
from exchange.acts.node_view import NodeView
from exchange.acts.publishing import Queued
from exchange.acts.unit_of_work import UnitOfWork
from exchange.node.clock import NodeClock, system_clock
from exchange.node.config import paths_of
from exchange.node.copy_detection import Vouching
from exchange.node.published_log import LogFiles, Published, write_witnesses
from exchange.node.rollback_check import check_own_sheets, export_forks
from exchange.node.writer import Group, Writer
from exchange.store.factory import create_store, read_old_entry, store_exists
from exchange.store.home_paths import Paths
from exchange.store.log_position import epoch_of, index_of
from exchange.store.storage_key import StorageKeys
from exchange.store.store import NodeStore, Reads
from keys.dsse import SignedPayload
from keys.errors import IntegrityError, RefusedError, UnavailableError
from keys.federation import Federation
from keys.seal import WindowOpener
from keys.uri import uri_place

NOT_ASKED = "no other member has told yet what it holds of its log"
# How the bodies of entries begin that are evidence: FORK_SEEN, OWN_KEY_MISUSE.
_EVIDENCE = tuple(b"\x08" + bytes((kind,)) for kind in (Kind.FORK_SEEN, Kind.OWN_KEY_MISUSE))

MakeState = Callable[[str], NodeStore]  # of a log's origin: its lock at size 0, then the empty store, which it returns
RandomBytes = Callable[[int], bytes]
T = TypeVar("T")
OnGroup = Callable[[Group, "list[Queued]"], None]


def create(
    home: Path,
    first: FirstRecords,
    *,
    pseudonym_key: bytes,
    now_us: int,
    make_state: MakeState | None = None,
) -> None:
    """Make store, lock and the first entries. Nothing of the three may be there.

    Args:
        home: The node's.
        first: What its log begins with.
        pseudonym_key: 32 bytes.
        now_us: Microseconds UTC, of the first entries.
        make_state: Makes lock and store; in a home without settings ``state_at`` its paths if not given.

    Raises:
        IntegrityError: Home holds a store, lock or log already.
        RefusedError: The records do not verify.
    """
    paths = Paths(home=home)
    if paths.log.exists():
        raise IntegrityError(f"{paths.log} is there already; a node is made only in a home without one")
    now_ms = now_us // 1000
    federation = first.federation(now_ms)
    member = federation.roster.member(first.agency)
    if member is None:
        raise RefusedError("NOT_A_MEMBER", f"{first.agency} is not in roster {federation.roster.version}")
    store = (make_state or state_at(paths))(member.origin(1))
    try:
        log = Log.open(member.origin(1), store.reader())
        stage = log.begin(now_us)
        with store.transaction() as rows:
            rows.set_meta("agency", first.agency.encode())
            rows.set_meta("pseudonym-key", pseudonym_key)
            directory.begin(UnitOfWork(rows, stage, now_ms), first, federation)
            stage.write(rows)
        log.commit(stage)
    finally:
        store.close()
    write_witnesses(home, federation.roster, first.agency)


def state_at(paths: Paths) -> MakeState:
    """Return what makes lock and store of a home.

    Raises:
        IntegrityError: When it is called, where there is one or the other.
    """

    def make(origin: str) -> NodeStore:
        for uri, there in ((paths.store, store_exists(paths.store)), (paths.lock, lock_exists(paths.lock))):
            if there:
                raise IntegrityError(f"{uri_place(uri)} is there already; a node is made only in a home without one")
        create_lock(paths.lock, origin).close()
        return create_store(paths.store)

    return make


def open_log(origin: str, end: Checkpoint | None, reads: Reads, database: str) -> Log:
    """Open the log of the epoch that our manifest opened last.

    Args:
        origin: Of that epoch.
        end: Where the one before ended; None in the first.
        reads: The log's tables.
        database: What to call them in messages: a file's path.

    Raises:
        IntegrityError: The database is of another epoch: nothing is signed in one that has a successor.
    """
    first = reads.read_entries(0, 1)
    if first:
        try:
            check_first_entry(parse_head(first[0]).previous, origin, end)
        except RefusedError as error:
            raise EpochOverError(f"{database}: {error}") from error
    return Log.open(origin, reads, end.root if end is not None else None)


def cosigned_times(note: str, view: NodeView) -> tuple[int, ...]:
    """Return the seconds UTC that witnesses stated under our newest cosigned checkpoint; none where there is none."""
    try:
        return policy_of(view.federation.roster, view.agency).judge(note).times if note else ()
    except RefusedError:
        return ()


class EpochOverError(IntegrityError):
    """The database is of an epoch of our log that our own manifest has closed by opening another."""

    hint = "exchange node recover --from-peers begins the log's new epoch"


def closed_at(reads: Reads) -> int | None:
    """Return the index of EPOCH_CLOSED, which can only be the last entry; None while the epoch goes on."""
    size = reads.size()
    last = reads.read_entries(size - 1, 1) if size else []
    return size - 1 if last and parse_body(parse_entry(last[0]).body).kind == Kind.EPOCH_CLOSED else None


def check_not_closed(store: NodeStore) -> None:
    """Refuse an epoch that was closed: nothing is entered in it any more.

    Raises:
        EpochOverError: Its last entry is EPOCH_CLOSED.
    """
    if (last := closed_at(store.reader())) is not None:
        raise EpochOverError(f"{store.name}: entry {last} closed this epoch of the log")


class Node:
    """A running node, without its sockets."""

    def __init__(
        self,
        home: Path,
        view: NodeView,
        store: NodeStore,
        lock: Lock,
        random_bytes: RandomBytes,
        clock: NodeClock | None = None,
    ) -> None:
        """Check database, log and lock against each other."""
        self.paths = paths_of(home)
        self.view = _as_adopted(view, store.reader(), directory.END)
        self.store = store
        self.random_bytes = random_bytes
        self.lock = lock
        self._view_turn = threading.Lock()  # records are adopted in the loop, keys change beside it
        self.log = open_log(view.origin, view.before, store.reader(), store.name)
        check_start(self.log, lock, store.reader(), store.name)
        self.vkey = VerifierKey(name=view.origin, key=view.log_signer.key.public_key)
        self.clock = clock or system_clock()
        self.writer = Writer(store, self.log, lock, view.log_signer, self.clock, self._after_group)
        self.on_group: list[OnGroup] = []
        self.on_view: list[Callable[[NodeView], None]] = []  # told when a record has come into force
        self.at_stop: list[Callable[[], None]] = []
        self.begun = False  # it may sign, and has said so in its log
        self.vouching = Vouching(began=self.log.size)  # who has cosigned what this run signed
        self.started_ms = now_ms()
        self.files = LogFiles(self.paths.log, store.reader, self.vkey, view.log_mldsa44, self.writer.fail)
        self.clock.start(self.log.time_us, cosigned_times(self.files.witnessed[1], view))

    def start(self) -> None:
        """Begin to write without asking anybody: for a node without sockets, which tells nobody what it signs."""
        self.open()
        self.begin()

    def open(self) -> None:
        """Answer questions; nothing is signed before ``begin``."""
        self.writer.suspend(NOT_ASKED)
        self.writer.start()
        write_witnesses(self.paths.home, self.view.federation.roster, self.view.agency)
        export_forks(self.reads, self.paths.home)
        self.files.start()

    def begin(self, *, alone: bool = False) -> None:
        """Sign from now on; NODE_STARTED is the first entry of this run, after STARTED_ALONE where nobody answered.

        Raises:
            UnavailableError: This machine's clock is in doubt; the message says by how much.
            EpochOverError: The last entry closed this epoch.
            KeyMisuseError: A key sheet of ours that this node did not make stands above what it has.
        """
        check_not_closed(self.store)
        check_own_sheets(self.reads, self.view, self.paths.home)
        self.vouching = Vouching(began=self.log.size)
        self.writer.resume()
        try:
            self.writer.run(lambda work: self._enter_start(work, alone))
        except UnavailableError:
            self.writer.suspend(NOT_ASKED)
            raise
        erase_again(self.store, self.writer.run, self.lock, now_ms())
        self.begun = True

    def fail(self, error: BaseException) -> None:
        """Sign nothing more, the second line under what would still be published included."""
        self.files.halt()
        self.writer.fail(error)

    def _enter_start(self, work: UnitOfWork, alone: bool = False) -> None:
        if alone:
            work.log.add(Body(kind=Kind.STARTED_ALONE, role=Role.OPERATOR))
        work.log.add(Body(kind=Kind.NODE_STARTED, digest=self.view.federation.roster_digest))

    def stop(self) -> None:
        """Commit what waits, publish the last checkpoint, let go of the files."""
        self.writer.stop()
        self.files.stop()
        self.store.close()
        self.lock.close()
        for let_go in self.at_stop:
            let_go()

    @property
    def note(self) -> str:
        """The newest signed checkpoint."""
        return self.writer.note

    @property
    def witnessed(self) -> Published:
        """Size and note of our newest checkpoint that its quorum has cosigned; (0, "") before there is one."""
        return self.files.witnessed

    @property
    def reads(self) -> Reads:
        """This thread's reader."""
        return self.store.reads()

    def entry(self, index: int) -> bytes:
        """Read one entry."""
        return self.reads.read_entries(index, 1)[0]

    def old_entry(self, position: int) -> bytes:
        """Read an entry of an earlier epoch of our log, from the store that was moved aside.

        Raises:
            UnavailableError: It is not there.
        """
        return read_old_entry(self.paths.store_before(epoch_of(position) + 1), index_of(position))

    def set_federation(self, federation: Federation, adopted_at: int = directory.END) -> None:
        """Take a federation into use whose newest record is durable, and was adopted by the entry at a position."""
        if federation.roster is not self.view.federation.roster:
            write_witnesses(self.paths.home, federation.roster, self.view.agency)
        with self._view_turn:
            self.view = _as_adopted(replace(self.view, federation=federation), self.reads, adopted_at)
        for tell in self.on_view:
            tell(self.view)

    def set_keys(self, encryption: Mapping[bytes, WindowOpener], storage: StorageKeys) -> None:
        """Take other encryption and storage keys into use; what is not in them opens nothing any more."""
        with self._view_turn:
            self.view = replace(self.view, encryption=encryption, storage=storage)

    def set_windows(self, encryption: Mapping[bytes, WindowOpener]) -> None:
        """Take other encryption keys into use, and leave the storage keys as they are."""
        with self._view_turn:
            self.view = replace(self.view, encryption=encryption)

    async def adopt(self, kind: RecordKind, signed: SignedPayload) -> None:
        """Adopt a manifest or a key sheet; in force when this returns.

        Raises:
            RefusedError: As ``directory.adopt``; what proves equivocation is kept.
        """
        try:
            await self.writer.submit(
                lambda work: directory.adopt(work, kind, signed, self.view),
                lambda adopted, _: self._take_into_use(kind, signed, adopted),
            )
        except RefusedError as refusal:
            if refusal.code == "EQUIVOCATION":
                await self.writer.submit(lambda w: directory.keep(w, kind, signed, self.view))
            raise

    def adopt_now(self, kind: RecordKind, signed: SignedPayload) -> None:
        """As ``adopt``, for callers without an event loop; where the node was not started, nothing is signed."""
        try:
            self._adopt_now(kind, signed)
        except RefusedError as refusal:
            if refusal.code == "EQUIVOCATION":
                write = self.writer.run if self.begun else partial(write_unsigned, self)
                write(lambda w: directory.keep(w, kind, signed, self.view))
            raise

    def _adopt_now(self, kind: RecordKind, signed: SignedPayload) -> None:
        if self.begun:
            self.writer.run(
                lambda work: directory.adopt(work, kind, signed, self.view),
                lambda adopted, _: self._take_into_use(kind, signed, adopted),
            )
        else:
            adopted = write_unsigned(self, lambda work: directory.adopt(work, kind, signed, self.view))
            self._take_into_use(kind, signed, adopted)

    def _take_into_use(self, kind: RecordKind, signed: SignedPayload, adopted: FreshRecord) -> None:
        # From the view of this moment: another record may have been adopted in the same group.
        federation = directory.with_record(kind, signed, self.view.federation, adopted.now_ms)
        self.set_federation(federation, adopted.position)

    def _after_group(self, group: Group) -> None:
        self.files.want(group.checkpoint.size, group.note)
        if any(entry.startswith(_EVIDENCE, HEAD_LENGTH) for entry in group.entries.values()):
            export_forks(self.reads, self.paths.home)
        for tell in self.on_group:
            tell(group, group.queued)


def _as_adopted(view: NodeView, reads: Reads, adopted_at: int) -> NodeView:
    """Return a view with the digests of the records that were in force behind the entry at a position."""
    members = [each.agency for each in view.federation.roster.members]
    return replace(
        view,
        records={each: directory.records_of(reads, each, adopted_at + 1) for each in members},
        adopted_at=min(adopted_at, reads.adopted_at()),
    )


def now_us() -> int:
    """Read the wall clock: microseconds UTC."""
    return time.time_ns() // 1000


def now_ms() -> int:
    """Read the wall clock: milliseconds UTC."""
    return time.time_ns() // 1_000_000


def write_unsigned(node: Node, act: Callable[[UnitOfWork], T]) -> T:
    """Run an act of a node that has asked nobody, so that it may not sign: the next start signs for it.

    Args:
        node: Opened and not started; nobody else writes.
        act: As the writer's.

    Raises:
        RefusedError: The act's; nothing was written.
        UnavailableError: This machine's clock is in doubt.
    """
    reading = node.clock()
    if reading.doubt:
        raise UnavailableError(reading.doubt, 5)
    stage = node.log.begin(reading.now_us)
    try:
        with node.store.transaction() as rows:
            value = act(UnitOfWork(rows, stage, reading.now_us // 1000))
            stage.write(rows)
    except BaseException:
        node.log.rollback(stage)
        raise
    stage.verify_read_back(node.reads)
    node.log.commit(stage)
    return value
