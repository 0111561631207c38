"""What the proofs of an evidence file say, in words for somebody who is no engineer.

Each sentence says whose word it is: what a log says by its own clock, what others vouch for, what was only claimed.
Whatever a stranger wrote passes through ``safe_text`` here, so that templates hold nothing else.
"""

from dataclasses import dataclass
from uuid import UUID

from audit.entry.entry import Kind, Outcome
from audit.entry.names import instant
from audit.evidence import file
from audit.evidence.case import AnswerProof, Case, Proven
from audit.evidence.steps import Examination
from audit.record.dispatch import AbsentReason, SignerRole
from audit.verify.verdict import Step
from keys.text import safe_text
from keys.words import words

_ROLES = {
    SignerRole.AUTHOR: "author",
    SignerRole.RELEASER: "second person, who released it",
    SignerRole.JOINT: "of another agency, jointly",
}
_ABSENT = {
    AbsentReason.NO_KEY: "it had no valid key",
    AbsentReason.SUSPENDED: "it was suspended",
    AbsentReason.LEFT: "it had left",
    AbsentReason.SERVED_BEFORE: "it was served before",
    AbsentReason.NOT_ENTITLED: "it is not entitled to it",
    AbsentReason.OTHER_PART: "another part of the dispatch serves it",
}
TITLES = {
    "roster": "The keys are those of the federation",
    "dispatch": "The sending agency signed for it",
    "statement": "Its author signed the text",
    "deliveries": "The deliveries are of this bulletin",
    "log": "It stands in the agency's log",
    "witnesses": "Other agencies vouch for that log",
    "receipts": "The recipients' own logs answer",
    "time": "When it happened",
    "export": "Taking the content out was logged",
    "text": "The text shown is the text signed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a table: what, and the words beside it."""

    head: str
    cells: tuple[str, ...] = ()
    mark: str = "good"  # of a check: good, open (not proved yet), closed (there is nothing to prove here)


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Everything that the report says."""

    bulletin_id: str
    holder: str
    summary: tuple[str, ...]
    people: tuple[Row, ...]
    recipients: tuple[Row, ...]
    times: tuple[Row, ...]
    checks: tuple[Row, ...]
    text: str | None
    fields: tuple[str, ...]  # shown while the rest stays shut
    purpose: str
    roster: str
    roster_words: str
    digests: tuple[Row, ...]
    limits: tuple[str, ...]


def tell(found: Examination) -> Story:
    """Return what an examination proved; it was not refuted."""
    case = found.case
    if case is None or found.refuted is not None:
        raise ValueError("there is nothing proved to tell of")
    return Story(
        bulletin_id=str(UUID(bytes=case.own.body.bulletin_id)),
        holder=case.own.member.agency,
        summary=tuple(_summary(case)),
        people=tuple(_people(case)),
        recipients=tuple(_recipients(case)),
        times=tuple(_times(case)),
        checks=tuple(
            Row(head=TITLES[each.name], cells=(_capital(safe_text(each.detail, None)),), mark=_mark(case, each))
            for each in found.steps
            if each.name in TITLES and each.name not in ("roster", "text")
        ),
        text=_text(case),
        fields=tuple(name for name, _ in case.fields),
        purpose=safe_text(file.read_text(file.PURPOSE, case.core[file.PURPOSE]), None, lines=True),
        roster=f"roster {case.trust.newest.version}, SHA-256 digest {case.trust.digests[-1].hex()}",
        roster_words=" ".join(words(case.trust.digests[-1])),
        digests=tuple(_digests(case)),
        limits=tuple(_limits(case)),
    )


def when(time_us: int) -> str:
    """Write an instant for people, to the second."""
    return instant(time_us).replace("T", " ").partition(".")[0] + " UTC"


def _summary(case: Case) -> list[str]:
    own, sender = case.own, case.sender.agency
    to = ", ".join(case.dispatch.served) if case.dispatch else ", ".join(a.agency for a in case.answers)
    verb = "sealed a bulletin and sent it to" if case.sent else "sent a sealed bulletin to"
    told = [f"{sender} {verb} {to or 'others'}. {own.member.agency}'s log has it at {when(own.entry.time_us)}."]
    if case.statement is not None:
        told.append(
            "It was signed by " + " and ".join(f"{p.id} of {sender}, {_ROLES[r]}" for r, p in case.signers) + "."
        )
    if case.sent:
        opened = [each.agency for each in case.answers if each.receipt and each.receipt.body.kind == Kind.RECEIVED]
        if opened:
            told.append(f"The own logs of {', '.join(opened)} say that their nodes received and opened it.")
        others = [_state(each) for each in case.answers if each.agency not in opened]
        told += others
    else:
        told.append(f"{own.member.agency}'s node received it, opened it, and entered that in its own log.")
    if own.witnessed.reached and own.witnessed.median_s is not None:
        told.append(
            f"{len(own.witnessed.names)} other parties had put their own signatures under that log"
            f" by {when(own.witnessed.median_s * 1_000_000)}."
        )
    else:
        told.append("Too few other parties have signed that log yet, so its time rests on the agency's own word.")
    if case.erased is not None:
        told.append(f"The bulletin's content was erased; that is logged at {when(case.erased.entry.time_us)}.")
    return told


def _people(case: Case) -> list[Row]:
    rows = [
        Row(head="Sending agency", cells=(case.sender.agency, "its key signed the dispatch, the list of recipients"))
    ]
    if case.dispatch is None:
        rows = [Row(head="Sending agency", cells=(case.sender.agency, "as the log says"))]
    for role, person in case.signers:
        cells = (f"{person.id} of {case.sender.agency}", f"{_ROLES[role]}; key {person.public.key_id[:4].hex()}")
        rows.append(Row(head="Signed by", cells=cells))
    for absent in case.dispatch.absent if case.dispatch else ():
        rows.append(Row(head="Not served", cells=(absent.agency, _ABSENT[absent.reason])))
    if case.dispatch is not None:
        rows.append(Row(head="Urgency", cells=(case.dispatch.urgency.name.lower(), "as the dispatch says")))
    rows.append(Row(head="This file", cells=(f"made by {case.own.member.agency}", _maker(case))))
    return rows


def _maker(case: Case) -> str:
    if case.exported is None or case.request is None:
        return "without the content"
    at = when(case.exported.entry.time_us)
    return f"content taken out by {case.request.officer}, logged at {at} as entry {case.exported.entry.index}"


def _recipients(case: Case) -> list[Row]:
    rows = []
    for each in case.answers:
        answer = each.receipt if case.sent else case.own
        if answer is None:
            rows.append(Row(head=each.agency, cells=(_state(each), "", "")))
            continue
        where = f"entry {answer.entry.index} of {answer.checkpoint.origin}"
        state = _state(each) if case.sent else "Received and opened."
        opened = case.statement is not None and answer.body.kind == Kind.RECEIVED
        proof = "yes: the entry holds a value that only somebody who has read the text can compute" if opened else ""
        if answer.body.kind == Kind.RECEIVED and not opened:
            proof = "the log says so; the proof of it needs the content, which is not in this file"
        rows.append(Row(head=each.agency, cells=(state, f"{when(answer.entry.time_us)}, {where}", proof)))
    return rows


def _state(each: AnswerProof) -> str:
    receipt = each.receipt
    if receipt is None:
        return f"No answer of {each.agency} stands in this file."
    if receipt.body.kind == Kind.RECEIVED:
        return "Received and opened."
    if receipt.body.kind == Kind.REFUSED:
        return f"{each.agency} refused it: {_reason(receipt)}."
    if receipt.body.kind == Kind.DUPLICATE:
        return f"{each.agency} had it already."
    return f"{each.agency} was told that it was withdrawn before it left."


def _reason(receipt: Proven) -> str:
    value = receipt.body.outcome
    return Outcome(value).name if value in Outcome._value2member_map_ else f"reason {value}"


def _times(case: Case) -> list[Row]:
    """What happened, in order, and whose word the time is."""
    own, agency = case.own, case.own.member.agency
    rows: list[tuple[int, Row]] = []

    def add(time_us: int, what: str, word: str) -> None:
        rows.append((time_us, Row(head=when(time_us), cells=(what, word))))

    clock = f"{agency}'s clock"
    add(own.entry.time_us, "Published" if case.sent else "Received and opened", clock)
    for each in case.answers:
        if each.receipt is not None:
            name = each.receipt.member.agency
            add(each.receipt.entry.time_us, f"Answered by {name}", f"{name}'s clock")
        if each.recorded is not None:
            add(each.recorded.entry.time_us, f"{each.agency}'s receipt checked and recorded", clock)
    if case.erased is not None:
        add(case.erased.entry.time_us, "Content erased", clock)
    if case.exported is not None:
        add(case.exported.entry.time_us, "Content taken out for this file", clock)
    if own.witnessed.median_s is not None:
        what = "All of it up to the log's entry " + str(own.checkpoint.size - 1) + " existed by now"
        add(own.witnessed.median_s * 1_000_000, what, f"middle of {len(own.witnessed.times)} witnesses' clocks")
    before: list[Row] = []
    head = case.statement.log_head if case.statement is not None else None
    if head is not None:
        sure = "proved: the log that he had seen is part of this one" if file.LOG_HEAD in case.core else "as he signed"
        before.append(
            Row(
                head="Not before",
                cells=(f"The author had seen {head.origin} with {head.size} entries when signing", sure),
            )
        )
    return before + [row for _, row in sorted(rows, key=lambda each: each[0])]


def _text(case: Case) -> str | None:
    if file.TEXT not in case.core:
        return None
    text = file.read_text(file.TEXT, case.core[file.TEXT])
    return "\n".join(safe_text(line, None) for line in text.split("\n"))


def _digests(case: Case) -> list[Row]:
    own = case.own
    rows = [
        Row(head="Dispatch", cells=(own.body.dispatch_digest.hex(),)),
        Row(head="Log", cells=(f"{own.checkpoint.origin}, {own.checkpoint.size} entries",)),
        Row(head="Its root", cells=(own.checkpoint.root.hex(),)),
        Row(head="The entry's hash", cells=(own.leaf.hex(),)),
    ]
    if case.dispatch is not None:
        rows.insert(0, Row(head="Statement", cells=(case.dispatch.statement_digest.hex(),)))
    return rows


def _limits(case: Case) -> list[str]:
    told = [
        "Whether what the bulletin says is true. The proofs say who signed which words, and when.",
        "Which person sat at the keyboard. They say whose key signed; the agency says whose key it is.",
        "What a human being at the recipient's read. They say that its node opened the bulletin.",
    ]
    if case.statement is None:
        told.append(
            "What the bulletin says. Its text is not in this file; a file with it can be compared by its digest."
        )
    if case.own.witnessed.median_s is None:
        told.append("The time, against the agency itself: no other party's clock stands under this log yet.")
    return told


def _mark(case: Case, step: Step) -> str:
    if step.result != "ok":
        return "open"
    absent = {"statement": case.statement is None and not case.fields, "export": case.exported is None}
    absent["dispatch"] = case.dispatch is None
    return "closed" if absent.get(step.name, False) else "good"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
