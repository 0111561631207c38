"""Entries and bodies: one way to read them, pinned by vectors."""

import ast
import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.entry.bodies import encode_bodies
from audit.entry.body import FIELDS
from audit.entry.entry import Body, Entry, Kind, Outcome, Role, genesis_previous, leaf_hash, parse_body, parse_entry
from audit.entry.grammar import LINES, PATTERNS, REFERS, check_body, explain
from audit.v1 import entry_pb2
from keys.errors import IntegrityError, RefusedError
from keys.varint import write_varint
from tests.audit.store import digest, exchange_bodies, first_bodies

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "audit"
DESCRIPTOR = entry_pb2.EntryBody.DESCRIPTOR
SETTLED_KINDS = {
    "AGREEMENT_ADOPTED": 35,
    "GROUP_ADOPTED": 36,
    "SUBSCRIPTION_ADOPTED": 37,
    "PROLONGED": 38,
    "UNLOCKED": 39,
    "OVERRIDDEN": 40,
}
SETTLED_FIELDS = {25: "relation", 26: "matched"}


def body_of(fields: dict[str, int | bytes]) -> Body:
    return Body(**fields)  # type: ignore[arg-type] # wrong or merged on purpose


def field_values() -> st.SearchStrategy[dict[str, int | bytes]]:
    """Draw any subset of the fields, any legal value."""
    drawn: dict[str, st.SearchStrategy[int | bytes]] = {}
    for field in FIELDS[1:]:
        if field.length:
            drawn[field.name] = st.binary(min_size=field.length, max_size=field.length)
        elif field.enum:
            drawn[field.name] = st.sampled_from([int(member) for member in field.enum])
        else:
            drawn[field.name] = st.integers(1, field.limit)
    return st.fixed_dictionaries({"kind": st.sampled_from([int(k) for k in Kind])}, optional=drawn)


def test_the_enums_are_those_of_the_schema() -> None:
    for ours, theirs, prefix in (
        (Kind, entry_pb2.EntryKind, "ENTRY_KIND_"),
        (Role, entry_pb2.ActorRole, "ACTOR_ROLE_"),
        (Outcome, entry_pb2.Outcome, "OUTCOME_"),
    ):
        expected = {name.removeprefix(prefix): number for name, number in theirs.items() if number}
        settled = SETTLED_KINDS if ours is Kind else {}
        assert {member.name: member.value for member in ours} | settled == expected
        assert {member.name for member in ours}.isdisjoint(settled)


def test_the_field_table_is_that_of_the_schema() -> None:
    names = [(field.number, field.name) for field in FIELDS]
    assert [*names, *SETTLED_FIELDS.items()] == [
        (f.number, f.name) for f in sorted(DESCRIPTOR.fields, key=lambda f: f.number)
    ]


def settled_bodies() -> list[bytes]:
    """Return bodies as a later program may write them, each canonical: protobuf itself writes them."""
    kinds = [{"kind": number, "digest": digest(number)} for number in SETTLED_KINDS.values()]
    fields = [{"kind": Kind.HEARTBEAT, name: digest(number)} for number, name in SETTLED_FIELDS.items()]
    return [entry_pb2.EntryBody(**each).SerializeToString(deterministic=True) for each in (*kinds, *fields)]  # type: ignore[arg-type] # by name


@pytest.mark.parametrize("data", settled_bodies(), ids=lambda data: data.hex()[:12])
def test_what_is_settled_for_later_is_not_understood_and_never_written(data: bytes) -> None:
    assert not parse_body(data).understood
    assert explain(data) is None
    with pytest.raises(RefusedError, match="not understood"):
        check_body(data)
    with pytest.raises(IntegrityError, match="not understood"):
        encode_bodies([data], 9)


def test_records_are_32_bytes_and_stand_where_somebody_was_judged() -> None:
    whose = {kind for kind, line in LINES.items() if "records" in line}
    assert whose == {Kind.PUBLISHED, Kind.RECEIVED, Kind.RECEIPT_RECORDED, Kind.OPENED}
    for kind in whose:
        old = next(body for body in exchange_bodies(12, 300) if body.kind == kind)
        new = old._replace(records=digest(1))
        assert check_body(old.encode()) == old  # entries of older logs have none
        assert check_body(new.encode()) == new
        assert new.encode() == old.encode() + b"\xc2\x01\x20" + digest(1)
        with pytest.raises(ValueError, match="records has 31 bytes"):
            new._replace(records=bytes(31)).encode()


def test_a_failed_reading_names_what_was_opened_and_why_it_could_not_be_shown() -> None:
    opened = next(body for body in exchange_bodies(12, 300) if body.kind == Kind.OPENED)
    failed = opened._replace(kind=Kind.READ_FAILED, outcome=Outcome.SIGNER_UNKNOWN, purpose=0, refers_to=304)
    assert check_body(failed.encode()) == failed
    for less in (
        {"actor": b"", "actor_epoch": 0},
        {"bulletin_id": b""},
        {"outcome": 0},
        {"outcome": Outcome.DONE},
        {"refers_to": 0},
        {"digest": b""},
    ):
        with pytest.raises(RefusedError, match="READ_FAILED holds"):
            check_body(failed._replace(**less).encode())
    assert REFERS[Kind.READ_FAILED] == {Kind.OPENED, Kind.EXPORTED}
    assert Kind.OPENED in REFERS[Kind.OPENED]  # reading again


def test_no_field_of_a_body_is_a_string() -> None:
    assert [f.name for f in DESCRIPTOR.fields if f.type in (f.TYPE_STRING, f.TYPE_MESSAGE, f.TYPE_GROUP)] == []


def test_every_kind_has_its_rule() -> None:
    assert set(LINES) == set(Kind)
    assert all("refers" in PATTERNS[kind].groupindex for kind in REFERS)
    assert {kind for kind in Kind if "refers" in PATTERNS[kind].groupindex} == set(REFERS)


@given(field_values())
def test_an_encoded_body_is_what_protobuf_writes_and_reads_back(fields: dict[str, int | bytes]) -> None:
    data = body_of(fields).encode()
    message = entry_pb2.EntryBody(**fields)
    assert data == message.SerializeToString(deterministic=True)
    assert parse_body(data) == body_of(fields)


@given(field_values())
def test_a_pattern_admits_exactly_what_the_rule_of_the_kind_says(fields: dict[str, int | bytes]) -> None:
    data = body_of(fields).encode()
    pattern = PATTERNS[int(fields["kind"])]
    if pattern.fullmatch(data) is None:
        assert explain(data) is not None
        with pytest.raises(RefusedError):
            check_body(data)
    else:
        assert check_body(data) == body_of(fields)


@settings(max_examples=200)
@given(st.data())
def test_a_body_changed_in_one_byte_never_matches_unless_it_is_canonical(data: st.DataObject) -> None:
    bodies = [body.encode() for body in first_bodies() + exchange_bodies(300, 300)]
    raw = bytearray(data.draw(st.sampled_from(bodies)))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    pattern = PATTERNS.get(raw[1])
    if pattern is not None and pattern.fullmatch(raw):
        assert parse_body(bytes(raw)).encode() == bytes(raw)


@given(st.binary(max_size=300))
def test_garbage_raises_refused_error(data: bytes) -> None:
    for read in (parse_body, parse_entry, explain):
        with contextlib.suppress(RefusedError):
            read(data)


@pytest.mark.parametrize("case", json.loads((VECTORS / "body-refused.json").read_text()), ids=lambda c: c["name"])
def test_a_body_that_could_be_read_two_ways_is_refused(case: dict[str, str]) -> None:
    with pytest.raises(RefusedError, match="body, byte"):
        parse_body(bytes.fromhex(case["body"]))


@pytest.mark.parametrize("case", json.loads((VECTORS / "body-unknown.json").read_text()), ids=lambda c: c["name"])
def test_what_is_new_but_canonical_is_not_understood(case: dict[str, str]) -> None:
    data = bytes.fromhex(case["body"])
    assert not parse_body(data).understood
    assert explain(data) is None
    with pytest.raises(ValueError, match="not understood"):
        parse_body(data).encode()


@pytest.mark.parametrize("case", json.loads((VECTORS / "entries.json").read_text()), ids=lambda c: c["name"])
def test_entries_are_those_of_the_vectors(case: dict[str, str | int]) -> None:
    data = bytes.fromhex(str(case["entry"]))
    entry = parse_entry(data)
    assert entry.encode() == data
    assert (entry.index, entry.time_us, entry.previous.hex()) == (case["index"], case["time_us"], case["previous"])
    assert leaf_hash(data).hex() == case["leaf_hash"]
    body = check_body(entry.body)
    told = {k: v.hex() if isinstance(v, bytes) else int(v) for k, v in body.present().items()}
    assert told == case["body"]


def test_genesis_binds_the_origin_and_the_epoch_before() -> None:
    [case] = json.loads((VECTORS / "genesis.json").read_text())
    assert genesis_previous(case["origin"]).hex() == case["previous"]
    root = bytes.fromhex(case["final_root"])
    assert genesis_previous(case["origin"], root).hex() == case["previous_after_final_root"]


def test_an_entry_outside_its_bounds_is_not_made() -> None:
    good = {"index": 0, "time_us": 0, "previous": bytes(32), "body": b"\x08\x20"}
    assert Entry(**good).encode()  # type: ignore[arg-type] # wrong or merged on purpose
    for bad in ({"index": 1 << 64}, {"time_us": -1}, {"previous": bytes(31)}, {"body": b""}, {"body": bytes(4045)}):
        with pytest.raises(ValueError, match="entry"):
            Entry(**(good | bad)).encode()  # type: ignore[arg-type] # wrong or merged on purpose


def test_a_varint_is_as_short_as_can_be() -> None:
    assert [write_varint(n).hex() for n in (0, 127, 128, 300, (1 << 64) - 1)] == [
        "00",
        "7f",
        "8001",
        "ac02",
        "ffffffffffffffffff01",
    ]


def test_bodies_are_made_by_name() -> None:
    calls = [
        (path, node)
        for top in ("audit", "exchange")
        for path in (Path(entry_pb2.__file__).parents[2] / top).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Body"
    ]
    assert len(calls) > 10
    assert [f"{path}:{node.lineno}" for path, node in calls if node.args] == []
