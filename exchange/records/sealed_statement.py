"""Sealing a statement for a closed list of agencies, and opening what arrived.

Both directions go through the dispatch: what is sealed is named in it byte for byte, what is opened must be what it
names. Padding hides the length but for its bucket; the content key is new for each dispatch.
"""

from __future__ import annotations

from collections.abc import Mapping

from audit.record.dispatch import (
    Dispatch,
    Recipient,
    ciphertext_digest,
    recipient_of,
    wrap_digest,
)
from audit.record.statement import statement_digest
from exchange.records.seal_order import SealedParts
from keys.dsse import SignedPayload, sign
from keys.errors import RefusedError
from keys.identity import AgencyId, short
from keys.seal import (
    WRAP_BYTES,
    WindowOpener,
    open_body,
    open_wrapped,
    unpad,
)
from keys.signer import Signer
from keys.values import hot_value


@hot_value(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A statement sealed for its recipients; the content key stays with the sender's node."""

    dispatch: SignedPayload
    body: bytes
    wraps: Mapping[AgencyId, bytes]  # 1,168 bytes each; every recipient is sent its own only
    content_key: bytes  # 32 bytes, to be wrapped under the storage key


def sign_sealed(parts: SealedParts, content_key: bytes, signer: Signer) -> Sealed:
    """Sign the dispatch of a sealed statement with an operations key of its sender."""
    signed = sign(parts.dispatch.encode(), ("dispatch", signer))
    return Sealed(dispatch=signed, body=parts.body, wraps=dict(parts.wraps), content_key=content_key)


def check_envelope(dispatch: Dispatch, agency: AgencyId, wrapped: bytes, body: bytes) -> Recipient:
    """Check that a wrap and a body are the very bytes that the dispatch names for one recipient.

    Raises:
        RefusedError: NOT_FOR_US, or DAMAGED for bytes of another size or digest.
    """
    recipient = recipient_of(dispatch, agency)
    name = short(dispatch.statement_digest)
    if len(body) != dispatch.ciphertext_size or ciphertext_digest(body) != dispatch.ciphertext_digest:
        raise RefusedError("DAMAGED", f"envelope {name}: body of {len(body)} bytes is not the one that was sent")
    if len(wrapped) != WRAP_BYTES or wrap_digest(wrapped) != recipient.wrap_digest:
        raise RefusedError("DAMAGED", f"envelope {name}: wrap of {len(wrapped)} bytes is not the one that was sent")
    return recipient


def open_sealed(dispatch: Dispatch, body: bytes, content_key: bytes) -> SignedPayload:
    """Open a body whose content key is known: from the storage key, at reading.

    What comes back is the statement that the dispatch names; its signatures are still to be verified.

    Raises:
        RefusedError: UNOPENABLE for the body or its padding, STATEMENT_DIFFERS for another statement than the one
            named, MALFORMED for what is no statement.
    """
    padded = open_body(content_key, dispatch.federation_id, dispatch.statement_digest, body)
    return _named(dispatch, unpad(padded))


def open_statement(
    dispatch: Dispatch, wrapped: bytes, body: bytes, key: WindowOpener, federation_id: bytes
) -> tuple[SignedPayload, bytes]:
    """Open an envelope that ``check_envelope`` has passed.

    Returns:
        The statement that the dispatch names, its signatures still to be verified; and the content key.

    Raises:
        RefusedError: WRONG_FEDERATION; UNOPENABLE for wrap, body and padding alike, after the same work, so that a
            refusal is no oracle (row 12); STATEMENT_DIFFERS; MALFORMED.
    """
    if dispatch.federation_id != federation_id:
        raise RefusedError("WRONG_FEDERATION", f"dispatch of {short(dispatch.federation_id)}")
    content_key, signed = open_wrapped(key, wrapped, body, federation_id, dispatch.statement_digest)
    return _named(dispatch, signed), content_key


def _named(dispatch: Dispatch, encoded: bytes) -> SignedPayload:
    signed = SignedPayload.decode(encoded)
    if statement_digest(signed.payload) != dispatch.statement_digest:
        raise RefusedError("STATEMENT_DIFFERS", f"envelope {short(dispatch.statement_digest)}: another is inside")
    return signed
