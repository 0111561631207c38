"""What sealing one statement needs, and what comes of it, as values: no store, no roster, no key that outlives them.

``seal`` may therefore run in another process than the node's. Both values have one encoding, with bounds, and whoever
reads one refuses everything else: never pickle, because later they come from machines that are trusted less. The only key
in an order is the content key, which serves this one statement; the node signs the dispatch and stores the key itself.

An encoding is a label, then the fields in their order: numbers big-endian, bytes behind their length in four bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from enum import IntEnum
from itertools import pairwise
from typing import TypeVar

from audit.record.dispatch import (
    Absent,
    AbsentReason,
    Dispatch,
    Recipient,
    Urgency,
    ciphertext_digest,
    parse_dispatch,
    signers_of,
    wrap_digest,
)
from audit.record.statement import statement_digest
from audit.record.wire import ID_BYTES, MAX_RECIPIENTS
from keys import suites
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.identity import DIGEST_BYTES, AgencyId, Usage, parse_agency
from keys.seal import CONTENT_KEY_BYTES, MAX_PADDED_BYTES, WRAP_BYTES, pad, seal_body, wrap, wrap_info
from keys.signer import PublicKey
from keys.values import hot_value

ORDER_LABEL, PARTS_LABEL = b"exchange/v1/seal-order\0", b"exchange/v1/sealed-parts\0"
MAX_BODY_BYTES = MAX_PADDED_BYTES + (64 << 10)  # of the largest bucket, with what sealing adds to each chunk
MAX_DISPATCH_BYTES = 16 << 10  # 64 recipients of at most 100 bytes, and the rest
MAX_TIME_MS = (1 << 63) - 1


_E = TypeVar("_E", bound=IntEnum)


@hot_value(frozen=True, slots=True, kw_only=True)
class SealOrder:
    """One statement to be sealed, checked by whoever made the order."""

    federation_id: bytes  # 32 bytes
    sender: AgencyId
    bulletin_id: bytes  # 16 bytes
    urgency: Urgency
    expires_ms: int  # milliseconds UTC
    content_key: bytes = field(repr=False)  # 32 bytes, new for each order
    signed: SignedPayload  # with all its signatures
    recipients: tuple[PublicKey, ...]  # encryption keys of those served, ascending by agency
    absent: tuple[Absent, ...]  # ascending by agency

    def encode(self) -> bytes:
        """Return the bytes that ``parse_seal_order`` reads."""
        return b"".join(
            (
                ORDER_LABEL,
                self.federation_id,
                self.bulletin_id,
                self.content_key,
                int(self.urgency).to_bytes(1, "big"),
                self.expires_ms.to_bytes(8, "big"),
                _sized(self.sender.encode()),
                _sized(self.signed.encode()),
                len(self.recipients).to_bytes(1, "big"),
                *(_sized(key.owner.encode()) + key.public_key for key in self.recipients),
                len(self.absent).to_bytes(1, "big"),
                *(_sized(each.agency.encode()) + int(each.reason).to_bytes(1, "big") for each in self.absent),
            )
        )


@hot_value(frozen=True, slots=True, kw_only=True)
class SealedParts:
    """A sealed statement before its dispatch is signed."""

    dispatch: Dispatch
    body: bytes
    wraps: tuple[tuple[AgencyId, bytes], ...]  # 1,168 bytes each, ascending by agency

    def encode(self) -> bytes:
        """Return the bytes that ``parse_sealed_parts`` reads."""
        wraps = (_sized(agency.encode()) + wrapped for agency, wrapped in self.wraps)
        count = len(self.wraps).to_bytes(1, "big")
        return b"".join((PARTS_LABEL, _sized(self.dispatch.encode()), _sized(self.body), count, *wraps))


def seal(order: SealOrder) -> SealedParts:
    """Seal the statement for its recipients and say so in a dispatch, which is still to be signed.

    Raises:
        RefusedError: TOO_LARGE above the largest bucket, WRONG_TYPE for a strange signature.
    """
    digest = statement_digest(order.signed.payload)
    body = seal_body(order.content_key, order.federation_id, digest, pad(order.signed.encode()))
    wraps, recipients = [], []
    for key in order.recipients:
        agency, key_id = AgencyId(key.owner), key.key_id
        wrapped = wrap(order.content_key, key, wrap_info(order.federation_id, digest, key_id))
        wraps.append((agency, wrapped))
        recipients.append(Recipient(agency=agency, key_id=key_id, wrap_digest=wrap_digest(wrapped)))
    dispatch = Dispatch(
        federation_id=order.federation_id,
        bulletin_id=order.bulletin_id,
        sender=order.sender,
        statement_digest=digest,
        signers=signers_of(order.signed),
        recipients=tuple(recipients),
        absent=order.absent,
        expires_ms=order.expires_ms,
        urgency=order.urgency,
        ciphertext_digest=ciphertext_digest(body),
        ciphertext_size=len(body),
    )
    return SealedParts(dispatch=dispatch, body=body, wraps=tuple(wraps))


def parse_seal_order(data: bytes) -> SealOrder:
    """Read an order.

    Raises:
        RefusedError: MALFORMED and whatever the signed payload is refused with; nothing but what ``encode`` writes passes.
    """
    reader = _Reader(data, ORDER_LABEL)
    federation_id, bulletin_id = reader.take(DIGEST_BYTES), reader.take(ID_BYTES)
    content_key = reader.take(CONTENT_KEY_BYTES)
    urgency, expires_ms = reader.member(Urgency), reader.number(8, MAX_TIME_MS)
    sender = reader.agency()
    order = SealOrder(
        federation_id=federation_id,
        sender=sender,
        bulletin_id=bulletin_id,
        urgency=urgency,
        expires_ms=expires_ms,
        content_key=content_key,
        signed=SignedPayload.decode(reader.sized(MAX_PADDED_BYTES)),
        recipients=tuple(_key(reader) for _ in range(reader.number(1, MAX_RECIPIENTS))),
        absent=tuple(
            Absent(agency=reader.agency(), reason=reader.member(AbsentReason))
            for _ in range(reader.number(1, MAX_RECIPIENTS))
        ),
    )
    _need_ascending([key.owner for key in order.recipients])
    _need_ascending([each.agency for each in order.absent])
    reader.end(order.encode())
    return order


def parse_sealed_parts(data: bytes) -> SealedParts:
    """Read what came of an order.

    Raises:
        RefusedError: MALFORMED and whatever the dispatch is refused with; nothing but what ``encode`` writes passes.
    """
    reader = _Reader(data, PARTS_LABEL)
    parts = SealedParts(
        dispatch=parse_dispatch(reader.sized(MAX_DISPATCH_BYTES)),
        body=reader.sized(MAX_BODY_BYTES),
        wraps=tuple((reader.agency(), reader.take(WRAP_BYTES)) for _ in range(reader.number(1, MAX_RECIPIENTS))),
    )
    _need_ascending([agency for agency, _ in parts.wraps])
    reader.end(parts.encode())
    return parts


def _key(reader: _Reader) -> PublicKey:
    owner, suite = reader.agency(), suites.suite(suites.HYBRID_KEM)
    raw = reader.take(suite.public_key_bytes)
    return PublicKey(usage=Usage.ENCRYPTION, suite=suites.HYBRID_KEM, owner=owner, public_key=raw)


def _need_ascending(agencies: Sequence[str]) -> None:
    if any(one >= two for one, two in pairwise(agencies)):
        raise RefusedError("MALFORMED", "a sealing value: agencies are not ascending")


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


class _Reader:
    """Reads fields from the front and never beyond the end."""

    def __init__(self, data: bytes, label: bytes) -> None:
        self._data, self._at = data, 0
        if self.take(len(label)) != label:
            raise RefusedError("MALFORMED", f"a sealing value does not begin with {label!r}")

    def take(self, count: int) -> bytes:
        start, self._at = self._at, self._at + count
        if self._at > len(self._data):
            raise RefusedError("MALFORMED", f"a sealing value ends at byte {len(self._data)}, before a field's end")
        return self._data[start : self._at]

    def number(self, size: int, most: int) -> int:
        value = int.from_bytes(self.take(size), "big")
        if value > most:
            raise RefusedError("MALFORMED", f"a sealing value: {value}, at most {most}")
        return value

    def sized(self, most: int) -> bytes:
        return self.take(self.number(4, most))

    def agency(self) -> AgencyId:
        try:
            return parse_agency(self.sized(32).decode("ascii"))
        except UnicodeDecodeError:
            raise RefusedError("MALFORMED", "a sealing value: an agency's code is not ASCII") from None

    def member(self, kind: type[_E]) -> _E:
        value = self.number(1, 255)
        try:
            return kind(value)
        except ValueError:
            raise RefusedError("MALFORMED", f"a sealing value: {value} is no {kind.__name__}") from None

    def end(self, written: bytes) -> None:
        """Refuse what is not exactly what was read, written again."""
        if written != self._data:
            raise RefusedError("MALFORMED", "a sealing value is not in its one encoding")
