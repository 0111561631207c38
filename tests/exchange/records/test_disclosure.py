"""One field is shown, fifteen stay shut: attacks 16 and 22."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.entry.entry import Body, Kind, encode_entry, leaf_hash
from audit.evidence.disclosure import (
    FIRST_LINE,
    MAX_FILE_BYTES,
    PROOF_BYTES,
    SLOTS,
    Disclosed,
    commitment,
    format_disclosure,
    parse_disclosure,
    verify_disclosure,
    verify_field,
)
from audit.note.checkpoint import Checkpoint, VerifierKey, sign_checkpoint
from audit.note.tlogproof import format_proof
from exchange.records.bulletin import encode_bulletin
from exchange.records.disclosure import disclosure_key, disclosure_root, open_field, slot_values
from exchange.records.receipt import format_receipt
from exchange.records.statement import parse_statement
from keys.errors import RefusedError
from tests.exchange.node.keeping import Keeper, delivered, kept_for
from tests.world import bulletin, keys_of

VECTOR = Path(__file__).resolve().parents[2] / "vectors/formats/disclosure.json"
SALT = bytes(range(32))
EXAMPLES = [encode_bulletin(bulletin(f"{number:02d}")) for number in range(1, 26)]
PRESENT = [(data, name) for data in EXAMPLES for name, value in zip(SLOTS, slot_values(data), strict=True) if value]


def refused(act: object) -> str:
    with pytest.raises(RefusedError) as raised:
        act()  # type: ignore[operator] # a function without arguments
    return raised.value.code


def test_the_vector_holds_byte_for_byte() -> None:
    told = json.loads(VECTOR.read_text())
    salt, data, root = (bytes.fromhex(told[name]) for name in ("salt", "bulletin", "root"))
    assert disclosure_root(salt, data) == root
    assert [value.hex() for value in slot_values(data)] == [each["value"] for each in told["slots"]]
    assert [each["name"] for each in told["slots"]] == list(SLOTS)
    for each in told["opened"]:
        shown = Disclosed(
            field=each["field"],
            value=bytes.fromhex(each["value"]),
            salt=bytes.fromhex(each["salt"]),
            path=tuple(bytes.fromhex(step) for step in each["path"]),
        )
        assert verify_field(shown, root) == shown.value
        assert open_field(salt, data, each["field"]) == shown


def test_the_vector_holds_for_a_reader_that_shares_no_code() -> None:
    """The definition once more, in the words of proto/README.md."""
    told = json.loads(VECTOR.read_text())
    key = hmac.new(bytes.fromhex(told["salt"]), b"exchange/v1/disclosure\0", "sha256").digest()
    row = []
    for slot, each in enumerate(told["slots"]):
        place, value = slot.to_bytes(2, "big"), bytes.fromhex(each["value"])
        salt = hmac.new(key, place, "sha256").digest()[:16]
        filler = hmac.new(key, place + b"absent", "sha256").digest()
        row.append(hashlib.sha256(b"\0" + salt + place + value).digest() if value else filler)
    while len(row) > 1:
        row = [hashlib.sha256(b"\1" + row[at] + row[at + 1]).digest() for at in range(0, len(row), 2)]
    assert row[0].hex() == told["root"]
    assert key.hex() == told["disclosure_key"]


@pytest.mark.parametrize("data", EXAMPLES)
def test_every_byte_of_a_bulletin_is_in_exactly_one_slot(data: bytes) -> None:
    """But for the tag and length of the header, whose fields are told apart."""
    _, *values = slot_values(data)
    assert sum(map(len, values)) in range(len(data) - 4, len(data))
    assert all(value in data or len(value) > 0 for value in values if value)


@pytest.mark.parametrize(("data", "name"), PRESENT[:: max(1, len(PRESENT) // 60)])
def test_one_field_opens_with_at_most_200_bytes_of_proof_and_no_other_value_does(data: bytes, name: str) -> None:
    root, shown = disclosure_root(SALT, data), open_field(SALT, data, name)
    assert verify_field(shown, root) == shown.value  # control
    assert len(shown.salt) + sum(map(len, shown.path)) + 2 <= 200
    other = SLOTS[(SLOTS.index(name) + 1) % len(SLOTS)]
    for strange in (
        replace(shown, value=shown.value + b"\0"),
        replace(shown, value=bytes([shown.value[0] ^ 1]) + shown.value[1:]),
        replace(shown, salt=bytes(16)),
        replace(shown, field=other),
        replace(shown, path=(*shown.path[:3], bytes(32))),
        replace(shown, path=tuple(reversed(shown.path))),
    ):
        assert refused(lambda strange=strange: verify_field(strange, root)) == "RECEIPT_INVALID"
    for strange in (
        replace(shown, path=shown.path[:3]),
        replace(shown, path=(*shown.path, bytes(32))),
        replace(shown, salt=shown.salt[:15]),
        replace(shown, value=b""),
        replace(shown, field="everything"),
    ):
        assert refused(lambda strange=strange: verify_field(strange, root)) == "MALFORMED"
    assert refused(lambda: verify_field(shown, disclosure_root(os.urandom(32), data))) == "RECEIPT_INVALID"


def test_a_field_that_is_not_there_is_not_opened_and_looks_like_any_other() -> None:
    data = next(each for each in EXAMPLES if not slot_values(each)[SLOTS.index("persons")])
    assert refused(lambda: open_field(SALT, data, "persons")) == "NO_SUCH_BULLETIN"
    assert refused(lambda: open_field(SALT, data, "everything")) == "MALFORMED"
    neighbour = open_field(SALT, data, "references")  # its first hash is the one of persons
    key = disclosure_key(SALT)
    # With its key the filler is told from a commitment; without it both are 32 bytes of a keyed function.
    assert neighbour.path[0] != commitment(SLOTS.index("persons"), bytes(16), b"")
    assert len({hmac.digest(key, bytes([0, slot]) + b"absent", "sha256") for slot in range(16)}) == 16


def test_attack_22_guessing_the_other_fields_fails_though_their_values_are_known(tmp_path: Path) -> None:
    """Whoever is shown one field, or has the log after erasure, and knows every value that a field can have."""
    sender, receiver = Keeper("HK-IMMD", tmp_path / "sender"), Keeper("TH-DSI", tmp_path / "receiver")
    try:
        message = kept_for(1, 1)
        delivered(sender, receiver, message)
        statement = parse_statement(receiver.read(message).statement.payload)
        shown = open_field(statement.salt, statement.bulletin, "kind")
        known = list(enumerate(slot_values(statement.bulletin)))
        published, received = sender.bodies(Kind.PUBLISHED)[0], receiver.bodies(Kind.RECEIVED)[0]
        assert published.digest == received.digest  # both sides commit to the same fields
        control = [commitment(slot, salt_of(statement.salt, slot), value) for slot, value in known if value]
        assert open_field(statement.salt, statement.bulletin, "number").path[0] in control  # with the salt it is easy
        for desk in (sender, receiver):
            desk.pass_days(2)
            assert desk.keep_up().erased == 1
        logged = b"".join(each for desk in (sender, receiver) for each in desk.node.reads.read_entries(0, 1000))
        seen = [shown.salt, *shown.path, bytes(16), bytes(32), published.digest, published.statement_digest]
        for guess in guesses(known, seen):
            assert guess not in logged
            assert guess not in shown.path
            assert guess[:16] != shown.salt
    finally:
        sender.close()
        receiver.close()


def salt_of(salt: bytes, slot: int) -> bytes:
    return hmac.digest(disclosure_key(salt), slot.to_bytes(2, "big"), "sha256")[:16]


def guesses(known: list[tuple[int, bytes]], seen: list[bytes]) -> Iterator[bytes]:
    """Hash every known value in every way that the formats have, with all that an outsider has for salts and keys."""
    for slot, value in known:
        yield hashlib.sha256(value).digest()
        yield hashlib.sha256(b"\0" + value).digest()
        yield hashlib.sha256(b"\0" + slot.to_bytes(2, "big") + value).digest()
        for key in seen:
            yield commitment(slot, key[:16], value)
            yield commitment(slot, salt_of(key, slot), value)
            yield hmac.digest(key, value, "sha256")
            yield hmac.digest(key, slot.to_bytes(2, "big"), "sha256")


# ------------------------------------------------------------------ the file


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Keeper, str]]:
    """A desk with one bulletin, and a file that shows two of its fields."""
    desk = Keeper("HK-IMMD", tmp_path_factory.mktemp("disclosing"))
    message = kept_for(9, 2)
    desk.publish(message)
    statement = parse_statement(desk.read(message).statement.payload)
    index = desk.held(message).entry_index
    receipt = desk.node.writer.run(lambda w: index, lambda value, group: group.receipt(value, desk.node.entry))
    fields = [open_field(statement.salt, statement.bulletin, name) for name in ("number", "subject")]
    yield desk, format_disclosure(fields, format_receipt(receipt))
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
        for place in {0, len(line) // 2, len(line) - 1}:
            other = "A" if line[place] != "A" else "B"
            changed = "\n".join([*lines[:number], line[:place] + other + line[place + 1 :], *lines[number + 1 :]])
            with pytest.raises(RefusedError):
                verify_disclosure(parse_disclosure(changed), desk.node.vkey)


def test_a_file_of_another_form_is_refused_and_the_message_says_which_line(published: tuple[Keeper, str]) -> None:
    desk, text = published
    head, _, proof = text.partition("\n\n")
    first, one, two = head.split("\n")
    for wrong, words in {
        "": "line 1",
        text.replace(FIRST_LINE, "exchange/v2/disclosure"): "line 1",
        head: "no proof",
        f"{first}\n\n{proof}": "at least one",
        f"{first}\n{two}\n{one}\n\n{proof}": "in their order",
        f"{first}\n{one}\n{one}\n\n{proof}": "once each",
        f"{first}\neverything AAAA AAAA\n\n{proof}": "line 2",
        f"{first}\n{one} more\n\n{proof}": "line 2",
        f"{first}\nnumber AAAA AAAA\n\n{proof}": f"{PROOF_BYTES} were expected",
        f"{first}\n{one}\n\n{proof}" + "x" * MAX_FILE_BYTES: "more than",
    }.items():
        with pytest.raises(RefusedError, match=words):
            parse_disclosure(wrong)
    no_entry = "\n".join(line for line in proof.split("\n") if not line.startswith("extra "))
    with pytest.raises(RefusedError, match="no entry"):
        verify_disclosure(parse_disclosure(f"{head}\n\n{no_entry}"), desk.node.vkey)
    with pytest.raises(RefusedError, match="no fields"):
        verify_disclosure(parse_disclosure(f"{head}\n\n{other_entry(desk)}"), desk.node.vkey)


def other_entry(desk: Keeper) -> str:
    """Give the proof of an entry that is neither PUBLISHED nor RECEIVED."""
    return format_receipt(desk.node.writer.run(lambda w: 1, lambda value, group: group.receipt(value, desk.node.entry)))


def test_an_entry_in_another_place_than_its_own_is_refused() -> None:
    """In the tree of a log that is no chain: signed, included, and still nobody's entry of that number."""
    data, signer = EXAMPLES[0], keys_of("HK-IMMD").node.log
    key = VerifierKey(name="hk-immd.exercise.example/log/1", key=signer.key.public_key)
    shown = [open_field(SALT, data, "kind")]
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
    for text in (data, f"{FIRST_LINE}\n{data}", f"{FIRST_LINE}\nnumber {data}\n\n{data}"):
        with pytest.raises(RefusedError):
            parse_disclosure(text)
