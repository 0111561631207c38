"""What the node needs of storage: one transaction at a time, and reads beside it.

An engine keeps this contract, proved by ``tests/exchange/store/contract.py``: a transaction is serialisable and durable when
it returns; everything inside it happens or nothing does; an act that is refused leaves no trace but does not spoil
its neighbours (``savepoint``); entries are never changed or removed; cursors are log positions, never times. Which
engine it is stands in a URI, and ``exchange.store.factory`` alone knows the engines.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from exchange.store.rows import (
    AdoptedRecord,
    AgencyRecords,
    Content,
    Facts,
    InboundRow,
    LaneState,
    LoggedReading,
    Notice,
    OutboundRow,
    Settlement,
    StoredBulletin,
    Wanted,
)


class Reads(Protocol):
    """Questions; each sees one committed state, of any moment since the last question.

    What is said of cost is in rows: *one* is a look-up by a key, *n* a walk along a key from where it begins; no
    question walks over all that is kept. A question that finds nothing answers None or an empty list, never an error.
    Log positions (``log_position``) grow over all epochs; ``read_entries``, ``leaf_hashes`` and ``get_tile`` alone
    count from 0 in the newest epoch. One reader serves one thread at a time.
    """

    def size(self) -> int:
        """Return how many entries the newest epoch has: one more than the last index. One."""

    def read_entries(self, first: int, count: int) -> list[bytes]:
        """Return the entries from index *first* on, at most *count*, ascending; fewer at the end of the log. n."""

    def leaf_hashes(self, first: int, count: int) -> list[bytes]:
        """Return the same entries' leaf hashes, 32 bytes each, as they were written beside them. n."""

    def get_tile(self, level: int, index: int) -> bytes | None:
        """Return one complete hash tile, 256 hashes of 32 bytes. One."""

    def meta(self, name: str) -> bytes | None:
        """Return a value of the node's own, as ``set_meta`` wrote it last. One."""

    def find(self, sender: str, bulletin_id: bytes) -> StoredBulletin | None:
        """Return the one bulletin of a sender with this id. One; asked for every bulletin that comes or goes."""

    def statement_digests(self, sender: str, bulletin_ids: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """Return the statements' digests of a sender's bulletins that are here, by bulletin id. n."""

    def find_any(self, bulletin_id: bytes) -> list[StoredBulletin]:
        """Return every sender's bulletin with this id, ascending by position. May walk over all; asked by people."""

    def stored_since(self, after: int, limit: int, *, sent: bool) -> list[StoredBulletin]:
        """Return what we sent, or what we received, after a position, ascending. n, those of the other kind counted."""

    def content(self, entry_index: int) -> Content | None:
        """Return a bulletin's bytes. One; a body may have 1 MiB."""

    def lane(self, *, outgoing: bool, peer: str, lane_class: int, epoch: int) -> LaneState | None:
        """Return where one lane stands. One."""

    def lanes(self) -> list[LaneState]:
        """Return every lane, in the order in which they were opened. As many as there are: peers by classes."""

    def outbound(self, lane: int, after: int, limit: int) -> list[OutboundRow]:
        """Return a lane's deliveries after a sequence number, ascending. n."""

    def outbound_of(self, entry_index: int) -> list[OutboundRow]:
        """Return a bulletin's deliveries, ascending by lane. n, its recipients."""

    def inbound(self, lane: int, sequence: int) -> InboundRow | None:
        """Return one delivery of a peer's. One."""

    def inbound_after(self, lane: int, after: int, limit: int) -> list[InboundRow]:
        """Return a peer's deliveries after a sequence number, ascending. n."""

    def records(self) -> list[AdoptedRecord]:
        """Return all that was adopted, ascending by kind, agency, rank. As many as there are; asked at a start."""

    def standing_records(self) -> list[AdoptedRecord]:
        """Return every roster and manifest, and of each agency the highest key sheet, ascending by kind, agency, rank.

        Key sheets are many, and only the newest is in force. As many as there are members; asked at a start.
        """

    def record(self, kind: int, agency: str, version: int) -> AdoptedRecord | None:
        """Return one adopted record, of several of this version the highest in rank. One."""

    def record_by_digest(self, digest: bytes) -> AdoptedRecord | None:
        """Return one adopted record. One."""

    def records_at(self, agency: str, position: int) -> AgencyRecords:
        """Return roster, manifest and key sheet of an agency that were adopted last before a position. One."""

    def adopted_at(self) -> int:
        """Return the position of the newest adoption; -1 before the first. One."""

    def catalogue(self, digest: bytes) -> dict[str, bytes]:
        """Return a catalogue's files by name, ascending. n."""

    def peer_checkpoint(self, peer: str, epoch: int = 1) -> tuple[int, str] | None:
        """Return size and note of the newest checkpoint that is known of one epoch of a peer's log. One."""

    def notices(self, sender: str, target_id: bytes) -> list[Notice]:
        """Return the corrections and recalls of one bulletin, ascending by their own ids. n."""

    def kept(self, after: int, limit: int, *, until_before_day: int | None = None) -> list[StoredBulletin]:
        """Return what is not erased, after a position, ascending; with a day only what is kept until before it. n."""

    def bulletin_counts(self) -> tuple[int, int, int]:
        """Return how many were received, how many of those nobody has opened, and how many were sent. Walks over all."""

    def erased_count(self) -> int:
        """Return how many bulletins were erased. May walk over all; asked at a start and once a day."""

    def open_holds(self, bulletin: int) -> list[int]:
        """Return the positions of the HOLD_SET entries that still keep a bulletin from erasure, ascending. n."""

    def readings_after(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Return (position, signed request) of readings whose opening is not erased, after a position, ascending. n."""

    def reading(self, entry_index: int) -> tuple[bytes, bytes] | None:
        """Return the random bytes and the signed request that open the digest of an entry about reading. One."""

    def readings_of(self, bulletin: int) -> list[LoggedReading]:
        """Return the readings of a bulletin, named by its position, ascending. n."""

    def stored_keys(self, after: int, limit: int) -> list[tuple[int, bytes, bytes]]:
        """Return (position, statement digest, stored key) of what is not erased, after a position, ascending. n."""

    def attempts(self, lane: int, first: int, last: int) -> dict[int, int]:
        """Return how often the node died while it worked at deliveries, by sequence; most are not named. n."""

    def lost(self, after: int, limit: int) -> list[StoredBulletin]:
        """Return bulletins whose content key is not here though they were not erased, after a position. Walks."""

    def wanted(self, after: tuple[str, bytes], limit: int) -> list[Wanted]:
        """Return what is asked back, after a sender and bulletin id, ascending. n."""

    def dispatch_of(self, queued_index: int) -> bytes | None:
        """Return the dispatch of a delivery, by its QUEUED, where it is another than its bulletin's. One."""

    def evidence(self) -> Iterator[tuple[int, str, bytes]]:
        """Yield (position, what it is, its bytes) in the order in which it was kept. All of it."""


class Transaction(Reads, Protocol):
    """What may be done inside the one transaction that is open; questions see what it has done so far.

    Nothing is promised before the transaction's end: a crash, an error or a power cut inside it leaves the state of
    before, whole. What is added twice under one key raises the engine's own error, which ends the transaction, but
    where a method says otherwise. Many rows come in one call, because one call is what an engine is slow at.
    """

    def savepoint(self) -> AbstractContextManager[None]:
        """Undo what was done inside it if it raises, and nothing else; savepoints do not lie in one another."""

    def changes(self) -> int:
        """Return a number that has grown if anything was changed since it was asked before. Costs nothing."""

    def flush(self) -> None:
        """Write what was kept back to be written together; the transaction's end does so too, for anybody who forgot.

        After it the end is the disk's part alone, and may run in another thread.
        """

    def append_entries(self, rows: Sequence[tuple[int, bytes, bytes]]) -> None:
        """Add (index, entry, leaf hash) at the end of the log, ascending; they are never changed or removed."""

    def put_tiles(self, rows: Sequence[tuple[int, int, bytes]]) -> None:
        """Add (level, index, hashes) of complete tiles; they are never changed or removed."""

    def set_meta(self, name: str, value: bytes) -> None:
        """Write a value of the node's own, over the one before."""

    def add_bulletin(self, stored: StoredBulletin, content: Content) -> None:
        """Add a bulletin; it is one that we sent where the content has no wrap. Refused twice for sender and id."""

    def expect(self, sender: str, bulletin_ids: Sequence[bytes]) -> None:
        """Prepare for ``find`` and ``notices`` of bulletins that come together: one question for all. Changes nothing."""

    def mark_opened(self, entry_index: int) -> None:
        """Mark a bulletin as read; again is nothing."""

    def open_lane(self, *, outgoing: bool, peer: str, lane_class: int, epoch: int) -> LaneState:
        """Return the lane, made empty if it is new."""

    def move_lane(self, lane: LaneState) -> None:
        """Write where a lane stands now; an engine may keep it back until the transaction's end."""

    def add_outbound(self, rows: Sequence[OutboundRow]) -> None:
        """Add deliveries of ours."""

    def settle_outbound(self, rows: Sequence[Settlement]) -> None:
        """Write what became of deliveries that stand already; their bytes stay."""

    def add_inbound(self, row: InboundRow) -> None:
        """Add a delivery of a peer's with the entry that answers it."""

    def answer_inbound(self, row: InboundRow) -> None:
        """Write another entry as the answer to a delivery that stands already: one of a later epoch."""

    def add_record(self, record: AdoptedRecord) -> None:
        """Add an adopted record. Refused twice for kind, agency and rank, and for the digest."""

    def add_catalogue(self, digest: bytes, files: Mapping[str, bytes]) -> None:
        """Add a catalogue's files; those that are there stay."""

    def set_peer_checkpoint(self, peer: str, size: int, note: str, epoch: int = 1) -> None:
        """Write the newest checkpoint of one epoch of a peer's log, over the one before."""

    def add_notice(self, notice: Notice) -> None:
        """Add a correction or recall; the same one again is nothing."""

    def take_nonce(self, nonce: bytes) -> bool:
        """Return whether a nonce was new; it is taken for ever from now on."""

    def add_reading(self, entry_index: int, random: bytes, request: bytes) -> None:
        """Add what opens the digest of an entry about reading."""

    def add_opened(self, entry_index: int, bulletin: int) -> None:
        """Add an OPENED, by its position, to the readings of a bulletin."""

    def fail_opened(self, entry_index: int, failed: int) -> None:
        """Write that an OPENED could not be shown; *failed* is the position of its READ_FAILED."""

    def next_number(self, kind_code: str, year: int) -> int:
        """Return the next serial number of a kind and a year, from 1; never the same twice, but after an undoing."""

    def raise_number(self, kind_code: str, year: int, last: int) -> None:
        """Reserve the serial numbers up to *last*; a higher one that was given stays."""

    def add_attempts(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Count one death for each (lane, sequence)."""

    def erase(self, entry_index: int) -> None:
        """Destroy what opens a bulletin and what could be opened: key, wraps, body, number. Its dispatch stays."""

    def lose_keys(self, living: Collection[bytes]) -> None:
        """Drop the content keys that lie under another storage key than those named by id: nothing opens them."""

    def bring_back(self, entry_index: int, facts: Facts, content: Content) -> None:
        """Write the content of a bulletin that had lost it, but for its dispatch, which stays; it is wanted no more."""

    def want(self, wanted: Wanted) -> None:
        """Ask a content back, or write who has refused it."""

    def unwant(self, sender: str, bulletin_id: bytes) -> None:
        """Ask it back no more; again is nothing."""

    def add_dispatch(self, queued_index: int, dispatch: bytes) -> None:
        """Add the dispatch of a delivery that was made again."""

    def erase_reading(self, entry_index: int) -> None:
        """Destroy what opens the digest of an entry about reading."""

    def set_hold(self, entry_index: int, bulletin: int) -> None:
        """Keep a bulletin from erasure until the hold, named by its HOLD_SET, is released."""

    def release_hold(self, entry_index: int, released: int) -> None:
        """Release one hold; *released* is the position of its HOLD_RELEASED."""

    def store_keys(self, rows: Sequence[tuple[int, bytes]]) -> None:
        """Write (position, stored key) over keys that are there; one that was erased stays erased."""

    def add_evidence(self, entry_index: int, what: str, content: bytes) -> None:
        """Keep evidence for ever."""


class ReadableStore(Protocol):
    """A store that is open to be read, perhaps where nothing may be written."""

    @property
    def name(self) -> str:
        """Return what to call it in messages: a file's path."""

    def reads(self) -> Reads:
        """Return this thread's reader, the same one each time."""

    def reader(self) -> Reads:
        """Return a reader of its own, which may go from thread to thread, one at a time; closed with the store."""

    def close(self) -> None:
        """Let go of it; whatever was committed stays, as after a crash."""


class NodeStore(ReadableStore, Protocol):
    """An engine's store. One process writes, whatever number of threads and processes reads."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Open the one transaction. On its end all of it is durable, through a power cut; if it raises, nothing is.

        Begin, acts and end may run in different threads, one after the other. The end costs a flush of the disk.

        Raises:
            UnavailableError: Another process is writing; at once or after a few seconds.
        """

    def guard(self) -> AbstractContextManager[None]:
        """Turn the engine's own errors inside it into ours; around a start, not around each question.

        Raises:
            IntegrityError: What is kept contradicts itself.
            UnavailableError: The disk cannot be read or is full.
        """

    def evidence(self) -> Iterator[tuple[int, str, bytes]]:
        """Yield what was kept as evidence, as ``Reads.evidence``."""

    def scrub(self) -> bool:
        """Overwrite what committed erasures have left behind; a crash before its end leaves that for the next time.

        Returns:
            Whether nothing is left; False where a reader was busy, and somebody tries again later.
        """

    def drop_copies(self, made_before_ms: int | None = None) -> None:
        """Destroy copies of the whole store that were made before it was brought up to this program's schema.

        Args:
            made_before_ms: Only those of before, milliseconds UTC; all of them if not given.
        """

    def carry_from(self, uri: str) -> None:
        """Take over every row of another store of this engine but its log, whole or not at all.

        Args:
            uri: Of the other store, which nobody has open; it stays as it is.
        """
