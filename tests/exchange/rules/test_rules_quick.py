"""The quick way of judging against the long one: over every shared bulletin, and seeded mutations of them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from exchange.records.bulletin import kind_of
from exchange.rules import packaged_catalogue
from exchange.rules.expressions import EXPRESSIONS
from exchange.rules.policy import ONLY_OF, PolicyCase
from exchange.rules.predicates import UnknownRuleError, agreements, field_rules, message_rules, scalar, text_limits
from exchange.rules.quick import is_right, plan
from exchange.rules.registry import check_registry, context_of
from exchange.rules.schema import check_schema
from exchange.v1 import bulletin_pb2 as pb
from tests.exchange.samples import INVALID, NASTY, VALID, draft
from tests.scale import SCALE

CATALOGUE = packaged_catalogue()
FILES = [path for path in (*VALID, *NASTY, *INVALID) if draft(path).message is not None]
ROUNDS = 25  # mutations of each file
TEXTS = (
    *("", "x", "P1", "P2", "L1", "V1", "C1", "A1", "O1", "Q1", "P1000", "en", "zh-Hant", "HK", "hk", "CHN", "UTO", "A"),
    *("HK-IMMD", "HK-SB", "ZZ-NOBODY", "@group", "2025-01-24", "2025-02-30", "2025-01-24\n", "red:X", "0204", "0x1"),
    *("+85212345678", "a\u0301", "\u00e1", "line\nline", "\u202e", "x" * 41, "x" * 501, "x" * 16_001, "kh-1", "KH-1"),
    *("01949640-8b80-7000-8000-000000000001", "01949640-8B80-7000-8000-000000000001", "HK-SB/TRA/2025/000001", "10.50"),
    *("0" * 64, "text/plain", "WVWZZZ1JZXW000001", "\U0001f600", "a/b", "MM-13", "MMR013", "1e5", "1" * 16),
)
NUMBERS: dict[int, tuple[Any, ...]] = {
    FieldDescriptor.TYPE_UINT32: (0, 1, 29, 30, 130, 131, 260, 261, 1200, 1201, 4_294_967_295),
    FieldDescriptor.TYPE_UINT64: (0, 1, 2_147_483_648, 2_147_483_649, 18_446_744_073_709_551_615),
    FieldDescriptor.TYPE_INT64: (-1, 0, 1_737_687_600, 253_402_300_799, 253_402_300_800),
    FieldDescriptor.TYPE_INT32: (-1, 0, 1, 999_999_999, 1_000_000_000),
    FieldDescriptor.TYPE_DOUBLE: (-180.5, -90.0, -90.5, 0.0, 90.0, 180.0, 181.0, float("nan"), float("inf")),
    FieldDescriptor.TYPE_BOOL: (False, True),
    FieldDescriptor.TYPE_BYTES: (b"", bytes(32)),
    FieldDescriptor.TYPE_STRING: TEXTS,
}


def long_way(message: pb.Bulletin) -> tuple[str, ...]:
    """Say which rules of layers S and R a bulletin breaks."""
    return tuple(one.code for one in check_schema(message) or check_registry(message, CATALOGUE))


def within(message: Any) -> Iterator[Any]:
    """Give a message and every message that is set in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if field.is_repeated else (value,):
                yield from within(each)


def mutate(message: pb.Bulletin, chance: random.Random) -> None:
    """Change one field somewhere: gone, another value, one more, one twice, one less."""
    target = chance.choice(list(within(message)))
    field = chance.choice(target.DESCRIPTOR.fields)
    if chance.random() < 0.2:
        target.ClearField(field.name)
    elif field.is_repeated:
        _mutate_list(getattr(target, field.name), field, chance)
    elif field.message_type is not None:
        _fill(getattr(target, field.name), chance)
    else:
        setattr(target, field.name, _value(field, chance))


def _mutate_list(values: Any, field: FieldDescriptor, chance: random.Random) -> None:
    what = chance.randrange(4)
    if what == 0 and values:
        del values[chance.randrange(len(values))]
    elif what == 1 and values:
        values.append(chance.choice(values))
    elif what == 2 and values and field.message_type is None:
        values.extend([values[0]] * 64)
    elif field.message_type is not None:
        _fill(values.add(), chance)
    else:
        values.append(_value(field, chance))


def _fill(message: Any, chance: random.Random) -> None:
    message.SetInParent()
    for field in message.DESCRIPTOR.fields:
        if field.message_type is None and not field.is_repeated and chance.random() < 0.5:
            setattr(message, field.name, _value(field, chance))


def _value(field: FieldDescriptor, chance: random.Random) -> Any:
    if field.enum_type is not None:
        return chance.choice([*(value.number for value in field.enum_type.values), 99])
    return chance.choice(NUMBERS[field.type])


@cache
def _message_of(path: Path) -> pb.Bulletin:
    message = draft(path).message
    assert message is not None
    return message


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_both_ways_agree_on_a_shared_bulletin(path: Path) -> None:
    message = _message_of(path)
    assert is_right(message, CATALOGUE) == (not long_way(message))


def test_both_ways_agree_on_mutations_of_every_shared_bulletin() -> None:
    chance, verdicts = random.Random(20250124), {True: 0, False: 0}
    seen = {code for path in FILES for code in long_way(_message_of(path))}
    for path in FILES:
        for _ in range(ROUNDS * SCALE):
            message = pb.Bulletin()
            message.CopyFrom(_message_of(path))
            for _ in range(chance.choice((1, 1, 1, 2, 4))):
                mutate(message, chance)
            broken, right = long_way(message), is_right(message, CATALOGUE)
            if not _overflows(message):  # such an instant always goes the long way
                assert right == (not broken), (path.name, broken, str(message))
            assert not (right and broken), (path.name, broken, str(message))
            verdicts[right] += 1
            seen.update(broken)
    assert {f"S-{each.id}" for each in _in_cel()} <= seen  # every rule about agreement was broken somewhere
    assert min(verdicts.values()) > sum(verdicts.values()) / 20  # neither verdict was the only one


def _overflows(message: pb.Bulletin) -> bool:
    """Tell whether an instant's nanoseconds are a second or more, or below zero."""
    nanos = (each.nanos for each in within(message) if each.DESCRIPTOR.name == "Timestamp")
    return any(not 0 <= each <= 999_999_999 for each in nanos)


def _in_cel() -> list[Any]:
    """List what the schema states in CEL, of messages and of fields."""
    types = pb.DESCRIPTOR.message_types_by_name.values()
    of_fields = [each for descriptor in types for field in descriptor.fields for each in field_rules(field).cel]
    return [each for descriptor in types for each in message_rules(descriptor).cel] + of_fields


def test_every_expression_of_the_schema_has_its_second_half_and_no_other_has() -> None:
    assert {each.expression for each in _in_cel()} == set(EXPRESSIONS)


def test_an_expression_without_a_second_half_is_unknown() -> None:
    rules = message_rules(pb.Marking.DESCRIPTOR)
    rules.cel[0].expression += " "
    with pytest.raises(UnknownRuleError, match=r"marking\.clear"):
        agreements(rules)


def _stated(kind: int, rules: bytes) -> Any:
    """Make a message type with one field, ``value``, under encoded ``buf.validate.FieldRules``."""
    file = descriptor_pb2.FileDescriptorProto(name="stated.proto", package="stated", syntax="proto3")
    field = file.message_type.add(name="Stated").field.add(name="value", number=1, type=kind, label=1)
    length = len(rules)
    assert length < 128
    field.options.MergeFromString(b"\xba\x48" + bytes([length]) + rules)  # extension 1159
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("stated.Stated"))


@pytest.mark.parametrize(
    ("kind", "rules", "value"),
    [
        (FieldDescriptor.TYPE_STRING, b"\x72\x02\x60\x01", "a@b.example"),  # string.email
        (FieldDescriptor.TYPE_STRING, b"\xd8\x01\x03", "x"),  # ignore, always
        (FieldDescriptor.TYPE_UINT32, b"\x2a\x02\x08\x01", 1),  # uint32.const
        (FieldDescriptor.TYPE_UINT32, b"\x72\x02\x10\x01", 1),  # string.min_len
        (FieldDescriptor.TYPE_BYTES, b"\x7a\x02\x10\x01", b"x"),  # bytes.min_len
        (FieldDescriptor.TYPE_STRING, b"\xea\x01\x04true", "x"),  # cel_expression
    ],
)
def test_what_stands_under_an_unknown_rule_is_never_right_the_quick_way(kind: int, rules: bytes, value: Any) -> None:
    context = context_of(pb.Bulletin(), CATALOGUE)
    known, unknown = _stated(kind, b""), _stated(kind, rules)
    assert plan(known.DESCRIPTOR)(known(value=value), context)
    assert not plan(unknown.DESCRIPTOR)(unknown(value=value), context)


def test_the_whole_text_must_match_its_pattern() -> None:
    """``$`` of Python alone would let a newline through."""
    limits = text_limits(field_rules(pb.Header.DESCRIPTOR.fields_by_name["originator"]))
    assert limits.admit("HK-SB")
    assert not limits.admit("HK-SB\n")
    assert not limits.admit("of HK-SB")


@pytest.mark.parametrize(
    ("message", "name", "right", "wrong"),
    [
        (pb.AssistanceRequest, "person_count", (1, 2), (0,)),
        (pb.Attachment, "size_bytes", (1, 2_147_483_648), (0, 2_147_483_649)),
        (pb.Person, "height_cm", (30, 260), (29, 261)),
        (pb.Place, "lat", (-90.0, 90.0), (-90.5, 90.5, float("nan"))),
        (pb.Header, "urgency", (1, 4), (0, 5)),
    ],
)
def test_a_number_is_right_up_to_its_bounds(
    message: Any, name: str, right: tuple[float, ...], wrong: tuple[float, ...]
) -> None:
    field = message.DESCRIPTOR.fields_by_name[name]
    is_one = scalar(field, field_rules(field))
    assert is_one is not None
    assert all(is_one(each, None) for each in right)
    assert not any(is_one(each, None) for each in wrong)


def test_an_instant_whose_nanoseconds_overflow_goes_the_long_way() -> None:
    message = pb.Bulletin()
    message.CopyFrom(_message_of(VALID[0]))
    message.header.issued_at.nanos = 1_000_000_000
    assert not is_right(message, CATALOGUE)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_rule_of_one_kind_has_nothing_to_say_of_another(path: Path) -> None:
    message = _message_of(path)
    kind = kind_of(message)
    row = CATALOGUE.kinds.get(kind)
    if row is not None and not check_schema(message):
        case = PolicyCase(bulletin=message, kind=kind, policy=row, catalogue=CATALOGUE, targets={})
        assert not [one for rule, its in ONLY_OF.items() if its != kind for one in rule(case)]
