"""One delivery at its recipient: opened, and held against everything that was signed about it.

Cheap before expensive, attributable before decrypted. The same statement is told in the delivery, the dispatch, the
statement and the bulletin's header; each of them must agree with the others, each with its own refusal code. The
checks are numbered on from those of the message (``intake``).
"""

from __future__ import annotations

from audit.record.commitments import disclosure_root
from audit.record.dispatch import (
    Dispatch,
    check_recipients,
    check_signers,
    dispatch_digest,
    parse_dispatch,
    recipient_of,
)
from audit.record.lane import LaneHead, LaneId
from audit.record.statement import Statement, parse_statement
from exchange.acts.authorship import check_author_named, check_role, check_signature, find_author
from exchange.acts.node_view import NodeView
from exchange.acts.stored_bulletin import bulletin_id_of, check_correction, corrected_by, facts_of
from exchange.acts.unit_of_work import RandomBytes
from exchange.records.bulletin import is_understood, parse_bulletin, recipients_of
from exchange.records.lane_rules import LaneStep, check_class
from exchange.records.sealed_statement import check_envelope, open_statement
from exchange.rules import check_bulletin, refusing
from exchange.rules.complaint import RulesError
from exchange.store.store import Facts, HeldBulletin, Reads
from exchange.v1.bulletin_pb2 import Bulletin
from keys import dsse
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.identity import AgencyId, short
from keys.values import hot_value


@hot_value(frozen=True, slots=True, kw_only=True)
class Parcel:
    """One delivery with what it carries, as received."""

    delivery: bytes
    dispatch: SignedPayload
    wrap: bytes
    body: bytes


@hot_value(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A bulletin that passed every check."""

    bulletin: Bulletin
    bulletin_id: bytes
    statement: Statement
    statement_digest: bytes
    facts: Facts
    stored_key: bytes
    disclosure_root: bytes  # 32 bytes, as the sender's log has it


def read_dispatch(step: LaneStep, parcel: Parcel, head: LaneHead, view: NodeView, now_ms: int) -> Dispatch:
    """Parse a delivery's dispatch once it is known to be its maker's.

    6 it is the one that the delivery names; 7 its signature; 8 its federation and maker.

    Raises:
        RefusedError: Each of these ends the stream.
    """
    check_dispatch_digest(step, parcel)  # 6
    check_dispatch_signature(parcel.dispatch, head.lane.sender, view, now_ms)  # 7
    dispatch = parse_dispatch(parcel.dispatch.payload)
    check_dispatch_maker(dispatch, head.lane, view)  # 8
    return dispatch


def check_dispatch_digest(step: LaneStep, parcel: Parcel) -> None:
    if dispatch_digest(parcel.dispatch.payload) != step.delivery.dispatch_digest:
        raise RefusedError("DAMAGED", f"delivery {step.delivery.sequence}: another dispatch than the one it names")


def check_dispatch_signature(signed: SignedPayload, sender: AgencyId, view: NodeView, now_ms: int) -> None:
    dsse.verify(signed, "dispatch", lambda key_id: view.federation.operations_key(sender, key_id, now_ms))


def check_dispatch_maker(dispatch: Dispatch, lane: LaneId, view: NodeView) -> None:
    if dispatch.federation_id != view.federation.federation_id:
        raise RefusedError("WRONG_FEDERATION", f"dispatch of federation {short(dispatch.federation_id)}")
    if dispatch.sender != lane.sender:
        raise RefusedError("WRONG_MAKER", f"dispatch of {dispatch.sender} in a lane of {lane.sender}")


def check_parcel(
    step: LaneStep,
    parcel: Parcel,
    dispatch: Dispatch,
    view: NodeView,
    reads: Reads,
    now_ms: int,
    random_bytes: RandomBytes,
) -> Accepted | None:
    """Open one delivery and check that everything it says agrees.

    9 class; 10 transport not expired; 11 we are a recipient; 12 no other statement has its id; 13 wrap and body are those
    named; then it is opened: 14 federation; 15 signers; 16 roster; 17 originator; 18 bulletin id; 19 urgency;
    20 author; 21 role and ceiling; 22 the author's signature; 23 the statement's recipients are the addressees;
    24 and those of the dispatch; 25 no attachments; 26 the bulletin's rules; 27 a correction's old values stand in its
    target.

    Returns:
        What is accepted; None where this statement is held already.

    Raises:
        RefusedError: With the public code.
    """
    check_class(step.delivery.lane, dispatch.urgency)  # 9
    check_not_expired(dispatch, now_ms)  # 10
    check_recipient(dispatch, view)  # 11
    held = reads.find(dispatch.sender, dispatch.bulletin_id)
    check_unique(held, dispatch)  # 12
    if held is not None:
        return None
    check_envelope(dispatch, view.agency, parcel.wrap, parcel.body)  # 13
    signed, content_key = _open(dispatch, parcel, view)
    statement = parse_statement(signed.payload)
    check_federation(statement, view)  # 14
    check_signers(signed, dispatch)  # 15
    check_roster(statement, step, view, now_ms)  # 16
    catalogue = view.catalogue(statement.roster_digest)
    newer = catalogue.schema_minor > 0
    bulletin = parse_bulletin(statement.bulletin, newer_minor=newer)
    understood = not newer or is_understood(statement.bulletin)
    check_originator(bulletin, dispatch)  # 17
    check_bulletin_id(bulletin, dispatch)  # 18
    check_urgency(bulletin, dispatch)  # 19
    author = find_author(signed, dispatch.sender, view, now_ms)
    check_author_named(bulletin, author)  # 20
    check_role(author, bulletin)  # 21
    check_signature(signed, author)  # 22
    check_addressees(statement, bulletin, dispatch)  # 23
    check_recipients(statement, dispatch)  # 24
    check_attachments(bulletin)  # 25
    check_rules(bulletin, view, statement)  # 26
    check_old_values(bulletin, dispatch, view, reads)  # 27
    return Accepted(
        bulletin=bulletin,
        bulletin_id=dispatch.bulletin_id,
        statement=statement,
        statement_digest=dispatch.statement_digest,
        facts=facts_of(bulletin, catalogue, now_ms, understood=understood),
        stored_key=view.storage.store(content_key, dispatch.statement_digest, random_bytes),
        disclosure_root=disclosure_root(statement.salt, statement.bulletin),
    )


def check_not_expired(dispatch: Dispatch, now_ms: int) -> None:
    if dispatch.expires_ms <= now_ms:
        raise RefusedError("DISPATCH_EXPIRED", f"the sender's limit for transport was {dispatch.expires_ms}")


def check_recipient(dispatch: Dispatch, view: NodeView) -> None:
    recipient_of(dispatch, view.agency)


def check_unique(held: HeldBulletin | None, dispatch: Dispatch) -> None:
    if held is not None and held.statement_digest != dispatch.statement_digest:
        raise RefusedError(
            "EQUIVOCATION",
            f"bulletin {short(dispatch.bulletin_id)} of {dispatch.sender} is statement {short(held.statement_digest)}"
            f" here, this is {short(dispatch.statement_digest)}",
        )


def _open(dispatch: Dispatch, parcel: Parcel, view: NodeView) -> tuple[SignedPayload, bytes]:
    key_id = recipient_of(dispatch, view.agency).key_id
    key = view.encryption.get(key_id)
    if key is None:
        raise RefusedError("KEY_GONE", f"sealed to key {short(key_id)}, which is not here any more")
    return open_statement(dispatch, parcel.wrap, parcel.body, key, dispatch.federation_id)


def check_federation(statement: Statement, view: NodeView) -> None:
    if statement.federation_id != view.federation.federation_id:
        raise RefusedError("WRONG_FEDERATION", f"statement of federation {short(statement.federation_id)}")


def check_roster(statement: Statement, step: LaneStep, view: NodeView, now_ms: int) -> None:
    view.check_accepted(statement.roster_digest, step.delivery.time_ms, now_ms)


def check_originator(bulletin: Bulletin, dispatch: Dispatch) -> None:
    if bulletin.header.originator != dispatch.sender:
        raise RefusedError("SENDER_DIFFERS", f"originator {bulletin.header.originator}, sent by {dispatch.sender}")


def check_bulletin_id(bulletin: Bulletin, dispatch: Dispatch) -> None:
    if bulletin_id_of(bulletin) != dispatch.bulletin_id:
        raise RefusedError("BULLETIN_ID_DIFFERS", f"dispatch says {short(dispatch.bulletin_id)}, the bulletin another")


def check_urgency(bulletin: Bulletin, dispatch: Dispatch) -> None:
    if bulletin.header.urgency != int(dispatch.urgency):
        raise RefusedError(
            "URGENCY_DIFFERS", f"dispatch says {int(dispatch.urgency)}, the bulletin {bulletin.header.urgency}"
        )


def check_addressees(statement: Statement, bulletin: Bulletin, dispatch: Dispatch) -> None:
    expected = recipients_of(bulletin.header.addressees, dispatch.sender)
    if statement.recipients != expected:
        raise RefusedError("RECIPIENTS_DIFFER", "the statement's recipients are not the bulletin's addressees")


def check_attachments(bulletin: Bulletin) -> None:
    if bulletin.attachments:
        raise RefusedError("ATTACHMENTS_DIFFER", f"{len(bulletin.attachments)} attachments, the dispatch has none")


def check_rules(bulletin: Bulletin, view: NodeView, statement: Statement) -> None:
    catalogue = view.catalogue(statement.roster_digest)
    complaints = refusing(check_bulletin(bulletin, catalogue), newer_minor=catalogue.schema_minor > 0)
    if complaints:
        raise RulesError(complaints)


def check_old_values(bulletin: Bulletin, dispatch: Dispatch, view: NodeView, reads: Reads) -> None:
    target = corrected_by(bulletin, dispatch.sender, reads, view.storage)
    if target is not None:
        check_correction(bulletin, target)
