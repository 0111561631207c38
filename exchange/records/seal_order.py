"""What sealing one statement needs, and what comes of it, as values: no store, no roster, no key that outlives them.

The only key in an order is the content key, which serves this one statement; the node signs the dispatch and stores the key
itself.
"""

from __future__ import annotations

from dataclasses import field

from audit.record.dispatch import (
    Absent,
    Dispatch,
    Recipient,
    Urgency,
    check_recipients,
    ciphertext_digest,
    signers_of,
    wrap_digest,
)
from audit.record.statement import Statement, statement_digest
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.identity import AgencyId
from keys.seal import pad, seal_body, wrap, wrap_info
from keys.signer import PublicKey
from keys.values import hot_value


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


@hot_value(frozen=True, slots=True, kw_only=True)
class SealedParts:
    """A sealed statement before its dispatch is signed."""

    dispatch: Dispatch
    body: bytes
    wraps: tuple[tuple[AgencyId, bytes], ...]  # 1,168 bytes each, ascending by agency


def seal(order: SealOrder, statement: Statement) -> SealedParts:
    """Seal a statement for its recipients and say so in a dispatch, which is still to be signed.

    Args:
        order: Who is served and who is not, and the statement with all its signatures, verified.
        statement: The same, parsed.

    Raises:
        RefusedError: NO_RECIPIENT if nobody is served, RECIPIENTS_DIFFER if served and absent are not exactly the
            statement's, TOO_LARGE above the largest bucket, WRONG_TYPE for a strange signature.
    """
    if not order.recipients:
        raise RefusedError("NO_RECIPIENT", "none of the recipients can be served: no key, suspended or left")
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
    check_recipients(statement, dispatch)
    return SealedParts(dispatch=dispatch, body=body, wraps=tuple(wraps))
