"""What an officer signs, to the byte; what is out of its bounds is refused."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.record.statement import (
    MAX_LISTED,
    MAX_RESTS_ON,
    MAX_STATEMENT_BYTES,
    RESTS_ON_TYPES,
    Asked,
    LogHead,
    ReadPurpose,
    ReadRequest,
    RestsOn,
    Statement,
    opened_digest,
    opening,
    parse_read,
    parse_statement,
    parse_stored_read,
    read_digest,
    statement_digest,
)
from audit.record.wire import MAX_RECIPIENTS
from audit.v1 import statement_pb2
from exchange.records.bulletin import recipients_of
from exchange.v1 import bulletin_pb2
from keys.errors import RefusedError
from keys.identity import AgencyId, key_id
from keys.refusals import Outcome
from keys.scan import scan
from tests.exchange.records import formats

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "formats" / "records.json").read_text())

AGENCY = st.from_regex(r"\A[A-Z]{2}(-[A-Z0-9]{2,8}){1,3}\Z").map(AgencyId)
DIGEST = st.binary(min_size=32, max_size=32)
NUMBER = st.integers(1, (1 << 64) - 1)
HEAD = st.builds(LogHead, origin=st.from_regex(r"\A[a-z.-]{1,40}/log/[1-9]\Z"), size=NUMBER, root=DIGEST)
STATEMENT = st.builds(
    Statement,
    federation_id=DIGEST,
    salt=DIGEST,
    bulletin=st.binary(min_size=1, max_size=300),
    roster_digest=DIGEST,
    recipients=st.sets(AGENCY, min_size=1, max_size=64).map(lambda found: tuple(sorted(found))),
    log_head=st.none() | HEAD,
    rests_on=st.sets(st.builds(RestsOn, st.sampled_from(sorted(RESTS_ON_TYPES)), DIGEST), max_size=5).map(
        lambda found: tuple(sorted(found))
    ),
)
LISTED = st.sets(st.tuples(AGENCY, st.binary(min_size=16, max_size=16)), min_size=1, max_size=9)


def a_read(**changes: Any) -> ReadRequest:
    read = ReadRequest(
        federation_id=formats.FEDERATION,
        agency=formats.PEER,
        officer="noor",
        purpose=ReadPurpose.TRIAGE,
        case="PDRM-1",
        reason="because",
        nonce=bytes(16),
        time_ms=1,
        sender=formats.SENDER,
        bulletin_id=formats.BULLETIN_ID,
        statement_digest=bytes(32),
    )
    return replace(read, **changes)


def refusal(action: Any, *values: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        action(*values)
    return caught.value.code


def from_vector(fields: dict[str, Any]) -> Statement:
    head = fields["log_head"] and LogHead(
        origin=fields["log_head"]["origin"],
        size=fields["log_head"]["size"],
        root=bytes.fromhex(fields["log_head"]["root"]),
    )
    digests = {name: bytes.fromhex(fields[name]) for name in ("federation_id", "salt", "bulletin", "roster_digest")}
    rests_on = tuple(RestsOn(each["type"], bytes.fromhex(each["digest"])) for each in fields.get("rests_on", ()))
    return Statement(**digests, recipients=tuple(fields["recipients"]), log_head=head, rests_on=rests_on)


@pytest.mark.parametrize("name", ["statement", "statement: first of a log", "statement: rests on records"])
def test_a_statement_is_written_and_read_as_its_vector(name: str) -> None:
    vector = VECTORS["records"][name]
    statement, payload = from_vector(vector["fields"]), bytes.fromhex(vector["payload"])
    assert statement.encode() == payload
    assert parse_statement(payload) == statement
    assert statement_digest(payload).hex() == vector["digest"]


READS = {name: vector for name, vector in VECTORS["records"].items() if name.startswith("read: ")}


def told(read: ReadRequest) -> dict[str, Any]:
    fields = asdict(read) | {"listed": [[sender, each.hex()] for sender, each in read.listed]}
    head = read.log_head and {
        "origin": read.log_head.origin,
        "size": read.log_head.size,
        "root": read.log_head.root.hex(),
    }
    return {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in (fields | {"log_head": head}).items()
    }


@pytest.mark.parametrize("name", READS)
def test_a_read_request_is_read_and_written_as_its_vector(name: str) -> None:
    payload = bytes.fromhex(READS[name]["payload"])
    read = parse_stored_read(payload)
    assert told(read) == READS[name]["fields"]
    assert read_digest(payload).hex() == READS[name]["digest"]
    if name.endswith("by an older program"):  # a node has kept it, and takes no new one of this form
        assert refusal(parse_read, payload) == "MALFORMED"
        assert parse_read(read.encode()) == read
    else:
        assert parse_read(payload) == read
        assert read.encode() == payload


def test_the_vectors_ask_everything_that_can_be_asked() -> None:
    assert {parse_stored_read(bytes.fromhex(each["payload"])).asked for each in READS.values()} == set(Asked)
    numbers = {field.name.upper(): field.number for field in statement_pb2.Read.DESCRIPTOR.oneofs[0].fields}
    assert numbers == {asked.name: int(asked) for asked in Asked}


def test_key_id_opening_and_opened_are_those_of_the_vectors() -> None:
    key, shown, opened = (VECTORS["derived"][name] for name in ("key_id", "opening", "opened"))
    made = key_id(key["usage"], key["suite"], key["owner"], bytes.fromhex(key["public_key"]))
    assert made.hex() == key["key_id"]
    made = opening(bytes.fromhex(shown["salt"]), bytes.fromhex(shown["delivery_digest"]))
    assert made.hex() == shown["opening"]
    made = opened_digest(bytes.fromhex(opened["blind"]), bytes.fromhex(opened["request"]))
    assert made.hex() == opened["digest"]


@settings(max_examples=100)
@given(statement=STATEMENT)
def test_every_statement_comes_back_as_it_was_and_passes_the_scan(statement: Statement) -> None:
    payload = statement.encode()
    assert not scan(payload, statement_pb2.Statement.DESCRIPTOR)
    assert parse_statement(payload) == statement


WHY = [purpose for purpose in ReadPurpose if purpose <= ReadPurpose.AUTOMATED]
ONE = {"sender": formats.SENDER, "bulletin_id": formats.BULLETIN_ID, "statement_digest": bytes(32)}
NONE: dict[str, Any] = {"sender": "", "bulletin_id": b"", "statement_digest": b""}
ABOUT: dict[str, Any] = NONE | {"purpose": None, "case": "", "reason": ""}
AIM = st.one_of(
    st.fixed_dictionaries({"purpose": st.sampled_from(ReadPurpose)}),
    st.fixed_dictionaries(
        {"purpose": st.sampled_from(WHY), "listed": LISTED.map(lambda listed: tuple(sorted(listed)))}
    ).map(lambda aim: NONE | aim),
    st.fixed_dictionaries(
        {
            "position": st.integers(1, (1 << 63) - 1),
            "outcome": st.none() | st.sampled_from([each for each in Outcome if each is not Outcome.DONE]),
        }
    ).map(lambda aim: ABOUT | aim),
)


@settings(max_examples=100)
@given(aim=AIM, head=st.none() | HEAD, reason=st.text(min_size=1, max_size=99))
def test_every_read_request_comes_back_as_it_was(aim: dict[str, Any], head: LogHead | None, reason: str) -> None:
    read = a_read(**{"log_head": head, "reason": reason} | aim)
    assert parse_read(read.encode()) == read
    assert parse_stored_read(read.encode()) == read


@settings(max_examples=200)
@given(data=st.binary(max_size=200))
def test_garbage_is_refused(data: bytes) -> None:
    for parse in (parse_statement, parse_read, parse_stored_read):
        assert refusal(parse, data) in {"MALFORMED", "NOT_UNDERSTOOD"}


@settings(max_examples=200)
@given(offset=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_never_raises_anything_but_a_refusal(offset: int, bit: int) -> None:
    payload = bytearray(formats.STATEMENT.encode())
    payload[offset % len(payload)] ^= 1 << bit
    try:
        other = parse_statement(bytes(payload))
    except RefusedError:
        return
    assert other != formats.STATEMENT
    assert other.encode() == payload


@pytest.mark.parametrize(
    "changes",
    [
        {"federation_id": bytes(31)},
        {"federation_id": b""},
        {"salt": bytes(33)},
        {"roster_digest": b""},
        {"bulletin": b""},
        {"recipients": ()},
        {"recipients": ("MY-PDRM", "HK-IMMD")},
        {"recipients": ("HK-IMMD", "HK-IMMD")},
        {"recipients": ("hk-immd",)},
        {"recipients": tuple(f"HK-A{number:04}" for number in range(MAX_RECIPIENTS + 1))},
        {"rests_on": (RestsOn("", bytes(32)),)},
        {"rests_on": (RestsOn("group", bytes(31)),)},
        {"rests_on": (RestsOn("group", bytes(32)),) * 2},
        {"rests_on": (RestsOn("group", bytes(32)), RestsOn("agreement", bytes(32)))},
        {"rests_on": (RestsOn("group", b"\1" * 32), RestsOn("group", bytes(32)))},
        {"rests_on": tuple(RestsOn("group", bytes((n,)) * 32) for n in range(MAX_RESTS_ON + 1))},
        {"log_head": LogHead(origin="", size=1, root=bytes(32))},
        {"log_head": LogHead(origin="a b", size=1, root=bytes(32))},
        {"log_head": LogHead(origin="a" * 256, size=1, root=bytes(32))},
        {"log_head": LogHead(origin="a", size=0, root=bytes(32))},
        {"log_head": LogHead(origin="a", size=1, root=bytes(31))},
    ],
    ids=str,
)
def test_a_statement_with_a_field_out_of_bounds_is_malformed(changes: dict[str, Any]) -> None:
    assert refusal(parse_statement, replace(formats.STATEMENT, **changes).encode()) == "MALFORMED"


def test_a_statement_takes_as_many_recipients_as_the_limit_says() -> None:
    recipients = tuple(AgencyId(f"HK-A{number:03}") for number in range(MAX_RECIPIENTS))
    assert parse_statement(replace(formats.STATEMENT, recipients=recipients).encode()).recipients == recipients


def test_a_statement_above_its_limit_is_too_large_and_at_it_is_not() -> None:
    large = replace(formats.STATEMENT, bulletin=bytes(MAX_STATEMENT_BYTES // 2))
    room = MAX_STATEMENT_BYTES - len(large.encode())
    most = replace(large, bulletin=bytes(len(large.bulletin) + room))
    assert len(most.encode()) == MAX_STATEMENT_BYTES
    assert parse_statement(most.encode()) == most
    more = replace(most, bulletin=most.bulletin + b"\0")
    assert refusal(parse_statement, more.encode()) == "TOO_LARGE"


def test_an_unknown_field_in_a_statement_is_not_understood() -> None:
    assert refusal(parse_statement, formats.STATEMENT.encode() + b"\x40\x01") == "NOT_UNDERSTOOD"


@pytest.mark.parametrize("name", ["roster", "statement", "catalogue", "a type of a later program"])
def test_a_statement_that_rests_on_a_type_that_we_do_not_know_is_not_understood(name: str) -> None:
    assert refusal(parse_statement, replace(formats.STATEMENT, rests_on=(RestsOn(name, bytes(32)),)).encode()) == (
        "NOT_UNDERSTOOD"
    )


def test_a_statement_rests_on_as_many_records_as_the_limit_says() -> None:
    rests_on = tuple(RestsOn("group", bytes((number,)) * 32) for number in range(MAX_RESTS_ON))
    assert parse_statement(replace(formats.STATEMENT, rests_on=rests_on).encode()).rests_on == rests_on


def test_a_default_value_that_is_written_is_malformed() -> None:
    assert refusal(parse_statement, b"\x0a\x00" + formats.STATEMENT.encode()) == "MALFORMED"


def test_text_that_is_not_utf8_is_malformed() -> None:
    payload = formats.STATEMENT.encode().replace(b"KH-GDI", b"KH-GD\xff")
    assert refusal(parse_statement, payload) == "MALFORMED"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"agency": "pdrm"}, "MALFORMED"),
        ({"officer": "Noor"}, "MALFORMED"),
        ({"officer": ""}, "MALFORMED"),
        ({"nonce": bytes(15)}, "MALFORMED"),
        ({"case": ""}, "MALFORMED"),
        ({"case": "c" * 65}, "MALFORMED"),
        ({"reason": ""}, "MALFORMED"),
        ({"reason": "r" * 501}, "MALFORMED"),
        ({"time_ms": 0}, "MALFORMED"),
        ({"purpose": 0}, "MALFORMED"),
        ({"purpose": 9}, "NOT_UNDERSTOOD"),
        ({"sender": ""}, "MALFORMED"),
        ({"sender": "x"}, "MALFORMED"),
        ({"bulletin_id": b""}, "MALFORMED"),
        ({"statement_digest": b""}, "MALFORMED"),
        ({"sender": "", "bulletin_id": b"", "statement_digest": b""}, "MALFORMED"),
        ({"purpose": None}, "MALFORMED"),
        ({"purpose": ReadPurpose.HOLD, "case": ""}, "MALFORMED"),
        ({"listed": ((formats.SENDER, bytes(16)),), "purpose": ReadPurpose.EXPORT}, "MALFORMED"),
        ({"position": 7}, "MALFORMED"),
        (ABOUT | {"position": 7, "case": "c"}, "MALFORMED"),
        (ABOUT | {"position": 7, "reason": "r"}, "MALFORMED"),
        (ABOUT | {"position": 7, "purpose": ReadPurpose.TRIAGE}, "MALFORMED"),
        (ABOUT | {"position": 1 << 63}, "MALFORMED"),
        (ABOUT | {"position": 7, "outcome": Outcome.DONE}, "MALFORMED"),
        (ABOUT | {"position": 7, "outcome": 9999}, "NOT_UNDERSTOOD"),
        (ABOUT | {"position": 7, "outcome": 0}, "MALFORMED"),
    ],
    ids=str,
)
def test_a_read_request_with_a_field_out_of_bounds_is_refused(changes: dict[str, Any], code: str) -> None:
    assert refusal(parse_read, a_read(**changes).encode()) == code


@pytest.mark.parametrize(
    "listed",
    [
        ((formats.SENDER, bytes(16)),) * 2,
        ((formats.PEER, bytes(16)), (formats.SENDER, bytes(16))),
        ((formats.SENDER, bytes(15)),),
        tuple((formats.SENDER, number.to_bytes(16, "big")) for number in range(MAX_LISTED + 1)),
    ],
    ids=["twice", "descending", "short-id", "too-many"],
)
def test_a_list_of_bulletins_out_of_bounds_is_malformed(listed: tuple[tuple[AgencyId, bytes], ...]) -> None:
    lists = a_read(sender="", bulletin_id=b"", statement_digest=b"", listed=listed)
    assert refusal(parse_read, lists.encode()) == "MALFORMED"


def test_the_longest_list_of_bulletins_fits() -> None:
    longest = AgencyId("AA-BBBBBBBB-CCCCCCCC-DDDDDDDD")
    listed = tuple((longest, number.to_bytes(16, "big")) for number in range(MAX_LISTED))
    lists = a_read(sender="", bulletin_id=b"", statement_digest=b"", listed=listed, reason="😀" * 500)
    assert parse_read(lists.encode()).listed == listed


def raw_read(**asked: Any) -> bytes:
    """Return a request as a program writes it that keeps none of our rules."""
    bare = statement_pb2.Read.FromString(a_read().encode())
    bare.ClearField("open")
    bare.MergeFrom(statement_pb2.Read(**asked))
    return bare.SerializeToString(deterministic=True)


@pytest.mark.parametrize("parse", [parse_read, parse_stored_read])
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"open": ONE, "purpose": 6},
        {"hold": ONE},
        {"list": {}},
        {"open": {}},
        {"again": {}},
        {"failed": {"outcome": 21}},
        {"list": {"listed": [{"sender": "HK-IMMD"}]}},
    ],
    ids=str,
)
def test_what_no_program_of_ours_asks_is_malformed(asked: dict[str, Any], parse: Any) -> None:
    """TRIAGE, which stands in it, is no purpose of a hold; an empty list, target or position is none."""
    assert refusal(parse, raw_read(**asked)) == "MALFORMED"


def test_what_an_older_program_asks_beside_what_is_asked_now_is_malformed() -> None:
    payload = statement_pb2.Read.FromString(a_read().encode())
    for old in ({"sender": formats.SENDER}, {"bulletin_id": bytes(16)}, {"statement_digest": bytes(32)}):
        both = statement_pb2.Read(**old)  # type: ignore[arg-type] # by name
        both.MergeFrom(payload)
        for parse in (parse_read, parse_stored_read):
            assert refusal(parse, both.SerializeToString(deterministic=True)) == "MALFORMED"


def test_two_things_asked_at_once_are_malformed() -> None:
    again = statement_pb2.Read(again=statement_pb2.ReadAgain(position=7)).SerializeToString()
    assert refusal(parse_read, a_read().encode() + again) == "MALFORMED"


def test_recipients_are_the_addressees_once_each_without_the_sender() -> None:
    named = ["TH-DSI", "HK-IMMD", "MY-PDRM", "TH-DSI"]
    addressees = [bulletin_pb2.Addressee(agency=agency) for agency in named]
    assert recipients_of(addressees, "HK-IMMD") == ("MY-PDRM", "TH-DSI")


def test_a_bulletin_that_addresses_nobody_else_has_no_recipient() -> None:
    addressees = [bulletin_pb2.Addressee(agency="HK-IMMD")]
    assert refusal(recipients_of, addressees, "HK-IMMD") == "NO_RECIPIENT"


def test_a_group_is_no_agency() -> None:
    assert refusal(recipients_of, [bulletin_pb2.Addressee(agency="@asean")], "HK-IMMD") == "MALFORMED"


def test_the_enums_have_the_numbers_of_the_schema() -> None:
    names = {f"READ_PURPOSE_{purpose.name}": int(purpose) for purpose in ReadPurpose}
    assert {"READ_PURPOSE_UNSPECIFIED": 0} | names == dict(statement_pb2.ReadPurpose.items())
