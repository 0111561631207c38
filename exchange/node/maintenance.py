"""A node's daily work on what it keeps: erase what is due, and change the keys that open what it keeps.

Each step can be cut off anywhere and is finished by the next run, which is due at the start and once a day. Acts are
small, so that nobody else waits long for the writer. What is destroyed here cannot be had back from a database of
before: its digest is in the lock, and the storage key that opened it is gone within a month.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from audit.log.lock import Lock
from audit.record.lane import LaneClass, parse_lane_head
from exchange.acts import erasing, retention_rules
from exchange.acts.erasing import Run, erase_again, erase_due
from exchange.acts.retention_rules import Sight
from exchange.acts.unit_of_work import RandomBytes
from exchange.node.writer import Writer
from exchange.store.factory import open_store, store_exists, store_in
from exchange.store.storage_key import ID_BYTES, StorageKeys
from exchange.store.store import Reads
from keys.dsse import SignedPayload
from keys.durations import DAY_MS
from keys.errors import UnavailableError
from keys.key_files import open_sealing, stored_storage
from keys.keystore import SEALING_FILE, StoredKey, load_sealing_keys, save_sealing_keys
from keys.roster import MemberStatus
from keys.secret import Secret

if TYPE_CHECKING:
    from exchange.node.node import Node

COPIES_DAYS = 7  # a database of before an upgrade stays at most so long, and only until something is erased
BEFORE = "before-epoch-*"  # folders of what a recovery has moved aside
_STORAGE, _WINDOW = "storage-", "encryption-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What one run did."""

    erased: int = 0  # bulletins
    readings: int = 0  # requests with case and reason
    storage_keys: int = 0  # destroyed
    windows: int = 0  # encryption keys destroyed
    scrubbed: bool = True  # nothing of before lies in the write-ahead log


def erase_aside(uri: str, lock: Lock) -> int:
    """Erase from a store that a recovery has moved aside what was erased since; its log stays as it is."""
    store, count, after = open_store(uri), 0, -1
    try:
        store.drop_copies()  # of a file that was brought up just now; nobody goes back to this one
        while rows := store.reads().kept(after, erasing.MAX_ERASED):
            gone = [stored for stored in rows if lock.is_erased(stored.statement_digest)]
            with store.transaction() as work:
                for stored in gone:
                    work.erase(stored.entry_index)
            count, after = count + len(gone), rows[-1].entry_index
        if count:
            store.scrub()
        return count
    finally:
        store.close()


class Upkeep:
    """The work of one node.

    Args:
        node: Begun.
        derived: Of its first key file; with it the second is written again. None where the keys are in no file.
        now_ms: The clock.
        random_bytes: For new keys.
    """

    def __init__(
        self, node: Node, derived: Secret | None, now_ms: Callable[[], int], random_bytes: RandomBytes
    ) -> None:
        self._node, self._derived = node, derived
        self._now_ms, self._random = now_ms, random_bytes
        self._told = False  # to stop
        self.act: Run = node.writer.run

    @property
    def writer(self) -> Writer:
        """Return the node's writer."""
        return self._node.writer

    def stop(self) -> None:
        """End a run that is on its way at its next act; the next run goes on."""
        self._told = True

    def run(self) -> Done:
        """Do all of it: 1 erase; 2 readings; 3 the write-ahead log; 4 the storage key; 5 the windows' keys.

        Raises:
            UnavailableError: Nothing can be written now; the next run does it.
            IntegrityError: The key files or the lock cannot be read or written.
        """
        node, now_ms = self._node, self._now_ms()
        node.store.drop_copies(now_ms - COPIES_DAYS * DAY_MS)
        erased = erase_again(node.store, self.act, node.lock, now_ms, self._go_on)  # 1
        erased += erase_due(node.store, self.act, node.lock, now_ms, go_on=self._go_on)
        for folder in sorted(node.paths.home.glob(BEFORE)):
            aside = store_in(folder, node.paths.engine)
            if store_exists(aside):
                erase_aside(aside, node.lock)
        readings = self._erase_readings()  # 2
        scrubbed = node.store.scrub()  # 3
        gone = (0, 0)
        if self._derived is not None and (node.paths.home / SEALING_FILE).exists():
            gone = self._change_keys(node.paths.home, self._derived, now_ms)  # 4, 5
        return Done(erased=erased, readings=readings, storage_keys=gone[0], windows=gone[1], scrubbed=scrubbed)

    def _go_on(self) -> None:
        if self._told:
            raise UnavailableError("the node is stopping", 5)

    def _erase_readings(self) -> int:
        count, after = 0, -1
        while True:
            self._go_on()
            spent, following = erasing.spent_readings(self._node.reads, after)
            if spent:
                self.act(partial(erasing.erase_readings, positions=spent))
                count += len(spent)
            if following is None:
                return count
            after = following

    def _change_keys(self, home: Path, derived: Secret, now_ms: int) -> tuple[int, int]:
        """Change the storage key where it is old, wrap every living content key under it, destroy what has served."""
        stored = load_sealing_keys(home, derived)
        newest = max(key.from_ms for name, key in stored.items() if name.startswith(_STORAGE))
        if retention_rules.storage_change_due(newest, now_ms):
            fresh = stored_storage(self._random(32), self._node.view.agency, now_ms)
            stored = {**stored, f"{_STORAGE}{now_ms}": fresh}
            save_sealing_keys(home, derived, stored, self._random)
            # On disk before anything is wrapped under it. A crash leaves both keys, and the next run goes on.
            self._use(stored)
        self._go_on()
        wrap_anew(self._node.reads, self.act, self._node.view.storage, self._random)
        living = {name: key for name, key in stored.items() if not self._gone(name, key, stored, now_ms)}
        lost = [name for name in stored if name not in living]
        if lost:
            save_sealing_keys(home, derived, living, self._random)
            # The old second file opens for nobody now: its random bytes are overwritten.
            self._use(living)
        storage = sum(name.startswith(_STORAGE) for name in lost)
        return storage, len(lost) - storage

    def _gone(self, name: str, key: StoredKey, stored: dict[str, StoredKey], now_ms: int) -> bool:
        if name.startswith(_STORAGE):
            begun = [each.from_ms for other, each in stored.items() if other.startswith(_STORAGE)]
            return key.from_ms in retention_rules.storage_keys_gone(begun, now_ms)
        if name.startswith(_WINDOW):
            return retention_rules.window_gone(key.until_ms, self._sights(), now_ms)
        return False

    def _sights(self) -> list[Sight]:
        """What every lane into us has shown: both classes of every active member, silent ones too."""
        node = self._node
        shown: dict[tuple[str, int], Sight] = {}
        for lane in node.reads.lanes():
            if not lane.outgoing and lane.head:
                head = parse_lane_head(SignedPayload.decode(lane.head).payload)
                shown[(lane.peer, lane.lane_class)] = Sight(
                    head_time_ms=head.time_ms, complete=lane.sequence >= head.latest
                )
        others = [
            each.agency
            for each in node.view.federation.roster.members
            if each.agency != node.view.agency and each.status is MemberStatus.ACTIVE
        ]
        silent = Sight(head_time_ms=0, complete=False)
        return [shown.get((agency, int(lane_class)), silent) for agency in others for lane_class in LaneClass]

    def _use(self, stored: dict[str, StoredKey]) -> None:
        windows, storage = open_sealing(stored)
        self._node.set_keys(
            {each.key.public.key_id: each.key for each in windows},
            StorageKeys.of(*(secret.reveal() for secret in storage)),
        )


def wrap_anew(reads: Reads, run: Run, storage: StorageKeys, random_bytes: RandomBytes) -> int:
    """Wrap every living content key that lies under an older storage key under the present one.

    Returns:
        How many those were.
    """
    count, after = 0, -1
    while True:
        rows = reads.stored_keys(after, erasing.MAX_ERASED)
        old = [row for row in rows if row[2][:ID_BYTES] != storage.present]
        rewrapped = [(position, storage.store(storage.recover(key, of), of, random_bytes)) for position, of, key in old]
        if rewrapped:
            run(lambda work, rows=rewrapped: work.rows.store_keys(rows))  # type: ignore[misc] # default
            count += len(rewrapped)
        if len(rows) < erasing.MAX_ERASED:
            return count
        after = rows[-1][0]
