"""What the acts need of storage: one transaction at a time, and reads beside it.

An engine keeps this contract, proved by ``tests/exchange/store/contract.py``: a transaction is serialisable and durable when
it returns; everything inside it happens or nothing does; an act that is refused leaves no trace but does not spoil
its neighbours (``savepoint``); entries are never changed or removed; cursors are log indices, never times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Of a bulletin what its own agency may see without a reason: never its text."""

    kind: str  # the body's key
    number: str
    tlp: int
    classification: int
    urgency: int
    status: int
    reply_due_ms: int  # 0 where no answer is owed
    expires_ms: int  # 0 where the bulletin has no end
    not_understood: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBulletin:
    """A bulletin that we sent or received, without its bytes."""

    entry_index: int  # of PUBLISHED or RECEIVED in our log
    sender: str
    bulletin_id: bytes  # 16 bytes
    statement_digest: bytes  # 32 bytes
    facts: Facts
    at_ms: int
    opened: bool = False
    retain_until_day: int = 0  # counted from 1970-01-01; 0 where no day was given
    retention_rule: int = 0
    erased: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The bytes of a bulletin, as they were sent or received. Once erased nothing but the dispatch is left."""

    dispatch: bytes  # SignedPayload, encoded
    body: bytes  # sealed
    wrap: bytes  # for us; empty where we sent it
    stored_key: bytes  # the content key under the node's storage key

    @property
    def erased(self) -> bool:
        """Tell whether there is nothing left to open."""
        return not self.stored_key


class DeliveryState(IntEnum):
    """What became of a delivery of ours; the numbers of ``node.proto``."""

    WAITING = 1
    RECEIVED = 2
    REFUSED = 3
    DUPLICATE = 4
    WITHDRAWN = 5
    NOT_UNDERSTOOD = 7  # answered by a kind of entry that is newer than this program; 6 is absent, never a row


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneState:
    """Where a lane stands. Of a lane of ours the last sent; of a peer's the last held."""

    row: int  # the engine's own number
    outgoing: bool
    peer: str
    lane_class: int
    epoch: int
    sequence: int = 0
    digest: bytes = bytes(32)
    head: bytes = b""  # the newest lane head, signed and encoded; of a peer's lane
    head_time_ms: int = 0
    taken: int = 0  # of a lane of ours: every delivery up to it is receipted
    stopped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundRow:
    """One delivery of ours."""

    lane: int
    sequence: int
    entry_index: int  # of PUBLISHED
    queued_index: int  # of QUEUED
    delivery: bytes
    digest: bytes
    wrap: bytes
    opening: bytes  # what their RECEIVED must carry
    state: DeliveryState = DeliveryState.WAITING
    reason: int = 0  # audit.v1.Outcome
    receipt: bytes = b""  # exchange.v1.Receipt, theirs
    since_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundRow:
    """One delivery of a peer's, and the entry that answered it."""

    lane: int
    sequence: int
    delivery: bytes
    digest: bytes
    entry_index: int
    original_index: int = 0  # for DUPLICATE: the RECEIVED that it refers to


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptedRecord:
    """A roster, manifest or key sheet that the log says was adopted."""

    kind: int  # exchange.v1.RecordKind
    agency: str  # empty for a roster
    version: int
    digest: bytes
    signed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A correction or recall that applies to a bulletin, whether that has come or not."""

    sender: str
    target_id: bytes
    relation: int  # exchange.v1.RelationType
    bulletin_id: bytes


class Reads(Protocol):
    """Questions; each sees one committed state."""

    def size(self) -> int: ...
    def read_entries(self, first: int, count: int) -> list[bytes]: ...
    def leaf_hashes(self, first: int, count: int) -> list[bytes]: ...
    def get_tile(self, level: int, index: int) -> bytes | None: ...
    def meta(self, name: str) -> bytes | None: ...
    def find(self, sender: str, bulletin_id: bytes) -> HeldBulletin | None: ...
    def find_any(self, bulletin_id: bytes) -> list[HeldBulletin]: ...
    def held_since(self, after: int, limit: int, *, sent: bool) -> list[HeldBulletin]: ...
    def content(self, entry_index: int) -> Content | None: ...
    def lane(self, *, outgoing: bool, peer: str, lane_class: int, epoch: int) -> LaneState | None: ...
    def lanes(self) -> list[LaneState]: ...
    def outbound(self, lane: int, after: int, limit: int) -> list[OutboundRow]: ...
    def outbound_of(self, entry_index: int) -> list[OutboundRow]: ...
    def inbound(self, lane: int, sequence: int) -> InboundRow | None: ...
    def inbound_after(self, lane: int, after: int, limit: int) -> list[InboundRow]: ...
    def records(self) -> list[AdoptedRecord]: ...
    def record(self, kind: int, agency: str, version: int) -> AdoptedRecord | None: ...
    def catalogue(self, digest: bytes) -> dict[str, bytes]: ...
    def peer_checkpoint(self, peer: str, epoch: int = 1) -> tuple[int, str] | None: ...
    def notices(self, sender: str, target_id: bytes) -> list[Notice]: ...
    def kept(self, after: int, limit: int, *, until_before_day: int | None = None) -> list[HeldBulletin]: ...
    def erased_count(self) -> int: ...
    def open_holds(self, bulletin: int) -> list[int]: ...
    def readings_after(self, after: int, limit: int) -> list[tuple[int, bytes]]: ...
    def stored_keys(self, after: int, limit: int) -> list[tuple[int, bytes, bytes]]: ...
    def attempts(self, lane: int, sequence: int) -> int: ...
    def evidence(self) -> Iterator[tuple[int, str, bytes]]: ...


class Transaction(Reads, Protocol):
    """What may be done inside the one transaction that is open."""

    def savepoint(self) -> AbstractContextManager[None]: ...
    def append_entries(self, rows: Sequence[tuple[int, bytes, bytes]]) -> None: ...
    def put_tiles(self, rows: Sequence[tuple[int, int, bytes]]) -> None: ...
    def set_meta(self, name: str, value: bytes) -> None: ...
    def add_bulletin(self, held: HeldBulletin, content: Content) -> None: ...
    def mark_opened(self, entry_index: int) -> None: ...
    def open_lane(self, *, outgoing: bool, peer: str, lane_class: int, epoch: int) -> LaneState: ...
    def move_lane(self, lane: LaneState) -> None: ...
    def add_outbound(self, rows: Sequence[OutboundRow]) -> None: ...
    def settle_outbound(self, rows: Sequence[OutboundRow]) -> None: ...
    def add_inbound(self, row: InboundRow) -> None: ...
    def answer_inbound(self, row: InboundRow) -> None: ...
    def add_record(self, record: AdoptedRecord) -> None: ...
    def add_catalogue(self, digest: bytes, files: Mapping[str, bytes]) -> None: ...
    def set_peer_checkpoint(self, peer: str, size: int, note: str, epoch: int = 1) -> None: ...
    def add_notice(self, notice: Notice) -> None: ...
    def take_nonce(self, nonce: bytes) -> bool: ...
    def add_reading(self, entry_index: int, random: bytes, request: bytes) -> None: ...
    def next_number(self, kind_code: str, year: int) -> int: ...
    def raise_number(self, kind_code: str, year: int, last: int) -> None: ...
    def add_attempts(self, pairs: Sequence[tuple[int, int]]) -> None: ...
    def erase(self, entry_index: int) -> None: ...
    def erase_reading(self, entry_index: int) -> None: ...
    def set_hold(self, entry_index: int, bulletin: int) -> None: ...
    def release_hold(self, entry_index: int, released: int) -> None: ...
    def store_keys(self, rows: Sequence[tuple[int, bytes]]) -> None: ...
    def add_evidence(self, entry_index: int, what: str, content: bytes) -> None: ...


class NodeStore(Protocol):
    """An engine."""

    def transaction(self) -> AbstractContextManager[Transaction]: ...
    def reads(self) -> Reads: ...
    def reader(self) -> Reads: ...
    def evidence(self) -> Iterator[tuple[int, str, bytes]]: ...
    def scrub(self) -> bool: ...
    def close(self) -> None: ...
