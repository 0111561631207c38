"""Some fields are shown, the others stay shut: attacks 16 and 22."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.entry.entry import Body, Kind, encode_entry, leaf_hash
from audit.note.checkpoint import Checkpoint, VerifierKey, sign_checkpoint
from audit.note.tlogproof import format_proof
from audit.record.commitments import (
    FIELD_LABEL,
    HEADER_FIELDS,
    SALT_BYTES,
    SLOTS,
    commitment,
    commitments,
    disclosure_root,
    salt_stream,
    slot_salt,
    slot_values,
)
from audit.record.disclosure import (
    FIRST_LINE,
    MAX_FILE_BYTES,
    SHUT,
    DisclosedField,
    Disclosure,
    format_disclosure,
    open_fields,
    parse_disclosure,
    verify_disclosure,
    verify_fields,
)
from audit.record.statement import parse_statement
from exchange.records.bulletin import encode_bulletin
from exchange.records.receipt import format_receipt
from exchange.v1 import bulletin_pb2
from keys.errors import RefusedError
from keys.varint import write_varint
from tests.exchange.node.keeping import Keeper, delivered, kept_for
from tests.independent import reader
from tests.support.world import bulletin, keys_of

VECTOR = Path(__file__).resolve().parents[2] / "vectors/formats/disclosure.json"
SALT = bytes(range(32))
EXAMPLES = [encode_bulletin(bulletin(f"{number:02d}")) for number in range(1, 26)]
PRESENT = [(data, name) for data in EXAMPLES for name, value in zip(SLOTS, slot_values(data), strict=True) if value]


def refused(act: object) -> str:
    with pytest.raises(RefusedError) as raised:
        act()  # type: ignore[operator] # a function without arguments
    return raised.value.code


def shown_in(told: dict[str, Any]) -> Disclosure:
    """Read a disclosure of the vector."""
    return Disclosure(
        fields=tuple(
            DisclosedField(field=each["field"], value=bytes.fromhex(each["value"]), salt=bytes.fromhex(each["salt"]))
            for each in told["fields"]
        ),
        shut=tuple(bytes.fromhex(each) for each in told["shut"]),
    )


def test_the_vector_holds_byte_for_byte() -> None:
    told = json.loads(VECTOR.read_text())
    salt, data, root = (bytes.fromhex(told[name]) for name in ("salt", "bulletin", "root"))
    assert disclosure_root(salt, data) == root
    assert salt_stream(salt).hex() == told["salt_stream"]
    assert [value.hex() for value in slot_values(data)] == [each["value"] for each in told["slots"]]
    assert [each["name"] for each in told["slots"]] == list(SLOTS)
    assert [each.hex() for each in commitments(salt_stream(salt), slot_values(data))] == told["commitments"]
    for each in told["opened"]:
        shown = shown_in(each)
        assert verify_fields(shown, root) == shown.fields
        assert open_fields(salt, data, [field.field for field in shown.fields]) == shown


@pytest.mark.parametrize("number", [*range(1, 50), 200])
def test_the_reader_that_shares_no_code_cuts_every_field_into_the_same_slot(number: int) -> None:
    """Also those that have no name yet: today's programs commit to what tomorrow's write."""
    field = write_varint(number << 3 | 2) + b"\x01x"
    header = b"\x0a" + bytes([len(field)]) + field
    for data in (header, b"" if number == 1 else field):
        assert slot_values(data) == reader.slots_of(data)
        filled = [value for value in slot_values(data)[1:] if value]
        assert filled == ([field] if data else [])


def test_each_slot_holds_the_fields_that_it_is_named_for() -> None:
    """The schema has them, or keeps their numbers free; no field of the header is worded as one of the bulletin."""
    header, whole = bulletin_pb2.Header.DESCRIPTOR, bulletin_pb2.Bulletin.DESCRIPTOR
    for number, name in {26: "areas", 27: "denied", 28: "parts"}.items():
        assert number not in header.fields_by_number
        field = write_varint(number << 3 | 2) + b"\x01x"
        assert slot_values(b"\x0a" + bytes([len(field)]) + field)[SLOTS.index(name)] == field
        assert name in HEADER_FIELDS
    assert whole.fields_by_name["attachments"].number == 9
    assert slot_values(b"\x4a\x01x")[SLOTS.index("attachments")] == b"\x4a\x01x"
    assert HEADER_FIELDS.isdisjoint(("kind", "persons", "objects", "statements", "body", "attachments"))


@pytest.mark.parametrize("data", EXAMPLES)
def test_every_byte_of_a_bulletin_is_in_exactly_one_slot(data: bytes) -> None:
    """But for the tag and length of the header, whose fields are told apart."""
    _, *values = slot_values(data)
    assert sum(map(len, values)) in range(len(data) - 4, len(data))
    assert all(value in data or len(value) > 0 for value in values if value)


@pytest.mark.parametrize(("data", "name"), PRESENT[:: max(1, len(PRESENT) // 60)])
def test_one_field_opens_with_624_bytes_of_proof_and_no_other_value_does(data: bytes, name: str) -> None:
    root, shown = disclosure_root(SALT, data), open_fields(SALT, data, [name])
    (field,) = shown.fields
    assert verify_fields(shown, root) == (field,)  # control
    assert len(field.salt) + sum(map(len, shown.shut)) == 624
    other = SLOTS[(SLOTS.index(name) + 1) % len(SLOTS)]
    for strange in (
        replace(field, value=field.value + b"\0"),
        replace(field, value=bytes([field.value[0] ^ 1]) + field.value[1:]),
        replace(field, salt=bytes(16)),
        replace(field, field=other),
    ):
        refused_as("RECEIPT_INVALID", replace(shown, fields=(strange,)), root)
    for shut in ((*shown.shut[:3], bytes(32), *shown.shut[4:]), tuple(reversed(shown.shut))):
        refused_as("RECEIPT_INVALID", replace(shown, shut=shut), root)
    for shut in (shown.shut[:-1], (*shown.shut, bytes(32)), (*shown.shut[:-1], bytes(31)), ()):
        refused_as("MALFORMED", replace(shown, shut=shut), root)
    for strange in (
        replace(field, salt=field.salt[:15]),
        replace(field, salt=field.salt + b"\0"),
        replace(field, value=b""),
        replace(field, field="everything"),
    ):
        refused_as("MALFORMED", replace(shown, fields=(strange,)), root)
    refused_as("RECEIPT_INVALID", shown, disclosure_root(os.urandom(32), data))


def refused_as(code: str, shown: Disclosure, root: bytes) -> None:
    assert refused(lambda: verify_fields(shown, root)) == code


def test_several_fields_open_together_once_each_and_in_their_order() -> None:
    data = EXAMPLES[0]
    root, shown = disclosure_root(SALT, data), open_fields(SALT, data, ["subject", "kind", "number"])
    assert [each.field for each in verify_fields(shown, root)] == ["kind", "number", "subject"]
    assert len(shown.shut) == len(SLOTS) - 3
    kind, number, subject = shown.fields
    for fields in ((number, kind, subject), (kind, kind, number, subject), ()):
        refused_as("MALFORMED", replace(shown, fields=fields), root)
    refused_as("MALFORMED", Disclosure(fields=(), shut=tuple(commitments(salt_stream(SALT), slot_values(data)))), root)
    refused_as("RECEIPT_INVALID", replace(shown, fields=(kind, replace(number, value=subject.value), subject)), root)


def test_a_field_that_is_not_there_is_not_opened_and_looks_like_any_other() -> None:
    data = next(each for each in EXAMPLES if not slot_values(each)[SLOTS.index("persons")])
    assert refused(lambda: open_fields(SALT, data, ["persons"])) == "NO_SUCH_BULLETIN"
    assert refused(lambda: open_fields(SALT, data, ["kind", "persons"])) == "NO_SUCH_BULLETIN"
    assert refused(lambda: open_fields(SALT, data, ["everything"])) == "MALFORMED"
    assert refused(lambda: open_fields(SALT, data, [])) == "MALFORMED"
    shut = open_fields(SALT, data, ["kind"]).shut  # of all slots but the first
    # With its key the filler is told from a commitment; without it both are 32 bytes of a keyed function.
    assert shut[SLOTS.index("persons") - 1] != commitment(SLOTS.index("persons"), bytes(16), b"")
    assert len(set(shut)) == len(SLOTS) - 1
    assert len({each[:SALT_BYTES] for each in commitments(salt_stream(SALT), [b""] * len(SLOTS))}) == len(SLOTS)


def test_what_opens_one_field_opens_no_other_and_tells_nothing_of_the_salt() -> None:
    """A slot's salt is no part of another's, and of a slot without bytes nothing that opens it was ever shown."""
    stream = salt_stream(SALT)
    salts = [slot_salt(stream, slot) for slot in range(len(SLOTS))]
    assert len(set(salts)) == len(SLOTS)
    assert len(stream) == len(SLOTS) * 32
    assert salt_stream(SALT[:-1] + b"\0") != stream
    assert disclosure_root(SALT, EXAMPLES[0]) != disclosure_root(SALT[:-1] + b"\0", EXAMPLES[0])


def test_attack_22_guessing_the_other_fields_fails_though_their_values_are_known(tmp_path: Path) -> None:
    """Whoever is shown one field, or has the log after erasure, and knows every value that a field can have."""
    sender, receiver = Keeper("HK-IMMD", tmp_path / "sender"), Keeper("TH-DSI", tmp_path / "receiver")
    try:
        message = kept_for(1, 1)
        delivered(sender, receiver, message)
        statement = parse_statement(receiver.read(message).statement.payload)
        shown = open_fields(statement.salt, statement.bulletin, ["kind"])
        known = list(enumerate(slot_values(statement.bulletin)))
        published, received = sender.bodies(Kind.PUBLISHED)[0], receiver.bodies(Kind.RECEIVED)[0]
        assert published.digest == received.digest  # both sides commit to the same fields
        control = [commitment(slot, salt_of(statement.salt, slot), value) for slot, value in known if value]
        assert set(control[1:]) <= set(shown.shut)  # with the salt it is easy
        for desk in (sender, receiver):
            desk.pass_days(2)
            assert desk.keep_up().erased == 1
        logged = b"".join(each for desk in (sender, receiver) for each in desk.node.reads.read_entries(0, 1000))
        seen = [shown.fields[0].salt, *shown.shut, bytes(16), bytes(32), published.digest, published.statement_digest]
        for guess in guesses(known, seen):
            assert guess not in logged
            assert guess not in shown.shut
            assert guess[:16] != shown.fields[0].salt
    finally:
        sender.close()
        receiver.close()


def salt_of(salt: bytes, slot: int) -> bytes:
    return slot_salt(salt_stream(salt), slot)


def guesses(known: list[tuple[int, bytes]], seen: list[bytes]) -> Iterator[bytes]:
    """Hash every known value in every way that the formats have, with all that an outsider has for salts and keys."""
    for slot, value in known:
        yield hashlib.sha256(value).digest()
        yield hashlib.sha256(b"\0" + value).digest()
        yield hashlib.sha256(b"\0" + bytes([slot]) + value).digest()
        yield hashlib.sha256(FIELD_LABEL + bytes([slot]) + value).digest()
        for key in seen:
            yield commitment(slot, key[:16], value)
            yield commitment(slot, salt_of(key, slot), value)
            yield hmac.digest(key, value, "sha256")
            yield hmac.digest(key, bytes([slot]), "sha256")
            yield hashlib.sha256(FIELD_LABEL + key + bytes([slot]) + value).digest()


# ------------------------------------------------------------------ the file


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Keeper, str]]:
    """A desk with one bulletin, and a file that shows two of its fields."""
    desk = Keeper("HK-IMMD", tmp_path_factory.mktemp("disclosing"))
    message = kept_for(9, 2)
    desk.publish(message)
    statement = parse_statement(desk.read(message).statement.payload)
    index = desk.stored(message).entry_index
    receipt = desk.node.writer.run(lambda w: index, lambda value, group: group.receipt(value, desk.node.entry))
    shown = open_fields(statement.salt, statement.bulletin, ("number", "subject"))
    yield desk, format_disclosure(shown, format_receipt(receipt))
    desk.close()


def test_a_file_is_held_against_the_log_with_nothing_but_its_key(published: tuple[Keeper, str]) -> None:
    desk, text = published
    found = verify_disclosure(parse_disclosure(text), desk.node.vkey)
    assert [each.field for each in found.fields] == ["number", "subject"]
    assert found.body.kind == Kind.PUBLISHED
    assert b"Beware of paid tickets" in found.fields[1].value
    assert b"TH-DSI" not in b"".join(each.value for each in found.fields)  # the audience stays shut


def test_a_file_altered_in_any_line_is_refused(published: tuple[Keeper, str]) -> None:
    desk, text = published
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if not line or line.startswith("—"):
            continue
        for offset in {0, len(line) // 2, len(line) - 1}:
            other = "A" if line[offset] != "A" else "B"
            changed = "\n".join([*lines[:number], line[:offset] + other + line[offset + 1 :], *lines[number + 1 :]])
            with pytest.raises(RefusedError):
                verify_disclosure(parse_disclosure(changed), desk.node.vkey)


def test_a_file_of_another_form_is_refused_and_the_message_says_which_line(published: tuple[Keeper, str]) -> None:
    desk, text = published
    head, _, proof = text.partition("\n\n")
    first, one, two, shut = head.split("\n")
    for wrong, words in {
        "": "line 1",
        text.replace(FIRST_LINE, "exchange/v2/disclosure"): "line 1",
        head: "no proof",
        f"{first}\n{shut}\n\n{proof}": "at least one",
        f"{first}\n\n{proof}": "at least one",
        f"{first}\n{two}\n{one}\n{shut}\n\n{proof}": "in their order",
        f"{first}\n{one}\n{one}\n{shut}\n\n{proof}": "once each",
        f"{first}\neverything AAAA AAAA\n{shut}\n\n{proof}": "line 2",
        f"{first}\n{one} more\n{shut}\n\n{proof}": "line 2",
        f"{first}\nnumber AAAA AAAA\n{shut}\n\n{proof}": f"{SALT_BYTES} were expected",
        f"{first}\n{one}\n{two}\n\n{proof}": f"line 3: the word {SHUT}",
        f"{first}\n{one}\n{two}\n{shut} more\n\n{proof}": f"line 4: the word {SHUT}",
        f"{first}\n{one}\n{two}\n{SHUT} AAAA\n\n{proof}": "576 were expected",
        f"{first}\n{one}\n{shut}\n\n{proof}": "608 were expected",
        f"{first}\n{one}\n{two}\n{shut}\n\n{proof}" + "x" * MAX_FILE_BYTES: "more than",
    }.items():
        with pytest.raises(RefusedError, match=words):
            parse_disclosure(wrong)
    no_entry = "\n".join(line for line in proof.split("\n") if not line.startswith("extra "))
    with pytest.raises(RefusedError, match="no entry"):
        verify_disclosure(parse_disclosure(f"{head}\n\n{no_entry}"), desk.node.vkey)
    with pytest.raises(RefusedError, match="no fields"):
        verify_disclosure(parse_disclosure(f"{head}\n\n{other_entry(desk)}"), desk.node.vkey)


def other_entry(desk: Keeper) -> str:
    """Return the proof of an entry that is neither PUBLISHED nor RECEIVED."""
    return format_receipt(desk.node.writer.run(lambda w: 1, lambda value, group: group.receipt(value, desk.node.entry)))


def test_an_entry_in_another_place_than_its_own_is_refused() -> None:
    """In the tree of a log that is no chain: signed, included, and still nobody's entry of that number."""
    data, signer = EXAMPLES[0], keys_of("HK-IMMD").node.log
    key = VerifierKey(name="hk-immd.exercise.example/log/1", key=signer.key.public_key)
    shown = open_fields(SALT, data, ["kind"])
    for index, good in ((0, True), (5, False)):
        body = Body(
            kind=Kind.PUBLISHED,
            bulletin_id=bytes(range(16)),
            dispatch_digest=SALT,
            statement_digest=SALT,
            digest=disclosure_root(SALT, data),
        )
        entry = encode_entry(index, 1, SALT, body.encode())
        note = sign_checkpoint(Checkpoint(origin=key.name, size=1, root=leaf_hash(entry)), signer)
        file = parse_disclosure(format_disclosure(shown, format_proof(0, (), note, entry)))
        if good:
            assert verify_disclosure(file, key).index == 0  # control
        else:
            assert refused(lambda file=file: verify_disclosure(file, key)) == "MALFORMED"


@settings(max_examples=100, deadline=None)
@given(data=st.text(max_size=300))
def test_garbage_raises_refused_and_nothing_else(data: str) -> None:
    for text in (
        data,
        f"{FIRST_LINE}\n{data}",
        f"{FIRST_LINE}\n{data}\n{SHUT} {data}\n\n{data}",
        f"{FIRST_LINE}\nnumber {data}\n\n{data}",
    ):
        with pytest.raises(RefusedError):
            parse_disclosure(text)
