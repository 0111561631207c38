"""What the client hands out: plain values, every one made of verified bytes or marked as the node's word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from audit.record.statement import Statement
from exchange.records.bulletin import id_bytes
from exchange.records.receipt import Receipt
from exchange.store.rows import DeliveryState
from exchange.v1 import node_pb2
from exchange.v1.bulletin_pb2 import Bulletin
from keys.dsse import SignedPayload
from keys.errors import IntegrityError, RefusedError, UnavailableError
from keys.identity import AgencyId

MIN_PREFIX = 8  # characters of an id that people may type
UNVERIFIED_SECONDS = 60.0  # a missing record comes with the next connection to a peer
ABSENT = 6  # exchange.v1.DELIVERY_STATE_ABSENT, which no stored delivery has


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """A bulletin that is ready to be signed: complete, judged, its audience computed."""

    bulletin: Bulletin
    kind: str
    recipients: tuple[AgencyId, ...]

    @property
    def number(self) -> str:
        """HK-SB/TRA/2025/000001."""
        return self.bulletin.header.number


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Durable at our own node and proved by its log; what the recipients did, ``outbox`` says."""

    number: str
    bulletin_id: str
    statement_digest: bytes
    log_index: int  # of PUBLISHED
    receipt: Receipt = field(repr=False)
    recipients: tuple[AgencyId, ...]  # those that it was sealed for
    absent: Mapping[AgencyId, str]  # those that cannot be served now, and why


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A bulletin in the inbox: what may be seen without a reason. The node's word, until it is opened."""

    cursor: int  # of RECEIVED in our log; where a later subscription goes on
    sender: AgencyId
    bulletin_id: str
    statement_digest: bytes
    kind: str
    number: str
    tlp: int
    classification: int
    urgency: int
    status: int
    received_ms: int
    reply_due_ms: int  # 0 where none is owed
    expires_ms: int  # 0 where it has no end
    opened: bool
    not_understood: bool
    notices: tuple[tuple[int, str], ...]  # (relation type, bulletin id) of corrections and recalls that apply
    erased: bool = False  # there is nothing left to open


class OwnReading(NamedTuple):
    """Where a person's last reading of a bulletin stands in the own log, and whether it could not be shown."""

    position: int
    failed: bool


class UnverifiedError(UnavailableError):
    """What was opened cannot be shown, because it cannot be verified now; ``code`` says why.

    It says nothing against the bulletin: a record may be missing here, or the node may be wrong. The node has entered
    that this reading failed. It is no RefusedError, so that no loop that goes on after refusals takes the bulletin for
    handled: ``Client.read_again`` reads it once more.
    """

    def __init__(self, cause: RefusedError | IntegrityError) -> None:
        super().__init__(f"cannot be verified now: {cause}", UNVERIFIED_SECONDS)
        self.code = cause.code if isinstance(cause, RefusedError) else "DAMAGED"
        self.hint = "your reading is logged as failed; read it again later, case and reason are taken over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A bulletin as its author signed it: signature, author and audience verified here, its opening logged first."""

    bulletin: Bulletin
    statement: Statement
    signed: SignedPayload = field(repr=False)
    statement_digest: bytes
    author: str  # AGENCY/id
    key_id: bytes
    log_index: int  # of OPENED in our log
    receipt: Receipt = field(repr=False)
    received: Received | None  # None for one that we sent ourselves


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A bulletin opened to be shown outside, with the proof of the entry that commits to its fields."""

    opened: Opened
    proof: Receipt = field(repr=False)  # of PUBLISHED or RECEIVED in our log
    request: SignedPayload = field(repr=False)  # what the officer signed; EXPORTED commits to it
    blind: bytes = field(repr=False)  # 32 bytes, with which EXPORTED opens to the request


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A hold that was set, or holds that were released; the entry is proved."""

    log_index: int
    count: int
    receipt: Receipt = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentState:
    """What became of a bulletin at one recipient."""

    agency: AgencyId
    state: int  # DeliveryState, or ABSENT
    reason: str  # a refusal code or an absent reason, or empty
    sequence: int
    since_ms: int
    log_index: int | None  # of the answering entry in their log, from a receipt verified here; None without one
    receipt: Receipt | None = field(repr=False)
    silent_since_ms: int = 0  # it waits, and its node has not connected since then; 0 where that is no wonder

    @property
    def word(self) -> str:
        """The state in one word."""
        return "absent" if self.state == ABSENT else DeliveryState(self.state).name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A bulletin in the outbox."""

    cursor: int
    bulletin_id: str
    statement_digest: bytes
    kind: str
    number: str
    tlp: int
    classification: int
    urgency: int
    status: int
    published_ms: int
    recipients: tuple[SentState, ...]
    erased: bool = False  # there is nothing left to open


def uuid_text(raw: bytes) -> str:
    """Write a bulletin id of 16 bytes as people and headers do."""
    return str(UUID(bytes=raw)) if len(raw) == 16 else raw.hex()


def received_of(item: node_pb2.InboxItem) -> Received:
    """Take an inbox line from its message."""
    return Received(
        cursor=item.index,
        sender=AgencyId(item.sender),
        bulletin_id=uuid_text(item.bulletin_id),
        statement_digest=item.statement_digest,
        kind=item.kind,
        number=item.number,
        tlp=item.tlp,
        classification=item.classification,
        urgency=item.urgency,
        status=item.status,
        received_ms=item.received_ms,
        reply_due_ms=item.reply_due_ms,
        expires_ms=item.expires_ms,
        opened=item.opened,
        not_understood=item.not_understood,
        notices=tuple((each.relation, uuid_text(each.bulletin_id)) for each in item.notices),
        erased=item.erased,
    )


def sent_of(item: node_pb2.OutboxItem, states: tuple[SentState, ...]) -> Sent:
    """Take an outbox line from its message and the states that were verified."""
    return Sent(
        cursor=item.index,
        bulletin_id=uuid_text(item.bulletin_id),
        statement_digest=item.statement_digest,
        kind=item.kind,
        number=item.number,
        tlp=item.tlp,
        classification=item.classification,
        urgency=item.urgency,
        status=item.status,
        published_ms=item.published_ms,
        recipients=states,
        erased=item.erased,
    )


def whole_id(name: str) -> bytes:
    """Return the 16 bytes of a whole bulletin id; nothing for anything else."""
    try:
        return id_bytes(name)
    except RefusedError:
        return b""


def is_named(wanted: str, item: Received | Sent) -> bool:
    """Return whether what somebody typed is a bulletin's number, its id or the beginning of that."""
    if wanted in (item.number, item.bulletin_id):
        return True
    return len(wanted) >= MIN_PREFIX and item.bulletin_id.startswith(wanted.lower())
