"""A bulletin for people: marking first and last, status in capitals, facts and claims told apart.

Every word that somebody else wrote passes through ``safe_text`` and ends its line, so right-to-left text can re-order
nothing but itself; it is also indented, so nobody can forge a marking: what begins a line is ours. Agencies
and places appear as their codes: display names are each node's own business. No clock: *now_ms* is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from exchange.authoring.render_fields import (
    Block,
    field_lines,
    instant,
    lang_lines,
    objects_of,
    prose,
    relation_line,
    token,
)
from exchange.authoring.text import safe_text
from exchange.records.bulletin import enum_word, expires_ms, kind_of, milliseconds, tlp_of
from exchange.v1 import bulletin_pb2 as pb

RULE = "─" * 72
_TITLES = {
    pb.BASIS_FACT: "FACTS",
    pb.BASIS_ALLEGATION: "ALLEGATIONS (said, not established)",
    pb.BASIS_ASSESSMENT: "ASSESSMENTS (the author's judgement)",
}
_POOLS = ("persons", "vehicles", "places", "contacts", "accounts", "organisations", "attachments")
# Shown elsewhere, or in words of their own.
_ABOVE = frozenset(
    (
        *("bulletin_id", "number", "originator", "addressees", "issued_at", "status", "marking", "urgency", "subject"),
        *("urgency_reason", "reply_by", "valid_from", "expires_at", "author", "on_behalf_of", "relations", "grading"),
        *("case", "your_ref", "as_of"),
    )
)


def render(bulletin: pb.Bulletin, *, now_ms: int, later: Sequence[pb.Bulletin] = (), understood: bool = True) -> str:
    """Render a verified bulletin as lines of text that end in a newline.

    Args:
        bulletin: Its signature is already verified.
        now_ms: Milliseconds UTC; decides what is EXPIRED or OVERDUE.
        later: Corrections and recalls that name it, oldest first; they are shown, the text stays as it was signed.
        understood: False if it holds fields of a newer schema.
    """
    marking = marking_line(bulletin)
    lines = [marking, *_banners(bulletin, now_ms, later, understood), RULE]
    lines += _title(bulletin)
    lines += _header(bulletin, now_ms)
    lines += _corrections(later)
    lines += _statements(bulletin)
    lines += _body(bulletin)
    lines += _objects(bulletin)
    lines += _administration(bulletin)
    return "\n".join([*lines, RULE, marking, ""])


def marking_line(bulletin: pb.Bulletin) -> str:
    """Write the marking in one line: ``TLP:AMBER+STRICT · RESTRICTED · H1 · PAP:AMBER``."""
    marking = bulletin.header.marking
    parts = [f"TLP:{tlp_of(bulletin).name.replace('_', '+')}"]
    parts.append(enum_word(pb.Classification.DESCRIPTOR, marking.classification).upper() or "UNMARKED")
    handling = [enum_word(pb.HandlingCode.DESCRIPTOR, code).upper() for code in marking.handling]
    if handling:
        parts.append(" ".join(handling))
    if marking.pap:
        parts.append(f"PAP:{enum_word(pb.Pap.DESCRIPTOR, marking.pap).upper()}")
    return " · ".join(parts)


def _banners(bulletin: pb.Bulletin, now_ms: int, later: Sequence[pb.Bulletin], understood: bool) -> Iterator[str]:
    """What must be seen before anything else is read."""
    yield enum_word(pb.MessageStatus.DESCRIPTOR, bulletin.header.status).upper() or "NO STATUS"
    expires = expires_ms(bulletin)
    if expires is not None and expires <= now_ms:
        yield f"EXPIRED {instant(expires)}"
    for one in later:
        if kind_of(one) == "recall":
            yield f"RECALLED {instant(milliseconds(one.header.issued_at))}: {_reason(one)}"
            yield f"  {safe_text(one.recall.explanation)}"
        elif kind_of(one) == "correction":
            yield f"CORRECTED {instant(milliseconds(one.header.issued_at))}, see below"
    if not understood:
        yield "NOT FULLY UNDERSTOOD: written with a newer schema than ours; act on it with care"


def _reason(recall: pb.Bulletin) -> str:
    return enum_word(pb.RecallReason.DESCRIPTOR, recall.recall.reason).replace("-", " ")


def _title(bulletin: pb.Bulletin) -> Iterator[str]:
    kind = kind_of(bulletin).replace("_", " ").upper() or "KIND NOT UNDERSTOOD"
    yield f"{kind}  {safe_text(bulletin.header.number)}"
    yield from lang_lines(bulletin.header.subject, "  ")
    yield ""


def _header(bulletin: pb.Bulletin, now_ms: int) -> list[str]:
    header = bulletin.header
    present = {field.name: value for field, value in header.ListFields()}
    block = Block("  ")
    block.add("From", safe_text(header.originator + (f"/{header.author}" if header.author else "")))
    if header.on_behalf_of:
        block.add("On behalf of", safe_text(header.on_behalf_of))
    for role, word in ((pb.ADDRESSEE_ROLE_ACTION, "For action"), (pb.ADDRESSEE_ROLE_INFO, "For information")):
        agencies = [token(one.agency) for one in header.addressees if one.role == role]
        if agencies:
            block.add(word, ", ".join(agencies))
    block.add("Issued", instant(milliseconds(header.issued_at)))
    block.add("Urgency", enum_word(pb.Urgency.DESCRIPTOR, header.urgency).upper())
    if header.urgency_reason:
        block.add("Because", *prose(header.urgency_reason))
    for name, word, past in (
        ("reply_by", "Reply by", "  OVERDUE"),
        ("valid_from", "Valid from", ""),
        ("expires_at", "Expires", "  EXPIRED"),
    ):
        if name in present:
            at = milliseconds(present[name])
            block.add(word, instant(at) + (past if at <= now_ms else ""))
    if header.HasField("grading"):
        block.add("Graded", *field_lines(header, "grading", {}))
    for relation in header.relations:
        block.add("Relation", relation_line(relation))
    for name, word in (("case", "Case"), ("your_ref", "Your ref"), ("as_of", "As of")):
        if name in present:
            block.add(word, *field_lines(header, name, {}))
    if header.marking.handling_text:
        block.add("Handling", *prose(header.marking.handling_text))
    if header.marking.releasable_to:
        block.add("Releasable to", ", ".join(token(one) for one in header.marking.releasable_to))
    return block.lines()


def _administration(bulletin: pb.Bulletin) -> Iterator[str]:
    """The rest of the header: by what right, how long, from where."""
    header = bulletin.header
    block = Block("  ")
    for field, _ in header.ListFields():
        if field.name not in _ABOVE:
            block.add(field.name.replace("_", " "), *field_lines(header, field.name, {}))
    block.add("bulletin id", safe_text(header.bulletin_id))
    yield ""
    yield "ADMINISTRATION"
    yield from block.lines()


def _corrections(later: Sequence[pb.Bulletin]) -> Iterator[str]:
    """What was said, and what the originator says now."""
    for one in later:
        if kind_of(one) != "correction":
            continue
        yield ""
        yield f"CORRECTED by {safe_text(one.header.number)}"
        for change in one.correction.changes:
            yield from change_lines(change)


def change_lines(change: pb.FieldChange) -> Iterator[str]:
    """Show one changed field, old and new under each other."""
    yield f"  {safe_text(change.path)}"
    for word, text in (("was", change.old), ("now", change.new), ("why", change.reason)):
        first, *rest = prose(text, width=84) or ["(nothing)"]
        yield f"    {word}  {first}"
        yield from (f"         {line}".rstrip() for line in rest)


def _statements(bulletin: pb.Bulletin) -> Iterator[str]:
    """Group by basis, so that nobody takes an allegation for a fact; an unknown basis stands by itself."""
    objects = objects_of(bulletin)
    for basis in dict.fromkeys([*_TITLES, *(statement.basis for statement in bulletin.statements)]):
        group = [(number, one) for number, one in enumerate(bulletin.statements) if one.basis == basis]
        if not group:
            continue
        yield ""
        yield _TITLES.get(basis, f"STATEMENTS ({enum_word(pb.Basis.DESCRIPTOR, basis)})")
        for number, statement in group:
            yield f"  [{number}] {_qualities(statement)}".rstrip()
            yield from lang_lines(statement.text, "      ")
            if statement.about:
                yield f"      about  {', '.join(objects.get(one, token(one)) for one in statement.about)}"


def _qualities(statement: pb.Assertion) -> str:
    parts = []
    if statement.HasField("grading"):
        parts += ["graded", *field_lines(statement, "grading", {})]
    if statement.confidence:
        parts.append(f"confidence {enum_word(pb.Confidence.DESCRIPTOR, statement.confidence)}")
    if statement.as_of:
        parts.append(f"as of {token(statement.as_of)}")
    return "  ".join(parts)


def _body(bulletin: pb.Bulletin) -> Iterator[str]:
    kind = kind_of(bulletin)
    if not kind:
        return
    yield ""
    yield kind.replace("_", " ").upper()
    if kind == "correction":
        for change in bulletin.correction.changes:
            yield from change_lines(change)
        return
    body = getattr(bulletin, kind)
    objects = objects_of(bulletin)
    block = Block("  ")
    for field, _ in body.ListFields():
        block.add(field.name.replace("_", " "), *field_lines(body, field.name, objects))
    yield from block.lines()


def _objects(bulletin: pb.Bulletin) -> Iterator[str]:
    for pool in _POOLS:
        items: Iterable[object] = getattr(bulletin, pool)
        if items:
            yield ""
            yield pool.upper()
            yield from (f"  {line}" for line in field_lines(bulletin, pool, {}))
