"""The case that an evidence file makes: its records and entries, each verified and tied to the others.

Every function here takes what was proved before it and adds one thing, or refuses. Their order is the order of the
steps in ``audit.evidence.verify``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from audit.entry.body import Body, parse_body
from audit.entry.entry import Entry, Kind, leaf_hash, parse_entry
from audit.entry.grammar import ANSWERS
from audit.evidence import file
from audit.evidence.trust import Trust
from audit.note.checkpoint import Checkpoint, parse_note
from audit.note.epochs import epoch_of_origin
from audit.note.policy import Witnessed
from audit.note.tlogproof import parse_proof, verify_proof
from audit.record.dispatch import Dispatch, SignerRole, check_recipients, check_signers, dispatch_digest, parse_dispatch
from audit.record.lane import Delivery, parse_delivery, parse_lane_head
from audit.record.settled import check_dispatch_built, check_signatures_built, check_statement_built
from audit.record.statement import ReadRequest, Statement, opening, parse_statement, statement_digest
from keys import dsse
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.identity import AgencyId, short
from keys.manifest import Officer
from keys.roster import Member


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """An entry that is in a log of the federation."""

    member: Member  # whose log
    entry: Entry
    body: Body
    leaf: bytes  # 32 bytes
    checkpoint: Checkpoint
    note: str
    witnessed: Witnessed

    @property
    def epoch(self) -> int:
        """The epoch of the log that it stands in."""
        return epoch_of_origin(self.checkpoint.origin)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerProof:
    """One delivery and what became of it."""

    agency: str
    number: int
    delivery: Delivery
    queued: Proven | None = None  # in the sender's log; None on the recipient's side
    recorded: Proven | None = None  # RECEIPT_RECORDED in the sender's log
    receipt: Proven | None = None  # in the recipient's log


@dataclass(slots=True, kw_only=True)
class Case:
    """What was proved so far; later steps fill the later fields."""

    core: Mapping[str, bytes]
    trust: Trust
    own: Proven  # PUBLISHED or RECEIVED in the holder's log
    sender: Member
    dispatch: Dispatch | None = None  # None where it was erased
    statement: Statement | None = None
    signers: tuple[tuple[SignerRole, Officer], ...] = ()
    answers: tuple[AnswerProof, ...] = ()
    exported: Proven | None = None
    request: ReadRequest | None = None
    erased: Proven | None = None
    fields: tuple[tuple[str, bytes], ...] = ()
    lane_steps: int = field(default=-1)  # deliveries between ours and the lane head; -1: no head

    @property
    def sent(self) -> bool:
        """Return whether the holder is the sender."""
        return self.own.body.kind == Kind.PUBLISHED

    @property
    def at_ms(self) -> int:
        """When the holder's log took it in, by the holder's clock: milliseconds UTC."""
        return self.own.entry.time_us // 1000


def prove(trust: Trust, name: str, data: bytes) -> Proven:
    """Verify a proof with its entry: the log's key by its origin, the checkpoint, the path, the cosignatures.

    Raises:
        RefusedError: The message begins with the member's name.
    """
    try:
        proof = parse_proof(file.read_text(name, data))
        if proof.extra is None:
            raise RefusedError("MALFORMED", "no entry in its extra line")
        member, key = trust.log_of(parse_note(proof.note).checkpoint.origin)
        checkpoint = verify_proof(proof, proof.extra, key)
        entry = parse_entry(proof.extra)
        if entry.index != proof.index:
            raise RefusedError("RECEIPT_INVALID", f"the proof is for {proof.index}, the entry is {entry.index}")
        return Proven(
            member=member,
            entry=entry,
            body=parse_body(entry.body),
            leaf=leaf_hash(proof.extra),
            checkpoint=checkpoint,
            note=proof.note,
            witnessed=trust.policy(member.agency).judge(proof.note),
        )
    except RefusedError as error:
        raise RefusedError(error.code, f"{name}: {error}") from error


def open_case(core: Mapping[str, bytes], trust: Trust) -> Case:
    """Begin with the one entry that the file is about: PUBLISHED at its sender's, RECEIVED at a recipient's."""
    names = [name for name in (file.PUBLISHED, file.RECEIVED) if name in core]
    if len(names) != 1:
        raise RefusedError(
            "MALFORMED", f"{len(names)} of {file.PUBLISHED} and {file.RECEIVED}; exactly one was expected"
        )
    own = prove(trust, names[0], core[names[0]])
    kind = Kind.PUBLISHED if names[0] == file.PUBLISHED else Kind.RECEIVED
    check_end(trust, names[0], own)
    if own.body.kind != kind:
        raise RefusedError("MALFORMED", f"{names[0]}: entry {own.entry.index} is no {kind.name}")
    sender = own.member if kind == Kind.PUBLISHED else trust.newest.by_number(own.body.peer)
    if sender is None:
        raise RefusedError("NOT_A_MEMBER", f"{names[0]}: it names member {own.body.peer}, whom no roster here has")
    return Case(core=core, trust=trust, own=own, sender=sender)


def add_dispatch(case: Case) -> str:
    """Verify the dispatch: the one that the entry names, signed by the sender, naming this bulletin."""
    data = case.core.get(file.DISPATCH)
    if data is None:
        if file.STATEMENT in case.core:
            raise RefusedError("MALFORMED", f"{file.DISPATCH}: missing, though the statement is there")
        return f"not kept any more; the log names it by its digest {short(case.own.body.dispatch_digest)}"
    signed = SignedPayload.decode(data)
    digest = dispatch_digest(signed.payload)
    same(file.DISPATCH, "digest", digest, case.own.body.dispatch_digest)
    (key,) = dsse.verify(
        signed, "dispatch", lambda each: case.trust.operations_key(case.sender.agency, each, case.at_ms)
    )
    dispatch = parse_dispatch(signed.payload)
    check_dispatch_built(dispatch)
    of_federation(file.DISPATCH, dispatch.federation_id, case.trust)
    same(file.DISPATCH, "sender", dispatch.sender, case.sender.agency)
    same(file.DISPATCH, "bulletin", dispatch.bulletin_id, case.own.body.bulletin_id)
    if case.sent:
        same(file.DISPATCH, "statement", dispatch.statement_digest, case.own.body.statement_digest)
    elif case.own.member.agency not in dispatch.served:
        raise RefusedError("NOT_FOR_US", f"{file.DISPATCH}: {case.own.member.agency} is not among its recipients")
    case.dispatch = dispatch
    return f"signed by {case.sender.agency} with operations key {short(key.key_id)}"


def add_statement(case: Case) -> str:
    """Verify the statement, if it is shown: the one that was dispatched, signed by exactly who the dispatch says."""
    data = case.core.get(file.STATEMENT)
    if data is None or case.dispatch is None:
        return "not shown in this file; the dispatch names it by its digest"
    signed = SignedPayload.decode(data)
    dispatch = case.dispatch
    same(file.STATEMENT, "digest", statement_digest(signed.payload), dispatch.statement_digest)
    check_signatures_built(signed)
    check_signers(signed, dispatch)
    signers = dispatch.signers
    people = {each.key_id: case.trust.person(dispatch.sender, each.key_id, case.at_ms) for each in signers}
    roles = ("statement", "release")[: len(signers)]
    dsse.verify_roles(signed, roles, lambda key_id: people[key_id].public if key_id in people else None)
    statement = parse_statement(signed.payload)
    check_statement_built(statement)
    of_federation(file.STATEMENT, statement.federation_id, case.trust)
    check_recipients(statement, dispatch)
    case.statement = statement
    case.signers = tuple((each.role, people[each.key_id]) for each in signers)
    return "signed by " + " and ".join(f"{dispatch.sender}/{person.id}" for _, person in case.signers)


def add_deliveries(case: Case) -> str:
    """Verify each delivery: in a lane of the sender's, of this dispatch, and the one that the log names."""
    found = []
    for (agency, number), name in sorted(file.numbered(case.core, file.DELIVERIES).items()):
        delivery = parse_delivery(case.core[name])
        same(name, "dispatch", delivery.dispatch_digest, case.own.body.dispatch_digest)
        of_federation(name, delivery.lane.federation_id, case.trust)
        same(name, "sender", delivery.lane.sender, case.sender.agency)
        same(name, "recipient", delivery.lane.recipient, agency)
        if case.dispatch is not None and agency not in case.dispatch.served:
            raise RefusedError("NOT_FOR_US", f"{name}: {agency} is not among the dispatch's recipients")
        found.append(AnswerProof(agency=agency, number=number, delivery=delivery))
    if not case.sent:
        if [each.agency for each in found] != [case.own.member.agency]:
            raise RefusedError("MALFORMED", f"one delivery to {case.own.member.agency} was expected in deliveries/")
        same("deliveries/", "digest", found[0].delivery.digest, case.own.body.delivery_digest)
    case.answers = tuple(found)
    return f"{len(found)} of this dispatch, numbered in {case.sender.agency}'s lanes" + _add_lane_head(case)


def _add_lane_head(case: Case) -> str:
    """Verify the sender's signed lane head, and the deliveries that chain ours to it."""
    if file.LANE_HEAD not in case.core:
        if file.LANE_DELIVERIES in case.core:
            raise RefusedError("MALFORMED", f"{file.LANE_HEAD}: missing, though {file.LANE_DELIVERIES} is there")
        return ""
    if case.sent or len(case.answers) != 1:
        raise RefusedError("MALFORMED", f"{file.LANE_HEAD}: it belongs to one delivery of a recipient's file")
    signed = SignedPayload.decode(case.core[file.LANE_HEAD])
    head = parse_lane_head(signed.payload)
    sender = case.sender.agency
    dsse.verify(signed, "lane-head", lambda key_id: case.trust.operations_key(sender, key_id, head.time_ms))
    last = case.answers[0].delivery
    same(file.LANE_HEAD, "lane", head.lane, last.lane)
    later = file.unpack_deliveries(case.core.get(file.LANE_DELIVERIES, b""))
    for data in later:
        step = parse_delivery(data)
        if (step.lane, step.sequence, step.previous) != (last.lane, last.sequence + 1, last.digest):
            raise RefusedError("LANE_FORK", f"{file.LANE_DELIVERIES}: number {step.sequence} does not follow on ours")
        last = step
    same(file.LANE_HEAD, "delivery", (head.sequence, head.delivery_digest), (last.sequence, last.digest))
    case.lane_steps = len(later)
    return f"; {sender}'s signed lane head covers it, {len(later)} later"


def add_log(case: Case) -> str:
    """Verify what else the holder's log says: QUEUED and RECEIPT_RECORDED of each delivery, EXPORTED, ERASED."""
    trust, own = case.trust, case.own
    queued, recorded = file.numbered(case.core, file.QUEUED), file.numbered(case.core, file.ANSWERED)
    recipients = {(each.agency, each.number) for each in case.answers}
    if (case.sent and set(queued) != recipients) or not set(recorded) <= set(queued) or (not case.sent and queued):
        raise RefusedError("MALFORMED", "proofs/: each delivery of a sender's file has its QUEUED, and no other has")
    answers = []
    for each in case.answers:
        recipient = (each.agency, each.number)
        row = own_entry(case, queued[recipient], Kind.QUEUED, own) if case.sent else None
        if row is not None:
            _about(queued[recipient], row, each, trust.member(each.agency).number)
        done = None
        if row is not None and recipient in recorded:
            done = own_entry(case, recorded[recipient], Kind.RECEIPT_RECORDED, row)
            _about(recorded[recipient], done, each, trust.member(each.agency).number)
        answers.append(
            AnswerProof(agency=each.agency, number=each.number, delivery=each.delivery, queued=row, recorded=done)
        )
    case.answers = tuple(answers)
    if file.ERASED in case.core:
        case.erased = own_entry(case, file.ERASED, Kind.ERASED, own)
    count = sum(name.startswith("proofs/") and name.endswith(".tlog-proof") for name in case.core)
    rows = [each for answer in answers for each in (answer.queued, answer.recorded) if each is not None]
    later = sorted(
        {each.checkpoint.origin for each in (*rows, case.erased) if each is not None} - {own.checkpoint.origin}
    )
    also = f", and later epochs of it, {', '.join(later)}" if later else ""
    return f"{count} entries are in the log {own.checkpoint.origin}{also}, this one at {own.entry.index}"


def add_receipts(case: Case) -> str:
    """Verify each recipient's own entry: in its log, of this delivery, made by opening it where it says RECEIVED."""
    receipts = file.numbered(case.core, file.RECEIPTS)
    if not case.sent:
        if receipts:
            raise RefusedError("MALFORMED", "receipts/: a recipient's file has its own entry instead")
        _check_opening(file.RECEIVED, case, case.own, case.answers[0].delivery)
        return f"{case.own.member.agency}'s own log says RECEIVED" + _opened(case)
    if set(receipts) != {(each.agency, each.number) for each in case.answers if each.recorded}:
        raise RefusedError("MALFORMED", "receipts/: one for each RECEIPT_RECORDED was expected")
    answers = []
    for each in case.answers:
        name = receipts.get((each.agency, each.number))
        receipt = _receipt(case, name, each) if name is not None else None
        answers.append(
            AnswerProof(
                agency=each.agency,
                number=each.number,
                delivery=each.delivery,
                queued=each.queued,
                recorded=each.recorded,
                receipt=receipt,
            )
        )
    case.answers = tuple(answers)
    missing = [each.agency for each in answers if each.receipt is None]
    told = f"{len(receipts)} in the recipients' own logs" + (_opened(case) if receipts else "")
    return told + (f"; none yet of {', '.join(missing)}" if missing else "")


def _receipt(case: Case, name: str, answer: AnswerProof) -> Proven:
    receipt = prove(case.trust, name, case.core[name])
    same(name, "log", receipt.member.agency, answer.agency)
    _about(name, receipt, answer, case.sender.number)
    if receipt.body.kind not in ANSWERS:
        raise RefusedError("RECEIPT_INVALID", f"{name}: kind {receipt.body.kind} answers no delivery")
    _check_opening(name, case, receipt, answer.delivery)
    told = answer.recorded.body if answer.recorded is not None else Body(kind=0)
    said = (told.peer_index, told.peer_leaf_hash, told.peer_size, told.peer_root)
    at = receipt.checkpoint
    same(name, "what the sender recorded", (receipt.entry.index, receipt.leaf, at.size, at.root), said)
    return receipt


def own_entry(case: Case, name: str, kind: Kind, target: Proven) -> Proven:
    """Prove an entry of the holder's log that refers to another one, in the same epoch or in a later one."""
    row = prove(case.trust, name, case.core[name])
    same(name, "log", row.member.agency, case.own.member.agency)
    check_end(case.trust, name, row)
    earlier = 0 if row.epoch == target.epoch else target.epoch
    refers = (row.body.kind, row.body.refers_to, row.body.refers_to_epoch)
    if refers != (kind, target.entry.index, earlier) or row.epoch < target.epoch:
        there = f"entry {target.entry.index} of epoch {target.epoch}"
        raise RefusedError("MALFORMED", f"{name}: entry {row.entry.index} is no {kind.name} of {there}")
    same(name, "bulletin", row.body.bulletin_id or case.own.body.bulletin_id, case.own.body.bulletin_id)
    return row


def check_end(trust: Trust, name: str, row: Proven) -> None:
    """Refuse a checkpoint from beyond the end of its epoch, where a manifest here says where that was.

    The key of an epoch that has a successor holds for its sizes alone: what it signs afterwards is a thief's.
    """
    end = trust.end_of(row.member.agency, row.checkpoint.origin)
    if end is None:
        return
    at = row.checkpoint
    if at.size > end.size or (at.size == end.size and at.root != end.root):
        found = f"it is under size {at.size}, root {short(at.root)}, of {at.origin}"
        raise RefusedError(
            "RECEIPT_INVALID", f"{name}: {found}, which ended at size {end.size}, root {short(end.root)}"
        )


def _about(name: str, row: Proven, answer: AnswerProof, peer: int) -> None:
    """Check that an entry is of this delivery, and names the right other side."""
    digests = (answer.delivery.dispatch_digest, answer.delivery.digest)
    same(name, "delivery", (row.body.dispatch_digest, row.body.delivery_digest), digests)
    same(name, "member", row.body.peer, peer)


def _check_opening(name: str, case: Case, row: Proven, delivery: Delivery) -> None:
    if bool(row.body.opening) != (row.body.kind == Kind.RECEIVED):
        raise RefusedError("RECEIPT_INVALID", f"{name}: an opening stands in RECEIVED, and nowhere else")
    if case.statement is not None and row.body.kind == Kind.RECEIVED:
        same(name, "opening", row.body.opening, opening(case.statement.salt, delivery.digest))


def _opened(case: Case) -> str:
    return "; only who opened it could make its opening" if case.statement is not None else ""


def of_federation(name: str, found: bytes, trust: Trust) -> None:
    """Refuse what is of another federation."""
    if found != trust.federation_id:
        raise RefusedError("WRONG_FEDERATION", f"{name}: of federation {short(found)}")


def same(name: str, what: str, found: object, expected: object) -> None:
    """Refuse a member that says something else than what was proved before."""
    if found != expected:
        raise RefusedError("DAMAGED", f"{name}: its {what} is {_shown(found)}, {_shown(expected)} expected")


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        return short(value) or "none"
    if isinstance(value, tuple):
        return "(" + ", ".join(_shown(each) for each in value) + ")"
    return ascii(value)[:80]


def agency_of(case: Case) -> AgencyId:
    """The agency that made the file."""
    return case.own.member.agency
