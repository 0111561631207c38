"""The walk against protovalidate and the tables: over every shared bulletin, and seeded mutations of them."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from exchange.records.bulletin import kind_of
from exchange.rules import findings_of, packaged_catalogue, registry
from exchange.rules.complaint import Complaint
from exchange.rules.policy import ONLY_OF, policy_case
from exchange.v1 import bulletin_pb2 as pb
from proto.cel import UnknownRuleError
from proto.options import OF_FIELDS, options_pool
from proto.walk import Walk
from tests.exchange.rules.oracle import check_registry, check_schema
from tests.support.samples import INVALID, NASTY, VALID, draft
from tests.support.scale import SCALE

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


def by_oracle(message: pb.Bulletin) -> tuple[Complaint, ...]:
    """Return the complaints of layers S and R as the oracle finds them."""
    return check_schema(message) or check_registry(message, CATALOGUE)


def by_walk(message: pb.Bulletin) -> tuple[Complaint, ...]:
    """Return the complaints of layers S and R as the program finds them."""
    return findings_of(message, CATALOGUE).complaints()


def within(message: Any) -> Iterator[Any]:
    """Yield a message and every message that is set in it."""
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
def test_walk_and_oracle_agree_on_a_shared_bulletin(path: Path) -> None:
    assert by_walk(_message_of(path)) == by_oracle(_message_of(path))


def test_walk_and_oracle_agree_on_mutations_of_every_shared_bulletin() -> None:
    chance, right, wrong = random.Random(20250124), 0, 0
    seen = {one.code for path in FILES for one in by_oracle(_message_of(path))}
    for path in FILES:
        for _ in range(ROUNDS * SCALE):
            message = pb.Bulletin()
            message.CopyFrom(_message_of(path))
            for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
                mutate(message, chance)
            complaints = by_oracle(message)
            assert by_walk(message) == complaints, (path.name, str(message))
            right, wrong = right + (not complaints), wrong + bool(complaints)
            seen.update(one.code for one in complaints)
    assert {f"S-{each.id}" for each in _in_cel()} <= seen  # every rule about agreement was broken somewhere
    assert min(right, wrong) > (right + wrong) / 20  # neither verdict was the only one


def _in_cel() -> list[Any]:
    """List what the schema states in CEL, of messages and of fields."""
    walk, types = Walk(options_pool(), registry), pb.DESCRIPTOR.message_types_by_name.values()
    of_messages = [walk.rules(each.GetOptions(), "MessageRules", "cel") for each in types]
    of_fields = [walk.rules(field.GetOptions(), "FieldRules", *OF_FIELDS) for each in types for field in each.fields]
    return [expression for rules in (*of_messages, *of_fields) for expression in rules.cel]


def _type(kind: int, field_rules: bytes, message_rules: bytes = b"") -> tuple[Walk, Descriptor]:
    """Make a message type with one field, ``value``, under encoded ``buf.validate`` options."""
    file = descriptor_pb2.FileDescriptorProto(name="stated.proto", package="stated", syntax="proto3")
    message = file.message_type.add(name="Stated")
    field = message.field.add(name="value", number=1, type=kind, label=1)
    assert max(len(field_rules), len(message_rules)) < 128
    field.options.MergeFromString(b"\xba\x48" + bytes([len(field_rules)]) + field_rules)  # extension 1159
    message.options.MergeFromString(b"\xba\x48" + bytes([len(message_rules)]) + message_rules)
    pool = options_pool()
    pool.Add(file)
    return Walk(pool, registry), pool.FindMessageTypeByName("stated.Stated")


@pytest.mark.parametrize(
    ("kind", "rules"),
    [
        (FieldDescriptor.TYPE_STRING, b"\x72\x02\x60\x01"),  # string.email
        (FieldDescriptor.TYPE_STRING, b"\xd8\x01\x03"),  # ignore, always
        (FieldDescriptor.TYPE_UINT32, b"\x2a\x02\x08\x01"),  # uint32.const
        (FieldDescriptor.TYPE_UINT32, b"\x72\x02\x10\x01"),  # string.min_len
        (FieldDescriptor.TYPE_BYTES, b"\x7a\x02\x10\x01"),  # bytes.min_len
        (FieldDescriptor.TYPE_STRING, b"\xea\x01\x04true"),  # cel_expression
        (FieldDescriptor.TYPE_STRING, b"\x72\x05\x32\x03abc"),  # a pattern without anchors
        (FieldDescriptor.TYPE_STRING, b"\x72\x07\x32\x05^a|b$"),  # one with an anchor on each side only
        (FieldDescriptor.TYPE_STRING, b"\x72\x07\x32\x05^\\d+$"),  # one whose letters are not the same in Python
    ],
)
def test_no_walk_is_made_under_an_unknown_rule(kind: int, rules: bytes) -> None:
    walk, known = _type(kind, b"")
    assert "def differ" in walk.source(known)
    walk, unknown = _type(kind, rules)
    with pytest.raises(UnknownRuleError):
        walk.source(unknown)


@pytest.mark.parametrize(
    "expression",
    [
        "this.value.endsWith('x')",
        "this.other == ''",
        "has(this.value)",
        "this.value == '' ? true : false",
        'this.value == "x"',
        "other == ''",
        "this.value == '' x",
        "[1, 2].exists(x, x == 1)",
        "this.value.matches(this.value)",
        "(this.value == ''",
        "",
    ],
)
def test_no_walk_is_made_under_an_expression_that_is_not_understood(expression: str) -> None:
    cel = b"\x1a" + bytes([len(expression)]) + expression.encode()
    walk, unknown = _type(FieldDescriptor.TYPE_STRING, b"", b"\x1a" + bytes([len(cel)]) + cel)
    with pytest.raises(UnknownRuleError):
        walk.source(unknown)


def test_the_whole_text_must_match_its_pattern() -> None:
    """``$`` of Python alone would let a newline through."""
    message = pb.Bulletin()
    message.CopyFrom(_message_of(VALID[0]))
    for text in (message.header.originator + "\n", "of " + message.header.originator):
        message.header.originator = text
        assert ("S-string.pattern", "header.originator") in [(one.code, one.path) for one in by_walk(message)]


@pytest.mark.parametrize(
    ("holder", "name", "right", "wrong"),
    [
        ("attachments", "size_bytes", (1, 2_147_483_648), (0, 2_147_483_649)),
        ("persons", "height_cm", (0, 30, 260), (29, 261)),
        ("places", "lat", (-90.0, 90.0), (-90.5, 90.5, float("nan"))),
        ("contacts", "type", (1, 5), (0, 6)),
    ],
)
def test_a_number_is_right_up_to_its_bounds(
    holder: str, name: str, right: tuple[float, ...], wrong: tuple[float, ...]
) -> None:
    def complained(value: float) -> bool:
        message = pb.Bulletin()
        setattr(getattr(message, holder).add(), name, value)
        return f"{holder}[0].{name}" in [one.path for one in by_walk(message)]

    assert not any(complained(each) for each in right)
    assert all(complained(each) for each in wrong)


def test_an_instant_whose_nanoseconds_overflow_is_the_one_that_it_adds_up_to() -> None:
    message = pb.Bulletin()
    message.CopyFrom(_message_of(VALID[0]))
    message.header.expires_at.CopyFrom(message.header.issued_at)
    message.header.expires_at.nanos = 1_000_000_000
    assert by_walk(message) == by_oracle(message) == ()
    message.header.issued_at.nanos = 1_000_000_001
    assert by_walk(message) == by_oracle(message)
    assert [one.code for one in by_walk(message)] == ["S-expires_at.order"]


def test_judging_needs_no_protovalidate() -> None:
    code = """
import sys
sys.modules["protovalidate"] = sys.modules["protobuf"] = None  # whoever imports it fails
from exchange.rules import check_bulletin, packaged_catalogue
from exchange.v1.bulletin_pb2 import Bulletin
print([one.code for one in check_bulletin(Bulletin(), packaged_catalogue())])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['S-required', 'S-required']\n"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_rule_of_one_kind_has_nothing_to_say_of_another(path: Path) -> None:
    message = _message_of(path)
    kind = kind_of(message)
    row = CATALOGUE.kinds.get(kind)
    if row is not None and not check_schema(message):
        case = policy_case(message, kind, row, CATALOGUE, {})
        for rule, its in ONLY_OF.items():
            if its != kind:
                rule(case)
        assert not case.found
