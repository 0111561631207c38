"""The quick way to know that a bulletin has no fault in layers S and R: one walk over the fields that are set.

Each message type is planned once, from the options of the schema (``stated``) and the table of layer R
(``registry.CHECKS``). The answer is only ever "right" or "cannot say": whatever is not plainly right, and whatever
stands under a rule that is not understood here, goes the long way, whose complaints alone count. Tests hold the two
ways to the same verdict over every shared bulletin and mutations of them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from exchange.rules.catalogue import Catalogue
from exchange.rules.characters import text_fault
from exchange.rules.expressions import Agrees
from exchange.rules.predicates import (
    IGNORE_ZERO,
    UNLIMITED,
    Right,
    TextLimits,
    UnknownRuleError,
    agreements,
    expect,
    field_rules,
    message_rules,
    oneof_rules,
    only,
    scalar,
    text_limits,
)
from exchange.rules.registry import CHECKS, LINES, OBJECTS, PROSE, Context, context_of
from exchange.v1.bulletin_pb2 import Bulletin

_INSTANT = "google.protobuf.Timestamp"
_OF_FIELDS = ("required", "ignore", "cel", "string", "enum", "repeated", "timestamp", "uint32", "uint64", "double")


def is_right(bulletin: Bulletin, catalogue: Catalogue) -> bool:
    """Tell whether layers S and R have no complaint; False also where this cannot say."""
    return plan(Bulletin.DESCRIPTOR)(bulletin, context_of(bulletin, catalogue))


@cache
def plan(descriptor: Descriptor) -> Right:
    """Plan a message type and those inside it, once. No type of ours holds itself."""
    try:
        return _plan(descriptor)
    except UnknownRuleError:
        return _cannot_say


def _cannot_say(_: Any, __: Any) -> bool:
    return False


def _plan(descriptor: Descriptor) -> Right:
    fields: dict[int, tuple[int, Right]] = {}  # by number: the field's bit, and what is right in it
    needed = 0  # bits of the fields that may not be absent
    for place, field in enumerate(descriptor.fields):
        right, absent = _field(descriptor, field)
        fields[field.number] = 1 << place, right
        needed |= 0 if absent else 1 << place
    agree, several = _agree(descriptor), OBJECTS.get(descriptor.name)

    def walk(message: Any, context: Any) -> bool:
        seen = 0
        for field, value in message.ListFields():
            bit, right = fields[field.number]
            if not right(value, context):
                return False
            seen |= bit
        if seen & needed != needed:
            return False
        for agrees in agree:
            if not agrees(message):
                return False
        return several is None or next(several(message, context), None) is None

    return walk


def _agree(descriptor: Descriptor) -> tuple[Agrees, ...]:
    """Collect what is stated of several fields together."""
    rules = message_rules(descriptor)
    only(rules, "cel")
    chosen = []
    for oneof in descriptor.oneofs:
        stated = oneof_rules(oneof)
        only(stated, "required")
        if stated.required:
            chosen.append(_chosen(oneof.name))
    return (*chosen, *agreements(rules))


def _chosen(name: str) -> Agrees:
    return lambda message: message.WhichOneof(name) is not None


def _field(descriptor: Descriptor, field: FieldDescriptor) -> tuple[Right, bool]:
    """Plan one field: what is right in it where it is set, and whether it may be absent."""
    rules = field_rules(field)
    only(rules, *_OF_FIELDS)
    if rules.ignore not in (0, IGNORE_ZERO):
        raise UnknownRuleError(field.full_name)
    skipped = field.has_presence or rules.ignore == IGNORE_ZERO  # where it is absent, nothing is asked but required
    if field.is_repeated:
        expect(rules, "repeated")
        least, right = _list(descriptor, field, rules)
        return right, not rules.required and (skipped or least == 0)
    right, zero = _one(descriptor, field, rules)
    return right, not rules.required and (skipped or zero)


def _list(descriptor: Descriptor, field: FieldDescriptor, rules: Any) -> tuple[int, Right]:
    """Plan a list: how many there may be, each once where so stated, and each one right."""
    stated = rules.repeated
    only(stated, "min_items", "max_items", "unique", "items")
    only(stated.items, "string", "enum")
    if rules.cel or (stated.unique and field.message_type is not None):
        raise UnknownRuleError(field.full_name)
    item, _ = _one(descriptor, field, stated.items)
    least, most = stated.min_items, stated.max_items if stated.HasField("max_items") else UNLIMITED
    unique = stated.unique

    def right(values: Any, context: Any) -> bool:
        if not least <= len(values) <= most or (unique and len(set(values)) != len(values)):
            return False
        for value in values:  # noqa: SIM110 - a generator for each list costs more than what it looks at
            if not item(value, context):
                return False
        return True

    return least, right


def _one(descriptor: Descriptor, field: FieldDescriptor, rules: Any) -> tuple[Right, bool]:
    """Plan one value; tell too whether zero would be right."""
    if field.type == FieldDescriptor.TYPE_STRING:
        limits = text_limits(rules)
        return _text(f"{descriptor.name}.{field.name}", limits), limits.admit("")
    if rules.cel:
        raise UnknownRuleError(field.full_name)
    if field.message_type is not None and field.message_type.full_name != _INSTANT:
        expect(rules, "")
        return plan(field.message_type), False
    right = scalar(field, rules)
    return right or _anything, right is None or (field.message_type is None and right(0, None))


def _anything(_: Any, __: Any) -> bool:
    return True


def _text(known: str, limits: TextLimits) -> Right:
    """Look at a text by both layers; *known* is its place in the tables of layer R."""
    least, most, tests = limits.least, limits.most, limits.tests
    prose, lines, check = known in PROSE, known in LINES, CHECKS.get(known)

    def right(text: str, context: Context) -> bool:
        if not least <= len(text) <= most:
            return False
        for test in tests:
            if not test(text):
                return False
        if not (text.isascii() and text.isprintable()) and text_fault(text, prose=prose, lines=lines):
            return False
        return check is None or not text or check(text, context) is None

    return right
