"""Layer S: the rules that stand in ``bulletin.proto``, in the words of complaints.

The schema is the one place of these rules; the walk (``walk``) is generated from it. A rule's id stands behind ``S-``,
its path is the YAML path, and a rule about how fields agree says nothing while one of those fields is itself wrong.
"""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from exchange.records.bulletin import enum_words
from exchange.rules.complaint import WHOLE, Complaint
from exchange.v1.bulletin_pb2 import Bulletin

# Which fields of its message a rule compares: it is silent when one of them has a complaint of its own.
COMPARES = {
    "number.originator": ("number", "originator"),
    "reply_by.order": ("reply_by", "issued_at"),
    "expires_at.order": ("expires_at", "issued_at", "valid_from"),
    "urgency.reason": ("urgency", "urgency_reason"),
    "marking.clear": ("tlp", "classification"),
    "marking.h3": ("handling", "handling_text"),
    "relation.reply": ("header", "header.relations"),
    "relation.corrects": ("header", "header.relations"),
    "relation.recalls": ("header", "header.relations"),
    "relation.target": ("bulletin_id", "case"),
    "lookout.expiry": ("header",),
    "request.reply_by": ("header",),
    "statement.confidence": ("basis", "confidence"),
    "person.minor": ("minor", "best_interests"),
    "person.dual": ("categories", "non_punishment_review"),
    "person.palermo": ("victim_status", "minor"),
    "person.decider": ("victim_status", "victim_status_decided_by"),
    "area.level": ("change",),
    "status.closure": ("to", "closure"),
    "lookout.warrant": ("action", "warrant"),
    "handover.when": ("stage", "at", "place"),
    "reply.refusal": ("type", "refusal"),
    "reply.delay": ("type", "new_due"),
    "reply.answers": ("type", "answers"),
}
# What to do about a rule of our own, or (second table) about the form of a field.
HINTS = {
    "uuid7": "'exchange draft' writes one",
    "urgency.reason": "say in one line why it cannot wait",
    "number.originator": "as HK-SB/TRA/2025/000001 of HK-SB",
    "person.minor": "say who decided what is in the child's interest",
    "request.reply_by": "add reply_by to the header, with its offset from UTC",
    "lookout.expiry": "add expires_at to the header, with its offset from UTC",
}
FORMS = {
    "id": "P1 for persons, V1 vehicles, L1 places, C1 contacts, A1 accounts, O1 organisations, Q1 questions",
    "number": "originator/KIND/year/serial, as HK-SB/TRA/2025/000001",
    "originator": "an agency's code, as HK-IMMD",
    "agency": "an agency's code, as HK-IMMD",
    "owner": "an agency's code, as HK-IMMD",
    "country": "two capitals, as TH (ISO 3166-1)",
    "residence": "two capitals, as HK (ISO 3166-1)",
    "nationalities": "three capitals, as CHN (ICAO 9303)",
    "subdivision": "as MM-13 (ISO 3166-2)",
    "sha256": "64 small hexadecimal digits",
    "amount": "digits with a point, as 3000.50",
}
_MISSING = {"required", "enum.not_in", "string.min_len", "repeated.min_items"}


def silenced(found: Iterable[Complaint]) -> tuple[Complaint, ...]:
    """Leave out complaints that only repeat that a field they compare is wrong."""
    kept = tuple(found)
    wrong = {one.path for one in kept if one.code[2:] not in COMPARES}
    wrong |= {path[: path.rindex("[")] for path in wrong if path.endswith("]")}
    wrong |= {"header.relations" for path in wrong if path.startswith("header.relations[")}
    return tuple(one for one in kept if not _follows(one, wrong))


def _follows(complaint: Complaint, wrong: set[str]) -> bool:
    """Return whether a complaint only repeats that a field it compares is wrong."""
    if complaint.code == "S-ids.unique":
        return any(path.endswith("].id") for path in wrong)
    base = "" if complaint.path == WHOLE else f"{complaint.path}."
    return any(base + field in wrong for field in COMPARES.get(complaint.code[2:], ()))


def worded(rule: str, message: str, path: str, names: list[str]) -> Complaint:
    """Return the complaint about a broken rule.

    Args:
        rule: Its id.
        message: What the schema, or the rule's kind, has to say.
        path: As the officer writes it; "" for the bulletin as a whole.
        names: The fields on the path, outermost first.
    """
    if path == "body":
        message = "this bulletin has no body"
    elif rule in _MISSING:
        message = "this field is missing"
    return Complaint(code=f"S-{rule}", path=path or WHOLE, message=message, hint=HINTS.get(rule) or _hint(names, rule))


def _hint(names: list[str], rule: str) -> str | None:
    """Return what may stand in a field: its words, or its form."""
    field = _field(names)
    if field is None:
        return None
    if field.enum_type is not None:
        return f"one of: {', '.join(enum_words(field.enum_type))}"
    return FORMS.get(field.name) if rule == "string.pattern" or rule == "required" else None


def _field(names: list[str]) -> FieldDescriptor | None:
    message: Descriptor | None = Bulletin.DESCRIPTOR
    field = None
    for name in names:
        field = message.fields_by_name.get(name) if message else None
        if field is None:
            return None
        message = field.message_type
    return field
