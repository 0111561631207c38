"""Bodies of a group are written as protobuf writes each of them, for every kind and every field, or not at all."""

import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.entry.bodies import encode_bodies
from audit.entry.bodies_fast import FEW
from audit.entry.body import FIELDS, Body, BodyField
from audit.entry.grammar import LINES
from audit.entry.kinds import Kind, Outcome
from audit.v1 import entry_pb2
from keys.errors import IntegrityError
from tests.audit.store import digest
from tests.support.scale import SCALE

FIRST = 1 << 40  # index of the first entry: what a body of these tests refers to comes before it
FIELD = {field.name: field for field in FIELDS}


def admitted(line: str) -> list[tuple[str, ...]]:
    """Return every list of fields that a rule's line admits, in order."""
    tokens = iter(re.findall(r"[a-z_]+|[\[\]()|]", line))

    def sequence() -> list[tuple[str, ...]]:
        done, now = [], [()]  # type: ignore[var-annotated] # tuples of names
        for token in tokens:
            if token in ")]":
                break
            if token == "|":
                done, now = done + now, [()]
                continue
            part = {"[": lambda: [(), *sequence()], "(": sequence}.get(token, lambda name=token: [(name,)])()
            now = [before + after for before in now for after in part]
        return done + now

    return sequence()


SHAPES = [
    (kind, tuple("outcome" if name == "refusal" else name for name in names), "refusal" in names)
    for kind, line in LINES.items()
    for names in admitted(line)
]


def number(field: BodyField, turn: int) -> int:
    """Return a number of every width that the field may have, the widest with turn 0."""
    top = field.limit if field.name != "refers_to" else FIRST - 1
    edges = [top, 1, 127, 128, *(edge for width in range(2, 10) for edge in ((1 << 7 * width) - 1, 1 << 7 * width))]
    return min(edges[turn % len(edges)], top)


def value(name: str, turn: int, *, refusal: bool = False) -> int | bytes:
    field = FIELD[name]
    if field.length:
        return digest(turn, field.number)[: field.length]
    if field.enum is not None:
        members = [member for member in field.enum if not (refusal and member == Outcome.DONE)]
        return members[turn % len(members)]
    return number(field, turn)


def oracle(bodies: list[Body]) -> list[bytes]:
    return [entry_pb2.EntryBody(**body.present()).SerializeToString(deterministic=True) for body in bodies]


def test_the_shapes_of_these_tests_are_those_of_the_rules() -> None:
    assert {kind for kind, _, _ in SHAPES} == set(Kind)
    assert {name for _, names, _ in SHAPES for name in names} == {field.name for field in FIELDS[1:]}
    assert len(set(SHAPES)) > 1000


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name)
def test_every_shape_of_a_kind_is_written_as_protobuf_writes_it(kind: Kind) -> None:
    for of, names, refusal in SHAPES:
        if of == kind:
            same = [n for n in names if FIELD[n].enum is not None]  # one number of an enum, then each its own
            fields = [{n: value(n, turn, refusal=refusal) for n in names} for turn in range(FEW + 5)]
            alike = [each | {n: fields[0][n] for n in same} for each in fields]
            for group in (alike, fields) if same else (alike,):
                bodies = [Body(kind=kind, **each) for each in group]  # type: ignore[arg-type] # by name
                assert encode_bodies(bodies, FIRST) == oracle(bodies)


def drawn() -> st.SearchStrategy[Body]:
    """Draw a body that its kind's rule admits."""

    def fill(shape: tuple[Kind, tuple[str, ...], bool]) -> st.SearchStrategy[Body]:
        kind, names, refusal = shape
        fields: dict[str, st.SearchStrategy[int | bytes]] = {}
        for field in map(FIELD.__getitem__, names):
            top = field.limit if field.name != "refers_to" else FIRST - 1
            if field.length:
                fields[field.name] = st.binary(min_size=field.length, max_size=field.length)
            elif field.enum is not None:
                allowed = [int(member) for member in field.enum if not (refusal and member == Outcome.DONE)]
                fields[field.name] = st.sampled_from(allowed)
            else:
                fields[field.name] = st.integers(1, top)
        return st.fixed_dictionaries(fields).map(lambda each: Body(kind=kind, **each))  # type: ignore[arg-type] # by name

    return st.sampled_from(SHAPES).flatmap(fill)


@settings(max_examples=100 * SCALE, deadline=None)
@given(st.lists(st.tuples(drawn(), st.integers(1, FEW + 3)), max_size=6), st.randoms(use_true_random=False))
def test_bodies_of_many_shapes_in_any_order_are_written_as_protobuf_writes_them(
    counted: list[tuple[Body, int]], order: object
) -> None:
    bodies = [body for body, count in counted for _ in range(count)]
    order.shuffle(bodies)  # type: ignore[attr-defined] # a random.Random
    assert encode_bodies(bodies, FIRST) == oracle(bodies)
    assert encode_bodies([body.encode() for body in bodies], FIRST) == oracle(bodies)


def field_values() -> Iterator[tuple[str, st.SearchStrategy[int | bytes]]]:
    for field in FIELDS[1:]:
        if field.length:
            lengths = st.sampled_from([field.length, field.length, field.length, field.length - 1])
            yield field.name, lengths.flatmap(lambda length: st.binary(min_size=length, max_size=length))
        else:
            top = 140 if field.enum is not None else field.limit
            yield field.name, st.one_of(st.integers(1, 20), st.integers(-1, top + 1))


ANYTHING = st.one_of(
    drawn(),
    st.fixed_dictionaries({"kind": st.integers(-1, 42)}, optional=dict(field_values())).map(lambda f: Body(**f)),  # type: ignore[arg-type] # wrong on purpose
)


def verdict(bodies: list[Body], first: int) -> str:
    try:
        encode_bodies(bodies, first)
    except (IntegrityError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return "written"


@settings(max_examples=300 * SCALE, deadline=None)
@given(ANYTHING, st.integers(0, 30))
def test_what_is_refused_alone_is_refused_in_a_group_and_in_the_same_words(body: Body, first: int) -> None:
    alone = verdict([body], first)
    assert verdict([body] * (FEW + 2), first) == alone
    assert verdict([body] * (FEW + 2) + [Body(kind=Kind.HEARTBEAT)] * (FEW + 2), first) == alone


@settings(max_examples=200 * SCALE, deadline=None)
@given(drawn(), ANYTHING, st.integers(0, FEW + 2))
def test_one_body_that_breaks_its_rule_is_seen_among_many_that_do_not(good: Body, other: Body, index: int) -> None:
    bodies = [good] * (FEW + 2)
    bodies.insert(index, other)
    assert verdict(bodies, FIRST) == verdict([other], FIRST + index)


@pytest.mark.parametrize(
    ("fields", "wrong", "message"),
    [
        ({"kind": Kind.REFUSED, "outcome": Outcome.RULES}, {"outcome": Outcome.DONE}, "would break its rule"),
        ({"kind": Kind.CLOCK_STEPPED, "outcome": Outcome.DONE}, {"outcome": 4000}, "would break its rule"),
        ({"kind": Kind.ATTACHED, "refers_to": 1, "digest": digest(1)}, {"refers_to": 1000}, "would refer to 1000"),
        ({"kind": Kind.HEARTBEAT, "count": 300}, {"count": -1}, "count is out of its bounds: -1"),
        ({"kind": Kind.HEARTBEAT, "count": 300}, {"count": 1 << 64}, "count is out of its bounds"),
        ({"kind": Kind.GENESIS, "digest": digest(1)}, {"digest": bytes(31)}, "digest has 31 bytes"),
        ({"kind": Kind.GENESIS, "digest": digest(1)}, {"understood": False}, "was not understood"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_last_of_many_is_refused_where_only_its_value_is_wrong(
    fields: dict[str, int | bytes], wrong: dict[str, int | bytes], message: str
) -> None:
    good, bad = Body(**fields), Body(**(fields | wrong))  # type: ignore[arg-type] # by name
    many = [good] * 2 * FEW
    assert verdict(many, 100) == "written"  # control
    assert message in verdict([*many, bad], 100)
    assert message in verdict([*many, *[bad] * 2 * FEW], 100)


def test_what_another_epoch_holds_may_have_any_index() -> None:
    body = Body(kind=Kind.ATTACHED, refers_to=1 << 50, refers_to_epoch=1, digest=digest(1))
    assert verdict([body] * 2 * FEW, 100) == "written"
