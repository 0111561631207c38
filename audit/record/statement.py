"""What an officer signs: a bulletin for a closed list of agencies, and a request to read one.

The recipients stand in the signed bytes, so nobody can forward them elsewhere in the author's name; the roster's
digest stands there, so everybody judges the bulletin by the same catalogue; the salt makes ``opening`` a proof of
having opened it, and noise once it is erased.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, NamedTuple

from google.protobuf.message import Message

from audit.record.wire import (
    ID_BYTES,
    MAX_ORIGIN_BYTES,
    MAX_RECIPIENTS,
    encode,
    malformed,
    need_agency,
    need_ascending,
    need_bytes,
    need_count,
    need_enum,
    parse,
)
from audit.v1 import entry_pb2, statement_pb2
from keys.errors import RefusedError
from keys.identity import DIGEST_BYTES, AgencyId, parse_officer, record_digest
from keys.refusals import Outcome
from keys.seal import MAX_PADDED_BYTES
from keys.values import hot_value

MAX_STATEMENT_BYTES = MAX_PADDED_BYTES - 4096  # with its two signatures and its length it fits the largest bucket
MAX_READ_BYTES = 64 << 10  # 500 listed bulletins of at most 51 bytes, and the words
MAX_LISTED = 500  # one page of the inbox
MAX_CASE = 64  # characters
MAX_REASON = 500  # characters
NONCE_BYTES = 16
MAX_RESTS_ON = 64
RESTS_ON_TYPES = frozenset({"agreement", "group", "subscription"})
OPENING_LABEL = b"exchange/v1/opening\0"
OPENED_LABEL = b"exchange/v1/opened\0"


class ReadPurpose(IntEnum):
    """Why somebody reads; the numbers of ``audit.v1.ReadPurpose``."""

    CASE_WORK = 1
    TRIAGE = 2
    REPLY = 3
    OVERSIGHT = 4
    AUTOMATED = 5
    HOLD = 6  # from here on what is asked says it already: they stand in entries and in requests of older programs
    RELEASE = 7
    EXPORT = 8


class Asked(IntEnum):
    """What a request asks; the numbers of the fields of ``audit.v1.Read.asked``."""

    OPEN = 14
    EXPORT = 15
    LIST = 16
    HOLD = 17
    RELEASE = 18
    AGAIN = 19
    FAILED = 20


_ASKED_FOR = {ReadPurpose.EXPORT: Asked.EXPORT, ReadPurpose.HOLD: Asked.HOLD, ReadPurpose.RELEASE: Asked.RELEASE}
_PURPOSE_OF = {asked: purpose for purpose, asked in _ASKED_FOR.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogHead:
    """A point in a log, as a checkpoint says it: the earliest moment at which its holder can have signed."""

    origin: str
    size: int
    root: bytes  # 32 bytes


class RestsOn(NamedTuple):
    """A signed record, beside the roster, that a statement is judged by."""

    type: str  # the name in the digest's label
    digest: bytes  # 32 bytes


@hot_value(frozen=True, slots=True, kw_only=True)
class Statement:
    """A bulletin as its author signs it."""

    federation_id: bytes  # 32 bytes
    salt: bytes  # 32 random bytes; erased with the content
    bulletin: bytes  # exchange.v1.Bulletin, as the author's program encoded it
    roster_digest: bytes  # 32 bytes
    recipients: tuple[AgencyId, ...]  # ascending by bytes, the sender left out
    log_head: LogHead | None = None  # newest checkpoint of the own node's log that the author's program has seen
    rests_on: tuple[RestsOn, ...] = ()  # ascending; no program makes or takes any so far

    def encode(self) -> bytes:
        """Write the payload of types ``statement`` and ``release``."""
        return encode(
            statement_pb2.Statement(
                federation_id=self.federation_id,
                salt=self.salt,
                bulletin=self.bulletin,
                roster_digest=self.roster_digest,
                recipients=self.recipients,
                log_head=_head_message(self.log_head),
                rests_on=[statement_pb2.RestsOn(type=each.type, digest=each.digest) for each in self.rests_on],
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRequest:
    """An officer's signed wish, about one bulletin, about several whose subjects are listed, or about a reading."""

    federation_id: bytes  # 32 bytes
    agency: AgencyId  # the officer's, and the node's
    officer: str  # id within the agency
    purpose: ReadPurpose | None = None  # None where it is about a reading, which has one
    case: str = ""  # 1 to 64 characters; none where it is about a reading
    reason: str = ""  # 1 to 500 characters; none where it is about a reading
    nonce: bytes  # 16 random bytes, taken once
    time_ms: int  # milliseconds UTC
    sender: str = ""  # of the one bulletin that it is about
    bulletin_id: bytes = b""  # 16 bytes
    statement_digest: bytes = b""  # 32 bytes
    log_head: LogHead | None = None
    listed: tuple[tuple[AgencyId, bytes], ...] = ()  # (sender, bulletin_id), ascending; to list
    position: int = 0  # log position of the OPENED that it is about
    outcome: Outcome | None = None  # why what was opened could not be shown

    @property
    def asked(self) -> Asked:
        """What is asked, as the fields tell it."""
        if self.position:
            return Asked.AGAIN if self.outcome is None else Asked.FAILED
        if self.listed:
            return Asked.LIST
        return Asked.OPEN if self.purpose is None else _ASKED_FOR.get(self.purpose, Asked.OPEN)

    def encode(self) -> bytes:
        """Write the payload of type ``read``."""
        said = self.purpose is None or self.purpose is _PURPOSE_OF.get(self.asked)  # by what is asked
        message = statement_pb2.Read(
            federation_id=self.federation_id,
            agency=self.agency,
            officer=self.officer,
            purpose=statement_pb2.ReadPurpose.ValueType(0 if said else self.purpose or 0),
            case=self.case,
            reason=self.reason,
            nonce=self.nonce,
            log_head=_head_message(self.log_head),
            time_ms=self.time_ms,
        )
        getattr(message, self.asked.name.lower()).CopyFrom(self._asked_message())
        return encode(message)

    def _asked_message(self) -> Message:
        match self.asked:
            case Asked.LIST:
                listed = [statement_pb2.ListedBulletin(sender=s, bulletin_id=b) for s, b in self.listed]
                return statement_pb2.ReadList(listed=listed)
            case Asked.AGAIN:
                return statement_pb2.ReadAgain(position=self.position)
            case Asked.FAILED:
                outcome = entry_pb2.Outcome.ValueType(self.outcome or 0)
                return statement_pb2.ReadFailure(position=self.position, outcome=outcome)
        return statement_pb2.ReadTarget(
            sender=self.sender, bulletin_id=self.bulletin_id, statement_digest=self.statement_digest
        )


def parse_statement(payload: bytes) -> Statement:
    """Read the payload of a statement whose signatures are already verified or are verified next.

    Raises:
        RefusedError: MALFORMED, TOO_LARGE or NOT_UNDERSTOOD.
    """
    message = parse("statement", payload, statement_pb2.Statement, MAX_STATEMENT_BYTES)
    need_bytes("statement", "federation_id", message.federation_id)
    need_bytes("statement", "salt", message.salt)
    need_bytes("statement", "roster_digest", message.roster_digest)
    if not message.bulletin:
        raise malformed("statement", "no bulletin")
    recipients = tuple(need_agency(agency) for agency in message.recipients)
    need_count("statement", "recipients", len(recipients), 1, MAX_RECIPIENTS)
    need_ascending("statement", "recipients", recipients)
    return Statement(
        federation_id=message.federation_id,
        salt=message.salt,
        bulletin=message.bulletin,
        roster_digest=message.roster_digest,
        recipients=recipients,
        log_head=_parse_head("statement", message.log_head) if message.HasField("log_head") else None,
        rests_on=_parse_rests_on(message) if message.rests_on else (),
    )


def _parse_rests_on(message: statement_pb2.Statement) -> tuple[RestsOn, ...]:
    need_count("statement", "records that it rests on", len(message.rests_on), 0, MAX_RESTS_ON)
    for each in message.rests_on:
        need_bytes("statement", "rests_on.digest", each.digest)
        if not each.type:
            raise malformed("statement", "rests_on.type is absent")
        if each.type not in RESTS_ON_TYPES:
            raise RefusedError("NOT_UNDERSTOOD", f"statement: it rests on a {each.type[:40]!a}")
    rests_on = tuple(RestsOn(each.type, each.digest) for each in message.rests_on)
    need_ascending("statement", "records that it rests on", rests_on)
    return rests_on


def parse_read(payload: bytes) -> ReadRequest:
    """Read the payload of an officer's request whose signature is already verified or is verified next.

    Raises:
        RefusedError: MALFORMED, also for what an older program asks; TOO_LARGE or NOT_UNDERSTOOD.
    """
    return _parse_asked(parse("read", payload, statement_pb2.Read, MAX_READ_BYTES))


def parse_stored_read(payload: bytes) -> ReadRequest:
    """Read a request that was taken once and is kept, perhaps from an older program; errors as ``parse_read``."""
    message = parse("read", payload, statement_pb2.Read, MAX_READ_BYTES)
    return _parse_asked(message) if message.WhichOneof("asked") else _parse_old(message)


def statement_digest(payload: bytes) -> bytes:
    """Return the 32-byte digest that names a statement everywhere; signatures are no part of it."""
    return record_digest("statement", payload)


def read_digest(payload: bytes) -> bytes:
    """Return the 32-byte digest of an officer's request."""
    return record_digest("read", payload)


def opening(salt: bytes, delivery_digest: bytes) -> bytes:
    """Return what a RECEIVED entry must carry: only who has opened the statement can compute it (row 32)."""
    return hmac.digest(salt, OPENING_LABEL + delivery_digest, "sha256")


def opened_digest(blind: bytes, request_digest: bytes) -> bytes:
    """Return what LISTED, OPENED, EXPORTED and ACCESS_DENIED carry.

    Args:
        blind: 32 random bytes, kept beside the log and erased with the request.
        request_digest: 32 bytes, ``read_digest`` of the officer's request.
    """
    return hashlib.sha256(OPENED_LABEL + blind + request_digest).digest()


def _parse_asked(message: statement_pb2.Read) -> ReadRequest:
    if message.sender or message.bulletin_id or message.statement_digest or message.listed:
        raise malformed("read", "it is asked in the form of an older program")
    name = message.WhichOneof("asked")
    if name is None:
        raise malformed("read", "nothing is asked")
    asked = Asked[name.upper()]
    about_reading = asked in (Asked.AGAIN, Asked.FAILED)
    if about_reading and (message.case or message.reason):
        raise malformed("read", f"{name} takes over case and reason, and has none of its own")
    if asked in (Asked.OPEN, Asked.LIST):
        purpose = need_enum("read", "purpose", message.purpose, ReadPurpose)
        if purpose in _ASKED_FOR:
            raise malformed("read", f"{name} has purpose {purpose.name.lower()}")
    elif message.purpose:
        raise malformed("read", f"{name} has a purpose of its own")
    common = _parse_common(message, with_words=not about_reading)
    if asked is Asked.LIST:
        return replace(common, purpose=purpose, listed=_parse_listed(message.list.listed))
    if asked is Asked.AGAIN:
        return replace(common, position=_parse_position(message.again.position))
    if asked is Asked.FAILED:
        outcome = need_enum("read", "outcome", message.failed.outcome, Outcome)
        if outcome is Outcome.DONE:
            raise malformed("read", "outcome is no refusal")
        return replace(common, position=_parse_position(message.failed.position), outcome=outcome)
    target = _parse_target(getattr(message, name))
    return replace(common, purpose=_PURPOSE_OF[asked] if asked is not Asked.OPEN else purpose, **target)


def _parse_old(message: statement_pb2.Read) -> ReadRequest:
    """Read what a program asked before there was ``asked``: either one bulletin or some are named."""
    purpose = need_enum("read", "purpose", message.purpose, ReadPurpose)
    common = replace(_parse_common(message, with_words=True), purpose=purpose)
    if not message.listed:
        return replace(common, **_parse_target(message))
    if message.sender or message.bulletin_id or message.statement_digest or purpose in _ASKED_FOR:
        raise malformed("read", "either one bulletin is opened or some are listed")
    return replace(common, listed=_parse_listed(message.listed))


def _parse_common(message: statement_pb2.Read, *, with_words: bool) -> ReadRequest:
    need_bytes("read", "federation_id", message.federation_id)
    need_bytes("read", "nonce", message.nonce, NONCE_BYTES)
    if with_words:
        need_count("read", "characters of case", len(message.case), 1, MAX_CASE)
        need_count("read", "characters of reason", len(message.reason), 1, MAX_REASON)
    if not message.time_ms:
        raise malformed("read", "no time")
    return ReadRequest(
        federation_id=message.federation_id,
        agency=need_agency(message.agency),
        officer=parse_officer(message.officer),
        case=message.case,
        reason=message.reason,
        nonce=message.nonce,
        time_ms=message.time_ms,
        log_head=_parse_head("read", message.log_head) if message.HasField("log_head") else None,
    )


def _parse_target(message: statement_pb2.Read | statement_pb2.ReadTarget) -> dict[str, Any]:
    need_bytes("read", "bulletin_id", message.bulletin_id, ID_BYTES)
    need_bytes("read", "statement_digest", message.statement_digest, DIGEST_BYTES)
    return {
        "sender": need_agency(message.sender),
        "bulletin_id": message.bulletin_id,
        "statement_digest": message.statement_digest,
    }


def _parse_listed(items: Sequence[statement_pb2.ListedBulletin]) -> tuple[tuple[AgencyId, bytes], ...]:
    need_count("read", "listed bulletins", len(items), 1, MAX_LISTED)
    for item in items:
        need_bytes("read", "bulletin_id", item.bulletin_id, ID_BYTES)
    listed = tuple((need_agency(item.sender), item.bulletin_id) for item in items)
    need_ascending("read", "listed bulletins", listed)
    return listed


def _parse_position(position: int) -> int:
    """Take a log position: above 0, where GENESIS stands, and such as a store can keep."""
    if not 0 < position < 1 << 63:
        raise malformed("read", f"position is {position}")
    return position


def _head_message(head: LogHead | None) -> statement_pb2.LogHead | None:
    if head is None:
        return None
    return statement_pb2.LogHead(origin=head.origin, size=head.size, root=head.root)


def _parse_head(record: str, message: statement_pb2.LogHead) -> LogHead:
    need_bytes(record, "log_head.root", message.root)
    need_count(record, "characters of log_head.origin", len(message.origin), 1, MAX_ORIGIN_BYTES)
    if not (message.origin.isascii() and message.origin.isprintable() and " " not in message.origin):
        raise malformed(record, "log_head.origin is no origin")
    if not message.size:
        raise malformed(record, "log_head.size is absent")
    return LogHead(origin=message.origin, size=message.size, root=message.root)
