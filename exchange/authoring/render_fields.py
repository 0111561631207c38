"""Fields as lines: one way to write each type, and a word of its own for the few messages that need one.

A field without a word of its own is shown by its name and value, so nothing in a bulletin can be left out of sight,
and a new kind needs no code here.
"""

from __future__ import annotations

import datetime as dt
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from exchange.authoring.text import safe_text
from exchange.records.bulletin import enum_word, milliseconds
from exchange.v1 import bulletin_pb2 as pb

WIDTH = 92  # columns of running text
_UNIX = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

Objects = Mapping[str, str]  # object id -> id with its label


class Block:
    """Labelled values in two columns; a value of several lines goes on in the second."""

    def __init__(self, indent: str) -> None:
        self.indent = indent
        self.rows: list[tuple[str, list[str]]] = []

    def add(self, label: str, *values: str) -> None:
        """Append a row; without values the label stands alone."""
        self.rows.append((label, list(values) or [""]))

    def lines(self) -> list[str]:
        """Lay the rows out; labels are ours, values end their lines."""
        width = max((len(label) for label, _ in self.rows), default=0) + 2
        lines = []
        for label, (first, *rest) in self.rows:
            lines.append(f"{self.indent}{label.ljust(width)}{first}".rstrip())
            lines += [f"{self.indent}{' ' * width}{line}".rstrip() for line in rest]
        return lines


def instant(at_ms: int) -> str:
    """Write an instant in UTC, to the minute."""
    try:
        return f"{_UNIX + dt.timedelta(milliseconds=at_ms):%Y-%m-%d %H:%M} UTC"
    except OverflowError:
        return "at an impossible time"


def prose(text: str, width: int = WIDTH) -> list[str]:
    """Break running text into lines; scripts without blanks stay in one piece."""
    lines = []
    for line in safe_text(text.rstrip("\n"), None, lines=True).split("\n"):
        lines += textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) or [""]
    return lines


def lang_lines(texts: Iterable[pb.LangText], indent: str) -> Iterator[str]:
    """One text in its languages: the tag, then the text at the end of its line."""
    shown = list(texts)
    for text in shown:
        tag = f"[{token(text.lang)}] " if len(shown) > 1 or text.lang != "en" else ""
        how = enum_word(pb.Translation.DESCRIPTOR, text.translation)
        note = f"({how} translation) " if how in ("human", "machine") else f"({how}) " if how else ""
        first, *rest = prose(text.text)
        yield f"{indent}{tag}{note}{first}"
        yield from (f"{indent}{line}".rstrip() for line in rest)


def token(text: str) -> str:
    """Write a code that something follows in its line: right-to-left letters are shown by number."""
    return "".join(f"⟨U+{ord(char):04X}⟩" if _turns(char) else char for char in safe_text(text))


def _turns(char: str) -> bool:
    return unicodedata.bidirectional(char) in ("R", "AL", "AN")


def objects_of(bulletin: pb.Bulletin) -> dict[str, str]:
    """Map each object id to what stands for it in running text: ``P1 PERSON-01``."""
    found = {one.id: _labelled(one.id, one.label) for one in bulletin.persons}
    found |= {one.id: _labelled(one.id, " ".join((one.colour, one.make, one.model))) for one in bulletin.vehicles}
    found |= {one.id: _labelled(one.id, _place_code(one)) for one in bulletin.places}
    found |= {one.id: _labelled(one.id, one.value) for one in bulletin.contacts}
    found |= {one.id: _labelled(one.id, one.value) for one in bulletin.accounts}
    return found | {one.id: _labelled(one.id, "") for one in bulletin.organisations}


def _place_code(place: pb.Place) -> str:
    code = place.pcode or place.subdivision or place.country
    name = next((name.text for name in place.names if name.lang == "en"), "")
    return f"{'rest of ' if place.rest_of else ''}{code} {name}"


def _labelled(identifier: str, label: str) -> str:
    """Join id and label; a right-to-left label is left to its object, because others follow in the line."""
    shown = "" if any(_turns(char) for char in label) else " ".join(label.split())
    return safe_text(f"{identifier} {shown}".strip(), 60)


def field_lines(message: Message, name: str, objects: Objects) -> list[str]:
    """Write a field's value as lines."""
    field = message.DESCRIPTOR.fields_by_name[name]
    value = getattr(message, name)
    if field.message_type is None:
        items = list(value) if field.is_repeated else [value]
        words = [_scalar(field, item, objects) for item in items]
        if any(len(word) > 40 or not word.isascii() for word in words):
            return [line for word in words for line in prose(word)]
        return [", ".join(words)]
    if field.message_type.name == "LangText":
        return list(lang_lines(value, ""))
    items = value if field.is_repeated else [value]
    return [line for item in items for line in _message(item, objects)]


def _scalar(field: Any, value: Any, objects: Objects) -> str:
    if field.enum_type is not None:
        return enum_word(field.enum_type, value).replace("-", " ")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, str):
        return objects.get(value) or safe_text(value, None, lines=True)
    return str(value)


def _message(message: Message, objects: Objects) -> list[str]:
    """Write one message: in words of its own, or as its fields, the first of them heading the others."""
    if isinstance(message, Timestamp):
        return [instant(milliseconds(message))]
    own = _WORDS.get(message.DESCRIPTOR.name)
    if own is not None:
        return own(message, objects)
    block = Block("")
    fields = [field.name for field, _ in message.ListFields()]
    head = fields[0] in ("id", "person", "subject") if fields else False
    for name in fields[1:] if head else fields:
        block.add(name.replace("_", " "), *field_lines(message, name, objects))
    if not head:
        return block.lines()
    block.indent = "   "
    return [field_lines(message, fields[0], objects)[0], *block.lines()]


def _grading(grading: Any, _: Objects) -> list[str]:
    source = enum_word(pb.SourceReliability.DESCRIPTOR, grading.source).upper()
    information = enum_word(pb.InfoCredibility.DESCRIPTOR, grading.information)
    return [f"{source}{information}" + (f" (original: {safe_text(grading.original)})" if grading.original else "")]


def _money(money: Any, _: Objects) -> list[str]:
    return [safe_text(f"{money.currency} {money.amount}")]


def _case(case: Any, _: Objects) -> list[str]:
    return [safe_text(f"{case.owner}  {case.ref}")]


def _source(source: Any, _: Objects) -> list[str]:
    lines = [safe_text(source.file)]
    if source.locator:
        lines.append(f"  {safe_text(source.locator)}")
    if source.published:
        lines.append(f"  published {safe_text(source.published)}")
    if source.sha256:
        lines.append(f"  SHA-256 {safe_text(source.sha256)}")
    return lines


def _legal_basis(basis: Any, _: Objects) -> list[str]:
    word = enum_word(pb.LegalBasisType.DESCRIPTOR, basis.type).replace("-", " ")
    return [f"{word}: {safe_text(basis.cite)}" if basis.cite else word]


def _retention(retention: Any, _: Objects) -> list[str]:
    word = enum_word(pb.RetentionClass.DESCRIPTOR, getattr(retention, "class"))
    return [f"{word}, review by {safe_text(retention.review_by)}" if retention.review_by else word]


def relation_line(relation: pb.Relation) -> str:
    """Write one relation: ``corrects 0182f2ea-…``."""
    word = enum_word(pb.RelationType.DESCRIPTOR, relation.type).replace("-", " ")
    target = relation.bulletin_id or f"{relation.case.owner}  {relation.case.ref}"
    return f"{word} {safe_text(target)}"


def _area(area: Any, objects: Objects) -> list[str]:
    change = enum_word(pb.AlertChange.DESCRIPTOR, area.change).replace("-", " ").upper()
    levels = " → ".join(token(level) for level in (area.level_before, area.level) if level) or "no level stated"
    return [f"{change}  {levels}  from {token(area.effective)}  {objects.get(area.place, token(area.place))}"]


def _status_change(change: Any, objects: Objects) -> list[str]:
    enum = pb.CaseState.DESCRIPTOR
    states = " → ".join(enum_word(enum, state) for state in (getattr(change, "from"), change.to) if state)
    closure = enum_word(pb.ClosureReason.DESCRIPTOR, change.closure)
    lines = [f"{states}{f' ({closure})' if closure else ''}  {token(change.effective)}"]
    lines[0] += f"  {objects.get(change.person, token(change.person))}"
    return [*lines, f"  at {objects.get(change.place, safe_text(change.place))}"] if change.place else lines


def _measure(measure: Any, _: Objects) -> list[str]:
    qualifier = enum_word(pb.Qualifier.DESCRIPTOR, measure.qualifier).replace("-", " ")
    unit = enum_word(pb.Unit.DESCRIPTOR, measure.unit)
    basis = enum_word(pb.Basis.DESCRIPTOR, measure.basis)
    number = f"{'' if qualifier == 'exact' else f'{qualifier} '}{measure.value} {unit}"
    notes = [f"({basis})" if basis else "", f"of {token(measure.part_of)}" if measure.part_of else ""]
    notes += [f"in {token(measure.period)}" if measure.period else "", "= all parts" if measure.exhaustive else ""]
    head = "  ".join(part for part in (number, token(measure.code), *notes) if part)
    return [head, *lang_lines(measure.label, "   ")]


def _numbered(field: str) -> Callable[[Any, Objects], list[str]]:
    def lines(message: Any, _: Objects) -> list[str]:
        value = getattr(message, field)
        name = token(message.id if isinstance(message, pb.Question) else message.question)
        texts = prose(value) if isinstance(value, str) else list(lang_lines(value, ""))
        return [f"{name}  {texts[0]}", *(f"    {line}" for line in texts[1:])]

    return lines


def _name(name: Any, _: Objects) -> list[str]:
    kind = enum_word(pb.NameType.DESCRIPTOR, name.type)
    order = enum_word(pb.NameOrder.DESCRIPTOR, name.order).replace("-", " ")
    notes = ", ".join(part for part in (kind, token(name.lang), order) if part)
    lines = [f"({notes}) {safe_text(name.full)}"]
    lines += [f"  {word} {safe_text(text)}" for word, text in (("family", name.family), ("given", name.given)) if text]
    return lines


def _offence(offence: Any, _: Objects) -> list[str]:
    code = f"ICCS {token(offence.iccs)}  " if offence.iccs else ""
    return [f"{code}{line}" if not index else f"  {line}" for index, line in enumerate(prose(offence.text))]


_WORDS: dict[str, Callable[[Any, Objects], list[str]]] = {
    "Grading": _grading,
    "Money": _money,
    "CaseRef": _case,
    "Source": _source,
    "LegalBasis": _legal_basis,
    "Retention": _retention,
    "AreaLevel": _area,
    "StatusChange": _status_change,
    "Measure": _measure,
    "Question": _numbered("text"),
    "Answer": _numbered("text"),
    "PersonName": _name,
    "Offence": _offence,
}
