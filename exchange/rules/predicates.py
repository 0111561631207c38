"""One predicate for what the schema states of one value: numbers, enums, instants, texts.

Each stated rule is either understood whole, or ``UnknownRuleError`` says that it is not: nothing is passed over. A
predicate is never laxer than protovalidate; where the two could differ (a pattern that is not anchored, NaN, an
instant whose nanoseconds overflow) it says no, and the long way decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, OneofDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet

from exchange.rules.expressions import EXPRESSIONS, Agrees

Right = Callable[[Any, Any], bool]  # (value, what the judging knows besides); these here use the value alone

UNLIMITED = 1 << 63
IGNORE_ZERO = 1  # buf.validate.IGNORE_IF_ZERO_VALUE
_LAST_SECOND = 253_402_300_799  # of the year 9999
_NUMBERS = {
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
    FieldDescriptor.TYPE_DOUBLE: "double",
}


class UnknownRuleError(Exception):
    """The schema states something that the quick way does not know."""


def only(rules: Any, *known: str) -> None:
    """Refuse rules that state anything else: UnknownRuleError."""
    for field, _ in rules.ListFields():
        if field.name not in known:
            raise UnknownRuleError(field.full_name)


def agreements(rules: Any) -> tuple[Agrees, ...]:
    """Find the Python halves of what a message or a field states in CEL; UnknownRuleError where there is none."""
    unknown = [each.id for each in rules.cel if each.expression not in EXPRESSIONS]
    if unknown:
        raise UnknownRuleError(", ".join(unknown))
    return tuple(EXPRESSIONS[each.expression] for each in rules.cel)


@dataclass(frozen=True, slots=True)
class TextLimits:
    """What the schema states of a text: characters, and what it must pass besides."""

    least: int
    most: int
    tests: tuple[Callable[[str], object], ...]  # each gives something true for a text that passes

    def admit(self, text: str) -> bool:
        """Tell whether a text passes all of it."""
        return self.least <= len(text) <= self.most and all(test(text) for test in self.tests)


def text_limits(rules: Any) -> TextLimits:
    """Read what is stated of a text: its length, one pattern, and expressions."""
    expect(rules, "string")
    stated = rules.string
    only(stated, "min_len", "max_len", "pattern")
    most = stated.max_len if stated.HasField("max_len") else UNLIMITED
    # The whole text must match, which no search would ask for: so anchors need no care, nor a last newline.
    pattern = (re.compile(stated.pattern, re.ASCII).fullmatch,) if stated.HasField("pattern") else ()
    return TextLimits(stated.min_len, most, (*pattern, *agreements(rules)))


def scalar(field: FieldDescriptor, rules: Any) -> Right | None:
    """Make the predicate of a number, an enum or an instant; None where nothing is stated."""
    if field.enum_type is not None:
        return _enum(field, rules)
    if field.message_type is not None:
        return _instant(rules)
    name = _NUMBERS.get(field.type, "")
    expect(rules, name)
    return _number(getattr(rules, name)) if name and rules.HasField(name) else None


def expect(rules: Any, kind: str) -> None:
    """Refuse rules of another kind than the field's: UnknownRuleError."""
    if rules.WhichOneof("type") not in (None, kind):
        raise UnknownRuleError(str(rules.WhichOneof("type")))


def _enum(field: FieldDescriptor, rules: Any) -> Right | None:
    expect(rules, "enum")
    if not rules.HasField("enum"):
        return None
    only(rules.enum, "defined_only", "not_in")
    if not rules.enum.defined_only or field.enum_type is None:
        raise UnknownRuleError(field.full_name)
    allowed = frozenset(value.number for value in field.enum_type.values) - set(rules.enum.not_in)
    return lambda value, _: value in allowed


def _number(stated: Any) -> Right:
    only(stated, "gt", "gte", "lt", "lte")
    above = stated.gt if stated.HasField("gt") else None
    least = stated.gte if stated.HasField("gte") else None
    below = stated.lt if stated.HasField("lt") else None
    most = stated.lte if stated.HasField("lte") else None

    def right(value: float, _: Any) -> bool:
        return (
            (above is None or value > above)
            and (least is None or value >= least)
            and (below is None or value < below)
            and (most is None or value <= most)
        )

    return right


def _instant(rules: Any) -> Right:
    """Whatever is stated, an instant is one: within the calendar, its nanoseconds below a second."""
    expect(rules, "timestamp")
    stated = rules.timestamp
    only(stated, "gte", "lte")
    low = (stated.gte.seconds, stated.gte.nanos) if stated.HasField("gte") else (0, 0)
    high = (stated.lte.seconds, stated.lte.nanos) if stated.HasField("lte") else (_LAST_SECOND, 999_999_999)

    def right(value: Any, _: Any) -> bool:
        seconds, nanos = value.seconds, value.nanos
        return 0 <= nanos <= 999_999_999 and low <= (seconds, nanos) <= high

    return right


_EXTENSION = 1159  # buf.validate's number in the options of fields, messages and oneofs


_IMPORTED = (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2)


def field_rules(field: FieldDescriptor) -> Any:
    """Give a field's ``buf.validate.FieldRules``; an empty message where it has none."""
    return _read(field.GetOptions(), "FieldRules")


def message_rules(descriptor: Descriptor) -> Any:
    """Give a message type's ``buf.validate.MessageRules``; an empty message where it has none."""
    return _read(descriptor.GetOptions(), "MessageRules")


def oneof_rules(oneof: OneofDescriptor) -> Any:
    """Give a oneof's ``buf.validate.OneofRules``; an empty message where it has none."""
    return _read(oneof.GetOptions(), "OneofRules")


def _read(options: Message, name: str) -> Any:
    rules, kept = _rules(name)(), UnknownFieldSet(options)
    for place in range(len(kept)):
        if kept[place].field_number == _EXTENSION:
            rules.MergeFromString(kept[place].data)
    return rules


@cache
def _rules(name: str) -> Any:
    return GetMessageClass(_pool().FindMessageTypeByName(f"buf.validate.{name}"))


@cache
def _pool() -> DescriptorPool:
    # Imported late: it costs 100 ms, and commands that judge nothing do not need it.
    from protovalidate._gen.buf.validate import validate_pb

    pool = DescriptorPool()  # of its own: another program in this process may hold another version
    for module in _IMPORTED:
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(validate_pb.desc().proto.to_binary())
    return pool
