"""A store in dictionaries: the whole contract of ``exchange.store.store`` without a database, to show that it is one.

What is committed is one value, ``Tables``; a transaction works on a copy and puts it in its place, a savepoint keeps
another. Rows are frozen, so that copying the dictionaries around them is enough. It costs what is kept, not what is
asked, and nothing of it survives the process: a store that is opened again is another one over the same ``Kept``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TypeVar

from exchange.store.rows import (
    AdoptedRecord,
    AgencyRecords,
    Content,
    InboundRow,
    LaneState,
    LoggedReading,
    Notice,
    OutboundRow,
    Settlement,
    StoredBulletin,
)
from keys.errors import UnavailableError
from tests.exchange.store.dict_lost import LostReads, LostWrites
from tests.exchange.store.dict_tables import Tables

K = TypeVar("K")
V = TypeVar("V")


@dataclass
class Kept:
    """What outlives a store that is closed: its disk, as it were."""

    tables: Tables = field(default_factory=Tables)
    writing: threading.Lock = field(default_factory=threading.Lock)


class DictReads(LostReads):
    """Reads of what is committed, or of what a transaction has done."""

    def __init__(self, tables: Callable[[], Tables]) -> None:
        self._tables = tables

    @property
    def _t(self) -> Tables:
        return self._tables()

    def size(self) -> int:
        return len(self._t.entries)

    def read_entries(self, first: int, count: int) -> list[bytes]:
        return [entry for entry, _ in self._t.entries[first : first + count]]

    def leaf_hashes(self, first: int, count: int) -> list[bytes]:
        return [leaf for _, leaf in self._t.entries[first : first + count]]

    def get_tile(self, level: int, index: int) -> bytes | None:
        return self._t.tiles.get((level, index))

    def meta(self, name: str) -> bytes | None:
        return self._t.meta.get(name)

    def find(self, sender: str, bulletin_id: bytes) -> StoredBulletin | None:
        tables = self._t
        return tables.bulletins.get(tables.ids.get((sender, bulletin_id), -1))

    def statement_digests(self, sender: str, bulletin_ids: Sequence[bytes]) -> dict[bytes, bytes]:
        found = [self.find(sender, each) for each in bulletin_ids]
        return {each.bulletin_id: each.statement_digest for each in found if each is not None}

    def find_any(self, bulletin_id: bytes) -> list[StoredBulletin]:
        return self._bulletins(-1, len(self._t.bulletins), lambda each: each.bulletin_id == bulletin_id)

    def stored_since(self, after: int, limit: int, *, sent: bool) -> list[StoredBulletin]:
        ours = self._t.sent
        return self._bulletins(after, limit, lambda each: (each.entry_index in ours) is sent)

    def kept(self, after: int, limit: int, *, until_before_day: int | None = None) -> list[StoredBulletin]:
        def is_kept(each: StoredBulletin) -> bool:
            return not each.erased and (until_before_day is None or 0 < each.retain_until_day < until_before_day)

        return self._bulletins(after, limit, is_kept)

    def _bulletins(self, after: int, limit: int, wanted: Callable[[StoredBulletin], bool]) -> list[StoredBulletin]:
        found = (each for index, each in sorted(self._t.bulletins.items()) if index > after and wanted(each))
        return list(islice(found, limit))

    def content(self, entry_index: int) -> Content | None:
        return self._t.contents.get(entry_index)

    def lane(self, *, outgoing: bool, peer: str, lane_class: int, epoch: int) -> LaneState | None:
        return self._t.lanes.get((outgoing, peer, lane_class, epoch))

    def lanes(self) -> list[LaneState]:
        return list(self._t.lanes.values())

    def outbound(self, lane: int, after: int, limit: int) -> list[OutboundRow]:
        return _of_lane(self._t.outbound, lane, after, limit)

    def outbound_of(self, entry_index: int) -> list[OutboundRow]:
        return [row for _, row in sorted(self._t.outbound.items()) if row.entry_index == entry_index]

    def inbound(self, lane: int, sequence: int) -> InboundRow | None:
        return self._t.inbound.get((lane, sequence))

    def inbound_after(self, lane: int, after: int, limit: int) -> list[InboundRow]:
        return _of_lane(self._t.inbound, lane, after, limit)

    def records(self) -> list[AdoptedRecord]:
        return [record for _, record in sorted(self._t.records.items())]

    def standing_records(self) -> list[AdoptedRecord]:
        highest = {each.agency: each.rank for each in self.records() if each.kind == 3}
        return [each for each in self.records() if each.kind != 3 or each.rank == highest[each.agency]]

    def record(self, kind: int, agency: str, version: int) -> AdoptedRecord | None:
        found = [each for each in self._records(kind, agency) if each.version == version]
        return found[-1] if found else None

    def _records(self, kind: int, agency: str) -> list[AdoptedRecord]:
        return [each for each in self.records() if (each.kind, each.agency) == (kind, agency)]

    def record_by_digest(self, digest: bytes) -> AdoptedRecord | None:
        return next((each for each in self.records() if each.digest == digest), None)

    def records_at(self, agency: str, position: int) -> AgencyRecords:
        def newest(kind: int, owner: str) -> AdoptedRecord | None:
            before = [each for each in self._records(kind, owner) if each.position < position]
            return max(before, key=lambda each: (each.position, each.rank), default=None)

        return AgencyRecords(newest(1, ""), newest(2, agency), newest(3, agency))

    def adopted_at(self) -> int:
        return max((each.position for each in self.records()), default=-1)

    def readings_of(self, bulletin: int) -> list[LoggedReading]:
        return [LoggedReading(at, failed) for at, (of, failed) in sorted(self._t.openings.items()) if of == bulletin]

    def catalogue(self, digest: bytes) -> dict[str, bytes]:
        return {name: data for (found, name), data in sorted(self._t.catalogues.items()) if found == digest}

    def peer_checkpoint(self, peer: str, epoch: int = 1) -> tuple[int, str] | None:
        return self._t.checkpoints.get((peer, epoch))

    def notices(self, sender: str, target_id: bytes) -> list[Notice]:
        found = [each for each in self._t.notices if (each.sender, each.target_id) == (sender, target_id)]
        return sorted(found, key=lambda each: each.bulletin_id)

    def bulletin_counts(self) -> tuple[int, int, int]:
        sent = len(self._t.sent)
        rows = self._t.bulletins.items()
        unread = sum(not each.opened for at, each in rows if at not in self._t.sent)
        return len(self._t.bulletins) - sent, unread, sent

    def erased_count(self) -> int:
        return sum(each.erased for each in self._t.bulletins.values())

    def open_holds(self, bulletin: int) -> list[int]:
        return sorted(at for at, (of, released) in self._t.holds.items() if of == bulletin and not released)

    def readings_after(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        return _page([(at, request) for at, (_, request) in self._t.readings.items()], after, limit)

    def reading(self, entry_index: int) -> tuple[bytes, bytes] | None:
        return self._t.readings.get(entry_index)

    def stored_keys(self, after: int, limit: int) -> list[tuple[int, bytes, bytes]]:
        tables = self._t
        keys = [(at, tables.bulletins[at].statement_digest, each.stored_key) for at, each in tables.contents.items()]
        return _page([row for row in keys if row[2]], after, limit)

    def attempts(self, lane: int, first: int, last: int) -> dict[int, int]:
        return {at: died for (of, at), died in self._t.attempts.items() if of == lane and first <= at <= last}

    def evidence(self) -> Iterator[tuple[int, str, bytes]]:
        yield from self._t.evidence


class DictTransaction(DictReads, LostWrites):
    """A copy of what is committed, on which a transaction works."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._seen, self._changes = tables.copy(), 0
        super().__init__(lambda: self.tables)

    def expect(self, sender: str, bulletin_ids: Sequence[bytes]) -> None:
        """Nothing: a dictionary answers at once."""

    def changes(self) -> int:
        if self.tables != self._seen:
            self._seen, self._changes = self.tables.copy(), self._changes + 1
        return self._changes

    def flush(self) -> None:
        """Nothing is kept back here."""

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        before = self.tables.copy()
        try:
            yield
        except BaseException:
            self.tables = before
            raise

    def append_entries(self, rows: Sequence[tuple[int, bytes, bytes]]) -> None:
        for index, entry, leaf in rows:
            if index != len(self.tables.entries):
                raise KeyError(f"entry {index} is not unique, or not the next")
            self.tables.entries.append((entry, leaf))

    def put_tiles(self, rows: Sequence[tuple[int, int, bytes]]) -> None:
        for level, index, hashes in rows:
            _add(self.tables.tiles, (level, index), hashes)

    def set_meta(self, name: str, value: bytes) -> None:
        self.tables.meta[name] = value

    def add_bulletin(self, stored: StoredBulletin, content: Content) -> None:
        _add(self.tables.ids, (stored.sender, stored.bulletin_id), stored.entry_index)
        _add(self.tables.bulletins, stored.entry_index, stored)
        self.tables.contents[stored.entry_index] = content
        if not content.wrap:
            self.tables.sent.add(stored.entry_index)

    def mark_opened(self, entry_index: int) -> None:
        self._change(self.tables.bulletins, entry_index, opened=True)

    def open_lane(self, *, outgoing: bool, peer: str, lane_class: int, epoch: int) -> LaneState:
        key, lanes = (outgoing, peer, lane_class, epoch), self.tables.lanes
        if key not in lanes:
            row = len(lanes) + 1
            lanes[key] = LaneState(row=row, outgoing=outgoing, peer=peer, lane_class=lane_class, epoch=epoch)
        return lanes[key]

    def move_lane(self, lane: LaneState) -> None:
        self.tables.lanes[(lane.outgoing, lane.peer, lane.lane_class, lane.epoch)] = lane

    def add_outbound(self, rows: Sequence[OutboundRow]) -> None:
        for row in rows:
            _add(self.tables.outbound, (row.lane, row.sequence), row)

    def settle_outbound(self, rows: Sequence[Settlement]) -> None:
        for row in rows:
            new = {"state": row.state, "reason": row.reason, "receipt": row.receipt, "since_ms": row.since_ms}
            self._change(self.tables.outbound, (row.lane, row.sequence), **new)

    def add_inbound(self, row: InboundRow) -> None:
        _add(self.tables.inbound, (row.lane, row.sequence), row)

    def answer_inbound(self, row: InboundRow) -> None:
        new = {"entry_index": row.entry_index, "original_index": row.original_index}
        self._change(self.tables.inbound, (row.lane, row.sequence), **new)

    def add_record(self, record: AdoptedRecord) -> None:
        if self.record_by_digest(record.digest) is not None:
            raise KeyError(f"{record.digest.hex()} is not unique")
        _add(self.tables.records, (record.kind, record.agency, record.rank), record)

    def add_catalogue(self, digest: bytes, files: Mapping[str, bytes]) -> None:
        for name, content in files.items():
            self.tables.catalogues.setdefault((digest, name), content)

    def set_peer_checkpoint(self, peer: str, size: int, note: str, epoch: int = 1) -> None:
        self.tables.checkpoints[(peer, epoch)] = (size, note)

    def add_notice(self, notice: Notice) -> None:
        self.tables.notices.setdefault(notice)

    def take_nonce(self, nonce: bytes) -> bool:
        new = nonce not in self.tables.nonces
        self.tables.nonces.add(nonce)
        return new

    def add_reading(self, entry_index: int, random: bytes, request: bytes) -> None:
        _add(self.tables.readings, entry_index, (random, request))

    def add_opened(self, entry_index: int, bulletin: int) -> None:
        _add(self.tables.openings, entry_index, (bulletin, 0))

    def fail_opened(self, entry_index: int, failed: int) -> None:
        if entry_index in self.tables.openings:
            self.tables.openings[entry_index] = (self.tables.openings[entry_index][0], failed)

    def next_number(self, kind_code: str, year: int) -> int:
        self.tables.numbers[(kind_code, year)] = last = self.tables.numbers.get((kind_code, year), 0) + 1
        return last

    def raise_number(self, kind_code: str, year: int, last: int) -> None:
        self.tables.numbers[(kind_code, year)] = max(last, self.tables.numbers.get((kind_code, year), 0))

    def add_attempts(self, pairs: Sequence[tuple[int, int]]) -> None:
        for pair in pairs:
            self.tables.attempts[pair] = self.tables.attempts.get(pair, 0) + 1

    def erase(self, entry_index: int) -> None:
        facts = replace(self.tables.bulletins[entry_index].facts, number="", reply_due_ms=0)
        self._change(self.tables.bulletins, entry_index, facts=facts, erased=True)
        self._change(self.tables.contents, entry_index, body=b"", wrap=b"", stored_key=b"")
        for row in self.outbound_of(entry_index):
            self._change(self.tables.outbound, (row.lane, row.sequence), wrap=b"")

    def erase_reading(self, entry_index: int) -> None:
        self.tables.readings.pop(entry_index, None)

    def set_hold(self, entry_index: int, bulletin: int) -> None:
        _add(self.tables.holds, entry_index, (bulletin, 0))

    def release_hold(self, entry_index: int, released: int) -> None:
        if entry_index in self.tables.holds:
            self.tables.holds[entry_index] = (self.tables.holds[entry_index][0], released)

    def store_keys(self, rows: Sequence[tuple[int, bytes]]) -> None:
        for entry_index, key in rows:
            if entry_index in self.tables.contents and self.tables.contents[entry_index].stored_key:
                self._change(self.tables.contents, entry_index, stored_key=key)

    def add_evidence(self, entry_index: int, what: str, content: bytes) -> None:
        self.tables.evidence.append((entry_index, what, content))

    @staticmethod
    def _change(table: dict[K, V], key: K, **new: object) -> None:
        if key in table:
            table[key] = replace(table[key], **new)  # type: ignore[type-var] # rows are dataclasses


class DictStore:
    """One store; *find* gives what another one, named by its URI, keeps."""

    def __init__(self, name: str, kept: Kept, find: Callable[[str], Kept] | None = None) -> None:
        self._name, self._kept, self._find = name, kept, find

    @property
    def name(self) -> str:
        return self._name

    @contextmanager
    def transaction(self) -> Iterator[DictTransaction]:
        if not self._kept.writing.acquire(blocking=False):
            raise UnavailableError(f"{self._name}: held by another writer")
        try:
            made = DictTransaction(self._kept.tables.copy())
            yield made
            self._kept.tables = made.tables  # all of it in one step
        finally:
            self._kept.writing.release()

    def reads(self) -> DictReads:
        return DictReads(lambda: self._kept.tables)

    def reader(self) -> DictReads:
        return self.reads()

    def guard(self) -> AbstractContextManager[None]:
        return nullcontext()

    def evidence(self) -> Iterator[tuple[int, str, bytes]]:
        return self.reads().evidence()

    def scrub(self) -> bool:
        return True

    def drop_copies(self, made_before_ms: int | None = None) -> None:
        pass

    def carry_from(self, uri: str) -> None:
        assert self._find is not None
        self._kept.tables = replace(self._find(uri).tables.copy(), entries=[], tiles={})

    def close(self) -> None:
        pass


def _add(table: dict[K, V], key: K, row: V) -> None:
    if key in table:
        raise KeyError(f"{key} is not unique")
    table[key] = row


def _page(rows: list[V], after: int, limit: int) -> list[V]:
    return sorted(row for row in rows if row[0] > after)[:limit]  # type: ignore[index, type-var] # tuples, by position


def _of_lane(table: dict[tuple[int, int], V], lane: int, after: int, limit: int) -> list[V]:
    found = sorted(key for key in table if key[0] == lane and key[1] > after)
    return [table[key] for key in found[:limit]]
