"""What a store keeps, a value a row: bulletins, lanes, deliveries, records, notices."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from keys.values import hot_value


@hot_value(frozen=True, slots=True, kw_only=True)
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


@hot_value(frozen=True, slots=True, kw_only=True)
class StoredBulletin:
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


@hot_value(frozen=True, slots=True, kw_only=True)
class Content:
    """The bytes of a bulletin, as they were sent or received. Once erased nothing but the dispatch is left."""

    dispatch: bytes  # SignedPayload, encoded
    body: bytes  # sealed
    wrap: bytes  # for us; empty where we sent it
    stored_key: bytes  # the content key under the node's storage key

    @property
    def erased(self) -> bool:
        """Return whether there is nothing left to open."""
        return not self.stored_key


class DeliveryState(IntEnum):
    """What became of a delivery of ours; the numbers of ``node.proto``."""

    WAITING = 1
    RECEIVED = 2
    REFUSED = 3
    DUPLICATE = 4
    WITHDRAWN = 5
    NOT_UNDERSTOOD = 7  # answered by a kind of entry that is newer than this program; 6 is absent, never a row


@hot_value(frozen=True, slots=True, kw_only=True)
class LaneState:
    """Where a lane stands. Of a lane of ours the last sent; of a peer's the last stored."""

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

    def moved_to(self, sequence: int, digest: bytes) -> LaneState:
        """Return the lane with another last delivery. ``dataclasses.replace`` takes five times as long."""
        return LaneState(
            row=self.row,
            outgoing=self.outgoing,
            peer=self.peer,
            lane_class=self.lane_class,
            epoch=self.epoch,
            sequence=sequence,
            digest=digest,
            head=self.head,
            head_time_ms=self.head_time_ms,
            taken=self.taken,
            stopped=self.stopped,
        )


@hot_value(frozen=True, slots=True, kw_only=True)
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
    receipt: bytes = b""  # audit.v1.Receipt, theirs
    since_ms: int = 0


@hot_value(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What became of one delivery of ours."""

    lane: int
    sequence: int
    state: DeliveryState
    reason: int  # audit.v1.Outcome; 0 unless it was refused
    receipt: bytes  # audit.v1.Receipt, theirs
    since_ms: int


@hot_value(frozen=True, slots=True, kw_only=True)
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
    rank: int  # the order among the records of one kind and agency, which the version alone does not tell
    position: int  # of the entry that says so; 0 where that is not known and earlier than all that is
    digest: bytes
    signed: bytes


class AgencyRecords(NamedTuple):
    """The newest records of an agency before an entry of our log; None where none is known."""

    roster: AdoptedRecord | None
    manifest: AdoptedRecord | None
    key_sheet: AdoptedRecord | None

    @property
    def digests(self) -> tuple[bytes, bytes, bytes]:
        """Return the three digests, 32 bytes each; zeros where none is known."""
        return (
            self.roster.digest if self.roster is not None else bytes(32),
            self.manifest.digest if self.manifest is not None else bytes(32),
            self.key_sheet.digest if self.key_sheet is not None else bytes(32),
        )


class LoggedReading(NamedTuple):
    """An OPENED of a bulletin, and whether its reader could show it."""

    entry_index: int
    failed: int  # position of the READ_FAILED that says so; 0 where there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A bulletin whose content was lost, not erased, and is asked back from whoever has it."""

    sender: str
    bulletin_id: bytes  # 16 bytes
    statement_digest: bytes  # 32 bytes
    refused: tuple[str, ...] = ()  # agencies that cannot give it any more, ascending


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A correction or recall that applies to a bulletin, whether that has come or not."""

    sender: str
    target_id: bytes
    relation: int  # exchange.v1.RelationType
    bulletin_id: bytes
