"""Cosignatures of both types: the published bytes, what refuses them, and how they are merged under a note."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.note.checkpoint import Checkpoint, SignatureLine, parse_note, sign_checkpoint
from audit.note.cosignature import (
    CosignerKey,
    add_lines,
    cosign,
    cosigner_key,
    parse_cosigner_key,
    parse_lines,
    signed_message,
    verify_cosignature,
)
from keys.errors import RefusedError
from keys.identity import Usage
from keys.signer import Ed25519Signer, MlDsa44Signer, Signer

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "audit"
SHARED = Path(__file__).resolve().parents[3] / "../shared/vectors/c2sp-tlog/examples.json"
VECTOR = json.loads((VECTORS / "cosignature.json").read_text())
ORIGIN, NAME, TIME = "hk-sb.exercise.example/log/1", "hk-immd.exercise.example/witness", 1_795_000_060
CHECKPOINT = Checkpoint(origin=ORIGIN, size=34, root=bytes(range(32)))
LOG = Ed25519Signer.from_seed(Usage.LOG, "HK-SB", bytes(range(32)))
SIGNERS: list[Signer] = [
    Ed25519Signer.from_seed(Usage.WITNESS, "HK-IMMD", bytes(range(1, 33))),
    MlDsa44Signer.from_seed(Usage.WITNESS, "HK-IMMD", bytes(range(2, 34))),
]
# c2sp.org/tlog-cosignature's own example of a checkpoint, as the structure of type 0x06 spells it out.
C2SP_ROOT = bytes.fromhex("0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62")
C2SP_MESSAGE = (
    "737562747265652f76310a00"  # "subtree/v1", newline, zero
    "1b6578616d706c652e636f6d2f626568696e642d7468652d736f6661"  # the cosigner's name
    "00000000641850cb"  # the time
    "1b6578616d706c652e636f6d2f626568696e642d7468652d736f6661"  # the origin
    "0000000000000000"  # from leaf 0
    "00000000013e2dc3"  # to the size
    "0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62"
)


def line_by(signer: Signer, time: int = TIME, checkpoint: Checkpoint = CHECKPOINT) -> str:
    return cosign(checkpoint, NAME, signer, time)


def key_of(signer: Signer) -> CosignerKey:
    return cosigner_key(NAME, signer.key.public_key)


@pytest.mark.parametrize("row", VECTOR["cosignatures"], ids=lambda row: f"type {row['type']} by {row['vkey'][:12]}")
def test_the_frozen_cosignatures_verify(row: dict[str, str]) -> None:
    key, note = parse_cosigner_key(row["vkey"]), parse_note(VECTOR["note"])
    [line] = parse_lines(row["line"])
    assert verify_cosignature(line, note.checkpoint, key) == row["time"]
    assert signed_message(note.checkpoint, key, int(row["time"])).hex() == row["message"]
    assert str(key) == row["vkey"]
    assert line in note.signatures


def test_c2sp_s_own_example_of_a_cosigned_checkpoint_is_read() -> None:
    if not SHARED.exists():
        pytest.skip("../shared/vectors is missing")
    example = json.loads(SHARED.read_text())["checkpoint_example"]
    note = parse_note(example)
    assert note.signatures[1].name == "witness.example.com/w1"
    assert int.from_bytes(note.signatures[1].signature[:8], "big") == 1_679_315_147
    assert str(note.signatures[0]) + str(note.signatures[1]) == example.partition("\n\n")[2]
    key = CosignerKey(name="witness.example.com/w1", type=4, key=bytes(32))
    assert signed_message(note.checkpoint, key, 1_679_315_147).decode().splitlines() == [
        "cosignature/v1",
        "time 1679315147",
        *example.splitlines()[:3],
    ]


def test_the_structure_of_type_6_is_c2sp_s_to_the_byte() -> None:
    checkpoint = Checkpoint(origin="example.com/behind-the-sofa", size=20852163, root=C2SP_ROOT)
    key = CosignerKey(name=checkpoint.origin, type=6, key=bytes(1312))
    assert signed_message(checkpoint, key, 1_679_315_147).hex() == C2SP_MESSAGE


@pytest.mark.parametrize("signer", SIGNERS, ids=["Ed25519", "ML-DSA-44"])
@pytest.mark.parametrize(
    "changed",
    [
        Checkpoint(origin=ORIGIN, size=35, root=CHECKPOINT.root),
        Checkpoint(origin=ORIGIN, size=34, root=bytes(32)),
        Checkpoint(origin=ORIGIN[:-1] + "2", size=34, root=CHECKPOINT.root),
    ],
    ids=["size", "root", "origin"],
)
def test_a_cosignature_of_another_checkpoint_is_refused(signer: Signer, changed: Checkpoint) -> None:
    [line] = parse_lines(line_by(signer))
    assert verify_cosignature(line, CHECKPOINT, key_of(signer)) == TIME  # control
    with pytest.raises(RefusedError) as refused:
        verify_cosignature(line, changed, key_of(signer))
    assert refused.value.code == "SIGNATURE_INVALID"


@pytest.mark.parametrize("signer", SIGNERS, ids=["Ed25519", "ML-DSA-44"])
@pytest.mark.parametrize("offset", [0, 7, 8, 40, -1], ids=["time-high", "time-low", "first", "middle", "last"])
def test_one_bit_of_time_or_signature_refuses_the_line(signer: Signer, offset: int) -> None:
    [line] = parse_lines(line_by(signer))
    data = bytearray(line.signature)
    data[offset] ^= 1
    changed = type(line)(name=line.name, key_hash=line.key_hash, signature=bytes(data))
    with pytest.raises(RefusedError):
        verify_cosignature(changed, CHECKPOINT, key_of(signer))


@pytest.mark.parametrize("signer", SIGNERS, ids=["Ed25519", "ML-DSA-44"])
def test_a_shorter_or_longer_signature_is_refused(signer: Signer) -> None:
    [line] = parse_lines(line_by(signer))
    for data in (line.signature[:-1], line.signature + b"\0", line.signature[8:]):
        with pytest.raises(RefusedError):
            verify_cosignature(
                type(line)(name=line.name, key_hash=line.key_hash, signature=data), CHECKPOINT, key_of(signer)
            )


def test_what_follows_the_signature_is_not_taken_for_the_message() -> None:
    signer = SIGNERS[0]
    key, time = key_of(signer), TIME.to_bytes(8, "big")
    longer = signer.sign(b"x" + signed_message(CHECKPOINT, key, TIME)) + b"x"
    line = SignatureLine(name=NAME, key_hash=key.key_hash, signature=time + longer)
    with pytest.raises(RefusedError):
        verify_cosignature(line, CHECKPOINT, key)


def test_a_line_under_another_name_is_refused_although_the_key_is_the_same() -> None:
    signer = SIGNERS[0]  # type 0x04 does not commit to the name
    [line] = parse_lines(cosign(CHECKPOINT, "other.example", signer, TIME))
    with pytest.raises(RefusedError):
        verify_cosignature(line, CHECKPOINT, key_of(signer))
    renamed = SignatureLine(name=NAME, key_hash=key_of(signer).key_hash, signature=line.signature)
    assert verify_cosignature(renamed, CHECKPOINT, key_of(signer)) == TIME  # control


@pytest.mark.parametrize("signer", SIGNERS, ids=["Ed25519", "ML-DSA-44"])
def test_names_and_origins_have_at_most_255_bytes(signer: Signer) -> None:
    longest, longer = "w" * 255, "w" * 256
    assert cosigner_key(longest, signer.key.public_key).name == longest
    with pytest.raises(RefusedError, match="255"):
        cosigner_key(longer, signer.key.public_key)
    fits = Checkpoint(origin=longest, size=1, root=bytes(32))
    [line] = parse_lines(cosign(fits, NAME, signer, TIME))
    assert verify_cosignature(line, fits, key_of(signer)) == TIME
    if len(signer.key.public_key) == 1312:
        with pytest.raises(RefusedError, match="an origin of 256 bytes"):
            cosign(Checkpoint(origin=longer, size=1, root=bytes(32)), NAME, signer, TIME)


def test_a_key_of_another_length_than_its_type_s_is_told() -> None:
    for kind, signer in ((6, SIGNERS[0]), (4, SIGNERS[1])):
        with pytest.raises(RefusedError, match="bytes instead of"):
            parse_cosigner_key(str(CosignerKey(name=NAME, type=kind, key=signer.key.public_key)))


def test_a_time_beyond_63_bits_is_refused() -> None:
    signer = SIGNERS[0]
    [line] = parse_lines(line_by(signer, (1 << 63) - 1))
    assert verify_cosignature(line, CHECKPOINT, key_of(signer)) == (1 << 63) - 1  # control
    [line] = parse_lines(line_by(signer, 1 << 63))
    with pytest.raises(RefusedError):
        verify_cosignature(line, CHECKPOINT, key_of(signer))


def test_a_log_s_plain_signature_is_no_cosignature_and_the_other_way_round() -> None:
    text = CHECKPOINT.text().encode()
    key = cosigner_key(NAME, LOG.key.public_key)
    [line] = parse_lines(cosign(CHECKPOINT, NAME, LOG, TIME))
    assert verify_cosignature(line, CHECKPOINT, key) == TIME  # control
    plain = type(line)(name=NAME, key_hash=key.key_hash, signature=TIME.to_bytes(8, "big") + LOG.sign(text))
    with pytest.raises(RefusedError):
        verify_cosignature(plain, CHECKPOINT, key)


def test_a_key_is_registered_only_if_it_is_a_good_point() -> None:
    assert cosigner_key(NAME, SIGNERS[0].key.public_key).type == 4  # control
    for bad in (bytes(32), b"\1" + bytes(31), b"\xff" * 32):  # small order, neutral element, not canonical
        with pytest.raises(RefusedError):
            cosigner_key(NAME, bad)
        text = str(CosignerKey(name=NAME, type=4, key=bad))
        with pytest.raises(RefusedError):
            parse_cosigner_key(text)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("+", "-", 1),
        lambda text: text[:-4],
        lambda text: f"{NAME}+00000000+{text.split('+', 2)[2]}",
        lambda text: str(CosignerKey(name=NAME, type=1, key=SIGNERS[0].key.public_key)),
        lambda text: str(CosignerKey(name=NAME, type=6, key=SIGNERS[0].key.public_key)),
        lambda text: str(CosignerKey(name=NAME, type=4, key=SIGNERS[1].key.public_key)),
        lambda text: text + "\n\n",
        lambda text: "",
    ],
    ids=["plus", "short", "hash", "log-key", "six-short", "four-long", "two-newlines", "empty"],
)
def test_a_malformed_cosigner_key_is_refused(change: Callable[[str], str]) -> None:
    good = str(key_of(SIGNERS[0]))
    assert parse_cosigner_key(good + "\n") == key_of(SIGNERS[0])  # control
    with pytest.raises(RefusedError):
        parse_cosigner_key(change(good))


def test_lines_are_merged_own_first_and_none_twice() -> None:
    note = sign_checkpoint(CHECKPOINT, LOG)
    own = note.partition("\n\n")[2]
    first, second, later = line_by(SIGNERS[0]), line_by(SIGNERS[1]), line_by(SIGNERS[0], TIME + 60)
    second_own = cosign(CHECKPOINT, ORIGIN, MlDsa44Signer.from_seed(Usage.LOG, "HK-SB", bytes(range(3, 35))), TIME)
    merged = add_lines(add_lines(note, first + second), second_own)
    assert merged == f"{CHECKPOINT.text()}\n{own}{second_own}{first}{second}"
    assert add_lines(merged, first) == merged
    assert add_lines(merged, later) == merged.replace(first, later)


def test_no_more_than_32_lines_stand_under_a_note() -> None:
    note = sign_checkpoint(CHECKPOINT, LOG)
    lines = "".join(cosign(CHECKPOINT, f"w{number}.example", SIGNERS[0], TIME) for number in range(31))
    full = add_lines(note, lines)
    assert len(parse_note(full).signatures) == 32
    with pytest.raises(RefusedError):
        add_lines(full, cosign(CHECKPOINT, "w32.example", SIGNERS[0], TIME))


@given(st.text())
def test_garbage_is_refused(text: str) -> None:
    for read in (parse_cosigner_key, parse_lines):
        with pytest.raises(RefusedError):
            read(text)
