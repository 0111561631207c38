"""One delivery at its recipient: opened, and compared with everything that was signed about it.

Cheap before expensive, attributable before decrypted. The same statement is told in the delivery, the dispatch, the
statement and the bulletin's header; each of them must agree with the others, each with its own refusal code. The
checks are numbered on from those of the message (``intake``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

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
from audit.record.settled import check_dispatch_built, check_signatures_built, check_statement_built
from audit.record.statement import Statement, parse_statement
from exchange.acts.authorship import Author, check_author_named, check_role, check_signature, known_author
from exchange.acts.judgement import DeliveryCase, Judgement, KnownRoster, Parcel, SenderKeys, Terms, window_key
from exchange.acts.node_view import NodeView
from exchange.acts.stored_bulletin import (
    ReturnedContent,
    bulletin_id_of,
    check_correction,
    check_returned,
    corrected_by,
    facts_of,
    is_lost,
    reply_due,
)
from exchange.acts.unit_of_work import RandomBytes
from exchange.records.bulletin import is_understood, parse_bulletin, recipients_of
from exchange.records.lane_rules import LaneStep, check_class
from exchange.records.sealed_statement import check_envelope, open_statement
from exchange.rules import check_bulletin, refusing
from exchange.rules.catalogue import Catalogue
from exchange.rules.complaint import RulesError
from exchange.store.rows import Facts
from exchange.store.storage_key import StorageKeys
from exchange.store.store import Reads
from exchange.v1.bulletin_pb2 import Bulletin
from keys import dsse
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.federation import GRACE_MS
from keys.identity import AgencyId, short
from keys.seal import WindowOpener
from keys.values import hot_value


@hot_value(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A bulletin that passed every check."""

    judgement: Judgement
    bulletin_id: bytes
    statement_digest: bytes
    facts: Facts
    stored_key: bytes


def read_dispatch(step: LaneStep, parcel: Parcel, head: LaneHead, view: NodeView, keys: SenderKeys) -> Dispatch:
    """Parse a delivery's dispatch once it is known to be its maker's.

    6 it is the one that the delivery names; 7 its signature; 8 its federation and maker.

    Raises:
        RefusedError: Each of these ends the stream.
    """
    check_dispatch_digest(step, parcel)  # 6
    check_dispatch_signature(parcel.dispatch, keys)  # 7
    dispatch = parse_dispatch(parcel.dispatch.payload)
    check_dispatch_maker(dispatch, head.lane, view)  # 8
    return dispatch


def check_dispatch_digest(step: LaneStep, parcel: Parcel) -> None:
    if dispatch_digest(parcel.dispatch.payload) != step.delivery.dispatch_digest:
        raise RefusedError("DAMAGED", f"delivery {step.delivery.sequence}: another dispatch than the one it names")


def check_dispatch_signature(signed: SignedPayload, keys: SenderKeys) -> None:
    dsse.verify(signed, "dispatch", keys.operations)


def check_dispatch_maker(dispatch: Dispatch, lane: LaneId, view: NodeView) -> None:
    if dispatch.federation_id != view.federation.federation_id:
        raise RefusedError("WRONG_FEDERATION", f"dispatch of federation {short(dispatch.federation_id)}")
    if dispatch.sender != lane.sender:
        raise RefusedError("WRONG_MAKER", f"dispatch of {dispatch.sender} in a lane of {lane.sender}")


@dataclass(slots=True)
class _Opening:
    """A delivery on its way through the checks: each leaves here what those behind it need."""

    case: DeliveryCase
    key: WindowOpener | None  # of the window that it was sealed for; None where that is gone
    catalogues: Mapping[bytes, Catalogue]
    going: bool = True  # False once the outcome is known
    outcome: Judgement | RefusedError | None = None
    signed: SignedPayload = field(init=False)
    content_key: bytes = field(init=False)
    statement: Statement = field(init=False)
    catalogue: Catalogue = field(init=False)
    bulletin: Bulletin = field(init=False)
    author: Author = field(init=False)


def judge(case: DeliveryCase, catalogues: Mapping[bytes, Catalogue], key: WindowOpener | None) -> Judgement | None:
    """Open one delivery and check that everything it says agrees, from values alone.

    9 nothing that no program makes so far, and class; 10 transport not expired; 11 we are a recipient; 12 no other
    statement has its id; 13 wrap and body are those named; then it is opened: 14 as 9, and federation; 15
    signers; 16 roster; 17 originator; 18 bulletin id; 19 urgency; 20 author; 21 role and ceiling; 22 the author's
    signature; 23 the statement's recipients are the addressees; 24 and those of the dispatch; 25 no attachments; 26 the
    bulletin's rules. A function of its arguments: no store, no clock, no dice; of
    all keys it is given only the one that opens.

    Args:
        case: Its dispatch is verified (6 to 8).
        catalogues: By digest; each known roster's.
        key: Of the window that it was sealed for; None where that is gone.

    Returns:
        What passed; None where this statement is stored already.

    Raises:
        RefusedError: With the public code.
    """
    outcome = judge_all([(case, key)], catalogues)[0]
    if isinstance(outcome, RefusedError):
        raise outcome
    return outcome


def judge_all(
    cases: Sequence[tuple[DeliveryCase, WindowOpener | None]],
    catalogues: Mapping[bytes, Catalogue],
    on_turn: Sequence[Callable[[], object]] = (),
) -> list[Judgement | RefusedError | None]:
    """Judge several deliveries as ``judge`` does each, check by check, which costs a processor a fifth less.

    Args:
        cases: Each with its key.
        catalogues: By digest; each known roster's.
        on_turn: Of each case, called before each step on it; none if nobody wants to know.
    """
    openings = [_Opening(case, key, catalogues) for case, key in cases]
    for step in _STEPS:
        for index, opening in enumerate(openings):
            if not opening.going:
                continue
            if on_turn:
                on_turn[index]()
            try:
                step(opening)
            except RefusedError as refusal:
                opening.outcome, opening.going = refusal, False
    return [opening.outcome for opening in openings]


def _open(opening: _Opening) -> None:
    case, dispatch, recipient = opening.case, opening.case.dispatch, opening.case.terms.recipient
    check_dispatch_built(dispatch)  # 9
    check_class(case.delivery.lane, dispatch.urgency)  # 9
    check_not_expired(dispatch, case.terms.now_ms)  # 10
    check_recipient(dispatch, recipient)  # 11
    check_unique(dispatch, case.stored_digest)  # 12
    if case.stored_digest:
        opening.going = False
        return
    check_envelope(dispatch, recipient, case.wrap, case.body)  # 13
    if opening.key is None:
        key_id = recipient_of(dispatch, recipient).key_id
        raise RefusedError("KEY_GONE", f"sealed to key {short(key_id)}, which is not here any more")
    federation_id = dispatch.federation_id
    opening.signed, opening.content_key = open_statement(dispatch, case.wrap, case.body, opening.key, federation_id)


def _read(opening: _Opening) -> None:
    case, dispatch = opening.case, opening.case.dispatch
    check_signatures_built(opening.signed)  # 14
    statement = opening.statement = parse_statement(opening.signed.payload)
    check_statement_built(statement)  # 14
    check_federation(statement, case.terms)  # 14
    check_signers(opening.signed, dispatch)  # 15
    check_roster(statement, case)  # 16
    opening.catalogue = catalogue_of(statement, case.terms, opening.catalogues)
    newer = opening.catalogue.schema_minor > 0
    bulletin = opening.bulletin = parse_bulletin(statement.bulletin, newer_minor=newer)
    check_originator(bulletin, dispatch)  # 17
    check_bulletin_id(bulletin, dispatch)  # 18
    check_urgency(bulletin, dispatch)  # 19
    author = opening.author = known_author(opening.signed, case.author, case.no_author)
    check_author_named(bulletin, author)  # 20
    check_role(author, bulletin)  # 21


def _verify(opening: _Opening) -> None:
    check_signature(opening.signed, opening.author)  # 22


def _judge_bulletin(opening: _Opening) -> None:
    check_addressees(opening.statement, opening.bulletin, opening.case.dispatch)  # 23
    check_recipients(opening.statement, opening.case.dispatch)  # 24
    check_attachments(opening.bulletin)  # 25
    check_rules(opening.bulletin, opening.catalogue)  # 26


def _conclude(opening: _Opening) -> None:
    statement, bulletin, catalogue = opening.statement, opening.bulletin, opening.catalogue
    opening.outcome = Judgement(
        statement=statement,
        bulletin=bulletin,
        content_key=opening.content_key,
        disclosure_root=disclosure_root(statement.salt, statement.bulletin),
        reply_due_ms=reply_due(bulletin, catalogue, opening.case.terms.now_ms),
        not_understood=catalogue.schema_minor > 0 and not is_understood(statement.bulletin),
    )


# As few as tell apart what runs long: the marker of what is looked at follows each.
_STEPS: tuple[Callable[[_Opening], None], ...] = (_open, _read, _verify, _judge_bulletin, _conclude)


def accept(
    judgement: Judgement, dispatch: Dispatch, storage: StorageKeys, reads: Reads, random_bytes: RandomBytes
) -> Accepted:
    """Check what only the store can tell, and put the content key under the storage key.

    27 a correction's old values stand in its target.

    Raises:
        RefusedError: TARGET_DIFFERS.
    """
    check_old_values(judgement.bulletin, dispatch, storage, reads)  # 27
    return Accepted(
        judgement=judgement,
        bulletin_id=dispatch.bulletin_id,
        statement_digest=dispatch.statement_digest,
        facts=facts_of(judgement.bulletin, judgement.reply_due_ms, understood=not judgement.not_understood),
        stored_key=storage.store(judgement.content_key, dispatch.statement_digest, random_bytes),
    )


def returned(
    case: Parcel, dispatch: Dispatch, view: NodeView, reads: Reads, random_bytes: RandomBytes
) -> ReturnedContent | None:
    """Return what a duplicate brings back of a bulletin whose content we had lost; None where it brings nothing.

    Never of what was erased, or whose day has passed.
    """
    stored = reads.find(dispatch.sender, dispatch.bulletin_id)
    if stored is None or not is_lost(stored, reads.content(stored.entry_index)):
        return None
    key = window_key(dispatch, view)
    try:
        if key is None:
            return None
        check_envelope(dispatch, view.agency, case.wrap, case.body)
        _, content_key = open_statement(dispatch, case.wrap, case.body, key, dispatch.federation_id)
        facts, content = check_returned(stored, (case.body, case.wrap), content_key, view, reads)
    except RefusedError:
        return None  # a duplicate all the same: what it is was judged before
    stored_key = view.storage.store(content_key, stored.statement_digest, random_bytes)
    return ReturnedContent(stored=stored, facts=facts, content=replace(content, stored_key=stored_key))


def check_not_expired(dispatch: Dispatch, now_ms: int) -> None:
    if dispatch.expires_ms <= now_ms:
        raise RefusedError("DISPATCH_EXPIRED", f"the sender's limit for transport was {dispatch.expires_ms}")


def check_recipient(dispatch: Dispatch, recipient: AgencyId) -> None:
    recipient_of(dispatch, recipient)


def check_unique(dispatch: Dispatch, stored_digest: bytes) -> None:
    if stored_digest and stored_digest != dispatch.statement_digest:
        raise RefusedError(
            "EQUIVOCATION",
            f"bulletin {short(dispatch.bulletin_id)} of {dispatch.sender} is statement {short(stored_digest)}"
            f" here, this is {short(dispatch.statement_digest)}",
        )


def check_federation(statement: Statement, terms: Terms) -> None:
    if statement.federation_id != terms.federation_id:
        raise RefusedError("WRONG_FEDERATION", f"statement of federation {short(statement.federation_id)}")


def check_roster(statement: Statement, case: DeliveryCase) -> None:
    """Refuse a statement under a roster that is unknown, or was replaced too long before its delivery."""
    roster = roster_of(statement, case.terms)
    if case.terms.traffic is not None:
        raise RefusedError(*case.terms.traffic)
    if roster.replaced_ms and roster.replaced_ms + GRACE_MS < case.delivery.time_ms:
        raise RefusedError("STALE_ROSTER", f"roster {short(roster.digest)} was replaced over 30 days before")


def roster_of(statement: Statement, terms: Terms) -> KnownRoster:
    """Find the roster that a statement names; RefusedError ROSTER_UNKNOWN."""
    for each in terms.rosters:
        if each.digest == statement.roster_digest:
            return each
    raise RefusedError("ROSTER_UNKNOWN", f"roster {short(statement.roster_digest)} is not known here")


def catalogue_of(statement: Statement, terms: Terms, catalogues: Mapping[bytes, Catalogue]) -> Catalogue:
    """Return the catalogue of the roster that a statement names; RefusedError ROSTER_UNKNOWN."""
    found = catalogues.get(roster_of(statement, terms).catalogue_digest)
    if found is None:
        raise RefusedError("ROSTER_UNKNOWN", f"the catalogue of roster {short(statement.roster_digest)} is not here")
    return found


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


def check_rules(bulletin: Bulletin, catalogue: Catalogue) -> None:
    complaints = refusing(check_bulletin(bulletin, catalogue), newer_minor=catalogue.schema_minor > 0)
    if complaints:
        raise RulesError(complaints)


def check_old_values(bulletin: Bulletin, dispatch: Dispatch, storage: StorageKeys, reads: Reads) -> None:
    target = corrected_by(bulletin, dispatch.sender, reads, storage)
    if target is not None:
        check_correction(bulletin, target)
