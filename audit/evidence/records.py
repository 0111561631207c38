"""What the exchange's signed records say, read by tables: enough to judge evidence without the exchange's own code.

Each is read after its bytes were hashed or their signature verified, and never written again. Field numbers are those
of ``proto/README.md``, sections 4 to 8; a test holds the tables and the schema equal.
"""

import hmac
from dataclasses import dataclass
from typing import Any

from audit.evidence.record_reader import BYTES, NUMBER, TEXT, Field, Table, read_fields
from keys.errors import RefusedError
from keys.identity import parse_agency, parse_officer, record_digest

MAX_SEQUENCE_GAP = 1000  # deliveries between ours and a lane head that evidence carries along
OPENING_LABEL = b"exchange/v1/opening\0"

LOG_HEAD: Table = {1: Field("origin", TEXT), 2: Field("size", NUMBER), 3: Field("root", BYTES, length=32)}
LANE: Table = {
    1: Field("federation_id", BYTES, length=32),
    2: Field("sender", TEXT),
    3: Field("recipient", TEXT),
    4: Field("class", NUMBER),
    5: Field("epoch", NUMBER),
}
STATEMENT: Table = {
    1: Field("federation_id", BYTES, length=32),
    2: Field("salt", BYTES, length=32),
    3: Field("bulletin", BYTES),
    4: Field("roster_digest", BYTES, length=32),
    5: Field("recipients", TEXT, many=True),
    6: Field("log_head", LOG_HEAD),
}
DISPATCH: Table = {
    1: Field("federation_id", BYTES, length=32),
    2: Field("bulletin_id", BYTES, length=16),
    3: Field("sender", TEXT),
    4: Field("statement_digest", BYTES, length=32),
    5: Field("signers", {1: Field("role", NUMBER), 2: Field("key_id", BYTES, length=32)}, many=True),
    6: Field(
        "recipients",
        {1: Field("agency", TEXT), 2: Field("key_id", BYTES, length=32), 3: Field("wrap_digest", BYTES, length=32)},
        many=True,
    ),
    7: Field("absent", {1: Field("agency", TEXT), 2: Field("reason", NUMBER)}, many=True),
    8: Field("body_suite", NUMBER),
    9: Field("expires_ms", NUMBER),
    10: Field("urgency", NUMBER),
    11: Field("ciphertext_digest", BYTES, length=32),
    12: Field("ciphertext_size", NUMBER),
}
DELIVERY: Table = {
    1: Field("lane", LANE),
    2: Field("sequence", NUMBER),
    3: Field("previous", BYTES, length=32),
    4: Field("dispatch_digest", BYTES, length=32),
    5: Field("time_ms", NUMBER),
}
LANE_HEAD: Table = {
    1: Field("lane", LANE),
    2: Field("sequence", NUMBER),
    3: Field("delivery_digest", BYTES, length=32),
    4: Field("latest", NUMBER),
    5: Field("withdrawn", {1: Field("sequence", NUMBER), 2: Field("reason", NUMBER)}, many=True),
    6: Field("time_ms", NUMBER),
}
READ: Table = {
    1: Field("federation_id", BYTES, length=32),
    2: Field("agency", TEXT),
    3: Field("officer", TEXT),
    4: Field("sender", TEXT),
    5: Field("bulletin_id", BYTES, length=16),
    6: Field("statement_digest", BYTES, length=32),
    7: Field("purpose", NUMBER),
    8: Field("case", TEXT),
    9: Field("reason", TEXT),
    10: Field("nonce", BYTES, length=16),
    11: Field("log_head", LOG_HEAD),
    12: Field("time_ms", NUMBER),
    13: Field("listed", {1: Field("sender", TEXT), 2: Field("bulletin_id", BYTES, length=16)}, many=True),
}
URGENCIES = {1: "flash", 2: "urgent", 3: "priority", 4: "routine"}
ABSENT_REASONS = {1: "it had no valid key", 2: "it was suspended", 3: "it had left", 4: "it was served before"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogHead:
    """A point in a log that an author had seen when signing."""

    origin: str
    size: int
    root: bytes  # 32 bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A bulletin as its author signed it."""

    federation_id: bytes
    salt: bytes  # 32 bytes
    bulletin: bytes
    recipients: tuple[str, ...]
    log_head: LogHead | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """Who sends which sealed statement to whom, as the sending agency signed it."""

    federation_id: bytes
    bulletin_id: bytes  # 16 bytes
    sender: str
    statement_digest: bytes  # 32 bytes
    signers: tuple[tuple[int, bytes], ...]  # (1 author or 2 releaser, key id)
    recipients: tuple[str, ...]
    absent: tuple[tuple[str, int], ...]  # (agency, reason)
    urgency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One numbered step of a lane."""

    lane: tuple[bytes, str, str, int, int]  # federation id, sender, recipient, class, epoch
    sequence: int
    previous: bytes  # 32 bytes
    dispatch_digest: bytes  # 32 bytes
    time_ms: int
    digest: bytes  # 32 bytes, of these bytes

    @property
    def recipient(self) -> str:
        """The agency that the lane leads to."""
        return self.lane[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneHead:
    """The sender's signed word on where a lane stands."""

    lane: tuple[bytes, str, str, int, int]
    sequence: int
    delivery_digest: bytes  # 32 bytes
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Who asked for content, and why."""

    federation_id: bytes
    agency: str
    officer: str
    sender: str
    bulletin_id: bytes
    statement_digest: bytes
    purpose: str
    time_ms: int
    digest: bytes  # 32 bytes, of the request


def read_statement(payload: bytes) -> Statement:
    """Read a statement; RefusedError MALFORMED or NOT_UNDERSTOOD."""
    found = _read("statement", payload, STATEMENT, "federation_id", "salt", "bulletin", "roster_digest", "recipients")
    head = found["log_head"]
    if head is not None and not (head["origin"] and head["size"] and head["root"]):
        raise _missing("statement", "a part of log_head")
    return Statement(
        federation_id=found["federation_id"],
        salt=found["salt"],
        bulletin=found["bulletin"],
        recipients=tuple(parse_agency(each) for each in found["recipients"]),
        log_head=LogHead(**head) if head is not None else None,
    )


def read_dispatch(payload: bytes) -> Dispatch:
    """Read a dispatch; RefusedError MALFORMED or NOT_UNDERSTOOD."""
    found = _read(
        "dispatch", payload, DISPATCH, "federation_id", "bulletin_id", "statement_digest", "signers", "recipients"
    )
    recipients = tuple(parse_agency(each["agency"]) for each in found["recipients"])
    absent = tuple((parse_agency(each["agency"]), each["reason"]) for each in found["absent"])
    signers = tuple((each["role"], each["key_id"]) for each in found["signers"])
    named = [*recipients, *(agency for agency, _ in absent)]
    if len(set(named)) != len(named) or [role for role, _ in signers] not in ([1], [1, 2]):
        raise RefusedError("MALFORMED", "dispatch: an agency stands twice, or signers are not author and releaser")
    return Dispatch(
        federation_id=found["federation_id"],
        bulletin_id=found["bulletin_id"],
        sender=parse_agency(found["sender"]),
        statement_digest=found["statement_digest"],
        signers=signers,
        recipients=recipients,
        absent=absent,
        urgency=found["urgency"],
    )


def read_delivery(payload: bytes) -> Delivery:
    """Read a delivery; RefusedError MALFORMED or NOT_UNDERSTOOD."""
    found = _read("delivery", payload, DELIVERY, "lane", "sequence", "previous", "dispatch_digest", "time_ms")
    return Delivery(
        lane=_lane("delivery", found["lane"]),
        sequence=found["sequence"],
        previous=found["previous"],
        dispatch_digest=found["dispatch_digest"],
        time_ms=found["time_ms"],
        digest=record_digest("delivery", payload),
    )


def read_lane_head(payload: bytes) -> LaneHead:
    """Read a lane head; RefusedError MALFORMED or NOT_UNDERSTOOD."""
    found = _read("lane head", payload, LANE_HEAD, "lane", "sequence", "delivery_digest", "time_ms")
    return LaneHead(
        lane=_lane("lane head", found["lane"]),
        sequence=found["sequence"],
        delivery_digest=found["delivery_digest"],
        time_ms=found["time_ms"],
    )


def read_request(payload: bytes) -> Request:
    """Read a request for content; RefusedError MALFORMED or NOT_UNDERSTOOD."""
    found = _read("request", payload, READ, "federation_id", "bulletin_id", "statement_digest", "reason", "time_ms")
    return Request(
        federation_id=found["federation_id"],
        agency=parse_agency(found["agency"]),
        officer=parse_officer(found["officer"]),
        sender=parse_agency(found["sender"]),
        bulletin_id=found["bulletin_id"],
        statement_digest=found["statement_digest"],
        purpose=found["reason"],
        time_ms=found["time_ms"],
        digest=record_digest("read", payload),
    )


def opening(salt: bytes, delivery_digest: bytes) -> bytes:
    """Return what a RECEIVED entry must carry: only who has opened the statement can compute it."""
    return hmac.digest(salt, OPENING_LABEL + delivery_digest, "sha256")


def _lane(record: str, found: dict[str, Any]) -> tuple[bytes, str, str, int, int]:
    if not (found["federation_id"] and found["class"] and found["epoch"]):
        raise _missing(record, "a part of its lane")
    sender, recipient = parse_agency(found["sender"]), parse_agency(found["recipient"])
    return found["federation_id"], sender, recipient, found["class"], found["epoch"]


def _read(record: str, payload: bytes, table: Table, *needed: str) -> dict[str, Any]:
    found = read_fields(record, payload, table)
    for name in needed:
        if not found[name]:
            raise _missing(record, name)
    return found


def _missing(record: str, name: str) -> RefusedError:
    return RefusedError("MALFORMED", f"{record}: {name} is absent")
