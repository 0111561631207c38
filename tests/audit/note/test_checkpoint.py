"""Notes, keys and proofs as text: C2SP's examples, our vectors, and everything that is nearly right."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audit.note.checkpoint import (
    Checkpoint,
    SignatureLine,
    VerifierKey,
    parse_note,
    parse_verifier_key,
    sign_checkpoint,
    verify_line,
    verify_note,
)
from audit.note.tlogproof import format_proof, parse_proof, verify_proof
from keys.errors import RefusedError
from keys.identity import Usage
from keys.signer import Ed25519Signer

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "audit"
EXAMPLES = Path(__file__).resolve().parents[3] / "../shared/vectors/c2sp-tlog/examples.json"
[CASE] = json.loads((VECTORS / "checkpoint.json").read_text())
[PROOF] = json.loads((VECTORS / "proof.json").read_text())
NOTE: str = CASE["note"]
KEY = parse_verifier_key(CASE["vkey"])


def test_the_note_is_that_of_the_vector(signer: Ed25519Signer) -> None:
    checkpoint = Checkpoint(origin=CASE["origin"], size=CASE["size"], root=bytes.fromhex(CASE["root"]))
    assert verify_note(NOTE, KEY) == checkpoint
    assert sign_checkpoint(checkpoint, signer) == NOTE  # Ed25519 is deterministic
    assert str(KEY) == CASE["vkey"]


def test_the_examples_of_c2sp_are_read() -> None:
    if not EXAMPLES.is_file():
        pytest.skip("../shared/vectors is missing")
    examples = json.loads(EXAMPLES.read_text())
    key = parse_verifier_key(examples["vkey"])
    text, _, line = examples["note"].partition("\n\n")
    raw = base64.b64decode(line.split(" ")[2])
    assert raw[:4] == key.key_hash
    verify_line(SignatureLine(name=key.name, key_hash=raw[:4], signature=raw[4:]), (text + "\n").encode(), key)
    note = parse_note(examples["checkpoint_example"])
    assert note.checkpoint.size == 20_852_163
    assert [line.name for line in note.signatures] == ["example.com/behind-the-sofa", "witness.example.com/w1"]


def changed(**lines: str) -> str:
    parts = NOTE.split("\n")
    for name, text in lines.items():
        parts[int(name[1:])] = text
    return "\n".join(parts)


BODY, SIGNATURE = NOTE.split("\n\n")
ROOT = BODY.split("\n")[2]
BAD_NOTES = {
    "empty": "",
    "no-signature": BODY + "\n\n",
    "no-final-newline": NOTE[:-1],
    "two-blank-lines": BODY + "\n\n\n" + SIGNATURE,
    "carriage-returns": NOTE.replace("\n", "\r\n"),
    "extension-line": BODY + "\nextension\n\n" + SIGNATURE,
    "origin-empty": changed(_0=""),
    "origin-with-space": changed(_0="a b"),
    "origin-with-no-break-space": changed(_0="a\u00a0b"),
    "origin-with-plus": changed(_0="a+b"),
    "size-leading-zero": changed(_1="0" + str(CASE["size"])),
    "size-plus": changed(_1="+5"),
    "size-negative": changed(_1="-5"),
    "size-empty": changed(_1=""),
    "size-arabic-digits": changed(_1="٤٢"),
    "size-2-to-the-63": changed(_1=str(1 << 63)),
    "size-huge": changed(_1="9" * 4000),
    "root-short": changed(_2=base64.b64encode(bytes(31)).decode()),
    "root-long": changed(_2=base64.b64encode(bytes(33)).decode()),
    "root-padding-bits": changed(_2=ROOT[:-2] + chr(ord(ROOT[-2]) + 1) + "="),
    "root-no-padding": changed(_2=ROOT[:-1]),
    "root-url-alphabet": changed(_2="-" + ROOT[1:]),
    "hyphen-for-dash": NOTE.replace("— ", "- "),
    "no-name": NOTE.replace("— " + CASE["origin"], "— "),
    "signature-not-base64": NOTE[:-3] + "!!\n",
    "signature-of-four-bytes": BODY + f"\n\n— {CASE['origin']} {base64.b64encode(KEY.key_hash).decode()}\n",
    "33-lines": BODY + "\n\n" + SIGNATURE * 33,
    "two-lines-by-the-key": BODY + "\n\n" + SIGNATURE * 2,
    "control-character": NOTE.replace("— " + CASE["origin"], "— x\x01y"),
    "65-kilobytes": BODY + "\n\n" + SIGNATURE + "— x " + base64.b64encode(bytes(50_000)).decode() + "\n",
    "lone-surrogate": NOTE.replace("— ", "— \udc80"),
    "text-after": NOTE + "x\n",
}


@pytest.mark.parametrize("name", BAD_NOTES)
def test_attack_25_a_malformed_note_is_refused_before_any_signature(name: str) -> None:
    assert BAD_NOTES[name] != NOTE
    with pytest.raises(RefusedError) as refused:
        verify_note(BAD_NOTES[name], KEY)
    assert refused.value.code == "MALFORMED"


def test_attack_25_control_the_same_note_unchanged_is_accepted() -> None:
    assert verify_note(NOTE, KEY).size == CASE["size"]


def test_lines_under_other_keys_are_ignored() -> None:
    stranger = "— somebody.example/else " + base64.b64encode(b"\1\2\3\4" + bytes(64)).decode() + "\n"
    assert verify_note(BODY + "\n\n" + stranger + SIGNATURE + stranger, KEY) == verify_note(NOTE, KEY)


def test_a_failing_line_under_the_known_key_refuses_the_note() -> None:
    raw = bytearray(base64.b64decode(SIGNATURE.split(" ")[2]))
    raw[-1] ^= 1
    bad = SIGNATURE.rpartition(" ")[0] + " " + base64.b64encode(raw).decode() + "\n"
    with pytest.raises(RefusedError) as refused:
        verify_note(BODY + "\n\n" + bad, KEY)
    assert refused.value.code == "SIGNATURE_INVALID"


def test_a_key_of_another_origin_signs_nothing_here() -> None:
    other = VerifierKey(name="other.example/log/1", key=KEY.key)
    with pytest.raises(RefusedError) as refused:
        verify_note(NOTE, other)
    assert refused.value.code == "SIGNER_UNKNOWN"
    with pytest.raises(RefusedError, match="no signature by key"):
        verify_note(NOTE, VerifierKey(name=KEY.name, key=bytes(32)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000",
        "name+zzzzzzzz+AQ==",
        CASE["vkey"] + "\n\n",
        " " + CASE["vkey"],
        CASE["vkey"].replace("+b7", "+c7", 1),
        f"{KEY.name}+{KEY.key_hash.hex()}+" + base64.b64encode(b"\4" + KEY.key).decode(),
        f"{KEY.name}+{KEY.key_hash.hex().upper()}+" + base64.b64encode(b"\1" + KEY.key).decode(),
        f"{KEY.name}+{KEY.key_hash.hex()}+" + base64.b64encode(b"\1" + KEY.key[:-1]).decode(),
        str(VerifierKey(name=KEY.name, key=bytes(32))),  # a point of small order
        str(VerifierKey(name=KEY.name, key=b"\1" + bytes(31))),
    ],
)
def test_a_malformed_or_weak_verifier_key_is_refused(text: str) -> None:
    assert text != CASE["vkey"]
    with pytest.raises(RefusedError):
        parse_verifier_key(text)


def test_the_proof_is_that_of_the_vector() -> None:
    entry, hashes = bytes.fromhex(PROOF["entry"]), [bytes.fromhex(h) for h in PROOF["hashes"]]
    assert format_proof(PROOF["index"], hashes, NOTE) == PROOF["proof"]
    assert format_proof(PROOF["index"], hashes, NOTE, entry) == PROOF["file"]
    for text in (PROOF["proof"], PROOF["file"]):
        assert verify_proof(parse_proof(text), entry, KEY).size == CASE["size"]
    assert parse_proof(PROOF["file"]).extra == entry


def edited(old: str, new: str) -> str:
    text = PROOF["file"].replace(old, new, 1)
    assert text != PROOF["file"]
    return str(text)


FIRST_HASH = base64.b64encode(bytes.fromhex(PROOF["hashes"][0])).decode()


@pytest.mark.parametrize(
    "text",
    [
        edited("@v1", "@v2"),
        edited("extra ", "extra  "),
        edited("extra ", "Extra "),
        edited("index ", "index 0"),
        edited("index ", "index -"),
        edited("index ", "Index "),
        edited("\n\n", "\n"),
        edited(FIRST_HASH, FIRST_HASH[:-4]),
        edited(FIRST_HASH, ""),
        edited(FIRST_HASH, "\n".join([FIRST_HASH] * 64)),
        edited("index ", "index " + "9" * 30),
        PROOF["file"].partition("\n\n")[0],
    ],
)
def test_attack_25_a_malformed_proof_is_refused(text: str) -> None:
    with pytest.raises(RefusedError):
        verify_proof(parse_proof(text), bytes.fromhex(PROOF["entry"]), KEY)


@pytest.mark.parametrize("mutation", ["trailing-hash", "missing-hash", "index-plus-one", "other-entry", "swapped"])
def test_a_proof_that_proves_something_else_is_refused(mutation: str) -> None:
    entry, index = bytes.fromhex(PROOF["entry"]), PROOF["index"]
    hashes = [bytes.fromhex(h) for h in PROOF["hashes"]]
    if mutation == "trailing-hash":
        hashes.append(bytes(32))
    elif mutation == "missing-hash":
        hashes.pop()
    elif mutation == "index-plus-one":
        index += 1
    elif mutation == "other-entry":
        entry += b"x"
    else:
        hashes[0], hashes[1] = hashes[1], hashes[0]
    with pytest.raises(RefusedError) as refused:
        verify_proof(parse_proof(format_proof(index, hashes, NOTE)), entry, KEY)
    assert refused.value.code == "RECEIPT_INVALID"


@given(st.text() | st.binary().map(lambda b: b.decode("utf-8", "surrogateescape")))
@example("\n" * 40)
@example(NOTE + "\udcff")
def test_garbage_raises_refused_error(text: str) -> None:
    for read in (parse_note, parse_verifier_key, parse_proof):
        with pytest.raises(RefusedError):
            read(text)


@given(st.integers(0, len(NOTE) - 1), st.characters())
def test_a_note_with_one_character_changed_is_refused(offset: int, character: str) -> None:
    text = NOTE[:offset] + character + NOTE[offset + 1 :]
    if text != NOTE:
        with pytest.raises(RefusedError):
            verify_note(text, KEY)


@given(st.integers(0, (1 << 63) - 1), st.binary(min_size=32, max_size=32))
def test_what_is_signed_is_read_back(size: int, root: bytes) -> None:
    signer = Ed25519Signer.from_seed(Usage.LOG, "HK-SB", bytes(range(32)))
    checkpoint = Checkpoint(origin=KEY.name, size=size, root=root)
    assert verify_note(sign_checkpoint(checkpoint, signer), KEY) == checkpoint
