"""The formats can be read from their prose alone: another reader opens our vectors and refuses altered ones."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag

from audit.entry.entry import MAX_ENTRY_BYTES, Outcome
from audit.record.dispatch import (
    CIPHERTEXT_SIZES,
    MAX_DISPATCH_BYTES,
    Absent,
    AbsentReason,
    Dispatch,
    Recipient,
    ciphertext_digest,
    dispatch_digest,
    parse_dispatch,
    wrap_digest,
)
from audit.record.lane import MAX_DELIVERY_BYTES, MAX_LANE_HEAD_BYTES, delivery_digest, parse_delivery
from audit.record.statement import MAX_READ_BYTES, MAX_STATEMENT_BYTES, RestsOn, statement_digest
from audit.record.wire import MAX_RECIPIENTS
from audit.tree.proof import MAX_PROOF_HASHES
from exchange.records.receipt import decode_receipt
from keys.dsse import SETTLED, SIGNERS, Signature, SignedPayload, sign
from keys.identity import AgencyId
from keys.seal import pad, seal_body, wrap, wrap_info
from tests.exchange.records import formats
from tests.independent import reader
from tests.independent.conftest import Read, link_libraries, start_reader

FOLDER = Path(__file__).parents[1] / "vectors" / "formats"
Job = dict[str, Any]


def envelope(name: str = "envelope-released.json") -> Job:
    job: Job = json.loads((FOLDER / name).read_text())
    return {"what": "envelope", **job}


def receipt(name: str = "received", file: str = "receipts.json") -> Job:
    job: Job = json.loads((FOLDER / file).read_text())
    origin = formats.ORIGIN if name != "second epoch" else formats.ORIGIN[:-1] + "2"
    return {"what": "receipt", "origin": origin, **job, **job["receipts"][name]}


def decoded(job: Job, name: str) -> SignedPayload:
    return SignedPayload.decode(bytes.fromhex(job[name]))


def dispatch_of(job: Job) -> Dispatch:
    return parse_dispatch(decoded(job, "dispatch").payload)


def resent(job: Job, dispatch: Dispatch, **changes: Any) -> Job:
    """Sign an altered dispatch and everything above it anew: a malicious member can."""
    signed = sign(dispatch.encode(), ("dispatch", formats.OPERATIONS))
    return carried(job | changes | {"dispatch": signed.encode().hex()}, dispatch_digest(signed.payload))


def carried(job: Job, digest: bytes) -> Job:
    """Put a dispatch digest into the delivery and sign the lane head for it."""
    delivery = replace(parse_delivery(bytes.fromhex(job["delivery"])), dispatch_digest=digest).encode()
    head = formats.sign_head(formats.head_of([delivery], 1))
    return job | {"delivery": delivery.hex(), "lane_head": head.encode().hex()}


def resealed(job: Job, padded: bytes) -> Job:
    """Seal other bytes under the same content key."""
    dispatch = dispatch_of(job)
    body = seal_body(bytes.fromhex(job["content_key"]), formats.FEDERATION, dispatch.statement_digest, padded)
    other = replace(dispatch, ciphertext_digest=ciphertext_digest(body), ciphertext_size=len(body))
    return resent(job, other, sealed_body=body.hex())


def flipped(text: str, place: int = -1) -> str:
    data = bytearray.fromhex(text)
    data[place] ^= 1
    return data.hex()


def dispatch_typed_as_lane_head(job: Job) -> Job:
    signed = decoded(job, "dispatch")
    kind = "application/vnd.exchange.lane-head.v1+protobuf"
    other = Signature(payload_type=kind, key_id=signed.signatures[0].key_id, signature=signed.signatures[0].signature)
    return job | {"dispatch": SignedPayload(payload=signed.payload, signatures=(other,)).encode().hex()}


def dispatch_with_a_varint_too_long(job: Job) -> Job:
    payload = decoded(job, "dispatch").payload.replace(b"\x40\x20", b"\x40\xa0\x00", 1)
    signed = sign(payload, ("dispatch", formats.OPERATIONS))
    return carried(job, dispatch_digest(payload)) | {"dispatch": signed.encode().hex()}


def ghost_recipient(job: Job) -> Job:
    dispatch = dispatch_of(job)
    ghost = Recipient(agency=AgencyId("ZZ-GHOST"), key_id=bytes(32), wrap_digest=bytes(32))
    return resent(job, replace(dispatch, recipients=(*dispatch.recipients, ghost)))


def releaser_dropped(job: Job) -> Job:
    signed = decoded(job, "statement")
    author = tuple(each for each in signed.signatures if "statement" in each.payload_type)
    return resealed(job, pad(SignedPayload(payload=signed.payload, signatures=author).encode()))


def filler_byte_set(job: Job) -> Job:
    padded = bytearray(pad(bytes.fromhex(job["statement"])))
    padded[-1] = 1
    return resealed(job, bytes(padded))


def wrap_for_another_statement(job: Job) -> Job:
    dispatch, key = dispatch_of(job), formats.ENCRYPTION[formats.PEER].public
    other = wrap(bytes.fromhex(job["content_key"]), key, wrap_info(formats.FEDERATION, bytes(32), key.key_id))
    recipients = tuple(
        replace(each, wrap_digest=wrap_digest(other)) if each.agency == formats.PEER else each
        for each in dispatch.recipients
    )
    return resent(job, replace(dispatch, recipients=recipients), wrap=other.hex())


def other_federation(job: Job) -> Job:
    return resent(job, replace(dispatch_of(job), federation_id=bytes(32)))


def head_of_another_lane(job: Job) -> Job:
    lane = replace(formats.LANE, recipient=formats.OTHER)
    delivery = replace(parse_delivery(bytes.fromhex(job["delivery"])), lane=lane).encode()
    head = replace(formats.head_of([delivery], 1), lane=lane, delivery_digest=delivery_digest(delivery))
    return job | {"delivery": delivery.hex(), "lane_head": formats.sign_head(head).encode().hex()}


def part_of_two(job: Job) -> Job:
    dispatch = dispatch_of(job)
    elsewhere = Absent(agency=AgencyId("ZZ-PART"), reason=AbsentReason.OTHER_PART)
    return resent(job, replace(dispatch, absent=(*dispatch.absent, elsewhere), part=1, parts=2))


def rests_on_a_record(job: Job) -> Job:
    """Sign and seal another statement under the same content key."""
    rests_on = (RestsOn("group", bytes(32)),)
    signed = formats.signed_statement(released=True, statement=replace(formats.STATEMENT, rests_on=rests_on))
    key, digest = bytes.fromhex(job["content_key"]), statement_digest(signed.payload)
    public = formats.ENCRYPTION[formats.PEER].public
    wrapped = wrap(key, public, wrap_info(formats.FEDERATION, digest, public.key_id))
    dispatch = dispatch_of(job)
    recipients = tuple(
        replace(each, wrap_digest=wrap_digest(wrapped)) if each.agency == formats.PEER else each
        for each in dispatch.recipients
    )
    body = seal_body(key, formats.FEDERATION, digest, pad(signed.encode()))
    other = replace(dispatch, statement_digest=digest, recipients=recipients, ciphertext_digest=ciphertext_digest(body))
    return resent(job, replace(other, ciphertext_size=len(body)), wrap=wrapped.hex(), sealed_body=body.hex())


# The twelve altered envelopes, each with the one reason for which it must be refused.
ENVELOPES: dict[str, tuple[Callable[[Job], Job], str]] = {
    "dispatch-signature-bit": (lambda job: job | {"dispatch": flipped(job["dispatch"])}, "dispatch: signature"),
    "dispatch-typed-as-lane-head": (dispatch_typed_as_lane_head, "dispatch: a signature of another type"),
    "dispatch-varint-too-long": (
        dispatch_with_a_varint_too_long,
        "not canonical: a number in more bytes than it needs",
    ),
    "dispatch-of-another-federation": (other_federation, "dispatch: another federation"),
    "head-of-another-lane": (head_of_another_lane, "lane head: of another lane"),
    "wrap-for-another-statement": (wrap_for_another_statement, "wrap: does not open"),
    "body-bit": (lambda job: job | {"sealed_body": flipped(job["sealed_body"])}, "body: digest"),
    "filler-byte-set": (filler_byte_set, "padding: a byte that is not zero"),
    "releaser-dropped": (releaser_dropped, "statement: signers differ"),
    "ghost-recipient": (ghost_recipient, "statement: recipients differ"),
    "part-of-two": (part_of_two, "dispatch: of a form to come"),
    "rests-on-a-record": (rests_on_a_record, "statement: of a form to come"),
}

# And altered receipts.
RECEIPTS: dict[str, tuple[Callable[[Job], Job], str]] = {
    "entry-bit": (lambda job: job | {"entry": flipped(job["entry"], 20)}, "inclusion: another root"),
    "index-plus-one": (
        lambda job: job | {"proof": job["proof"].replace("index 1\n", "index 2\n")},
        "receipt: the proof is for another index",
    ),
    "proof-trailing-hash": (
        lambda job: job | {"proof": job["proof"].replace("\n\n", f"\n{'A' * 43}=\n\n", 1)},
        "inclusion: too many hashes",
    ),
    "checkpoint-of-another-log-key": (
        lambda job: job | {"log_key": formats.STRANGER.key.public_key.hex()},
        "checkpoint: no signature by this log",
    ),
    "size-plus-one": (
        lambda job: job | {"proof": job["proof"].replace("\n8\n", "\n9\n")},
        "checkpoint: signature",
    ),
    "opening-under-another-salt": (lambda job: job | {"salt": "00" * 32}, "receipt: opening"),
    "for-another-member": (lambda job: job | {"peer": 4}, "receipt: for another member"),
}


@pytest.mark.parametrize("name", ["envelope.json", "envelope-released.json"])
def test_the_independent_reader_opens_our_envelopes(read: Read, name: str) -> None:
    job = envelope(name)
    answer = read(job)
    assert answer["statement"] == job["statement"]
    assert bytes.fromhex(answer["bulletin"]) == formats.bulletin()
    assert answer["recipients"] == ["KH-GDI", "MY-PDRM", "TH-DSI"]


@pytest.mark.parametrize("name", ENVELOPES)
def test_the_independent_reader_refuses_an_altered_envelope_for_its_own_reason(read: Read, name: str) -> None:
    alter, reason = ENVELOPES[name]
    assert read(alter(envelope())) == {"refused": reason}


@pytest.mark.parametrize(
    ("name", "kind", "understood"),
    [
        ("received", 12, True),
        ("refused", 15, True),
        ("duplicate", 16, True),
        ("withdrawn", 17, True),
        ("unknown kind", 99, False),
        ("unknown field", 12, False),
        ("second epoch", 12, True),
    ],
)
def test_the_independent_reader_takes_our_receipts(read: Read, name: str, kind: int, understood: bool) -> None:
    answer = read(receipt(name))
    assert (answer["kind"], answer["understood"]) == (kind, understood)


@pytest.mark.parametrize("name", RECEIPTS)
def test_the_independent_reader_refuses_an_altered_receipt_for_its_own_reason(read: Read, name: str) -> None:
    alter, reason = RECEIPTS[name]
    assert read(alter(receipt())) == {"refused": reason}


def shared_receipts() -> Job:
    job: Job = json.loads((FOLDER / "shared-receipts.json").read_text())
    return {"what": "shared receipts", "origin": formats.ORIGIN, **job}


def test_the_independent_reader_derives_the_receipts_of_a_batch(read: Read) -> None:
    job = shared_receipts()
    alone = [decode_receipt(bytes.fromhex(encoded)) for encoded in job["receipts"]]
    assert read(job) == {"receipts": [{"entry": each.entry.hex(), "proof": each.proof} for each in alone]}


SHARED: dict[str, tuple[Callable[[Job], Job], str]] = {
    "a hash less": (lambda job: job | {"hashes": job["hashes"][:-1]}, "shared: too few hashes"),
    "a hash more": (lambda job: job | {"hashes": [*job["hashes"], "00" * 32]}, "shared: too many hashes"),
    "another hash": (lambda job: job | {"hashes": [*job["hashes"][:-1], "00" * 32]}, "inclusion: another root"),
    "an entry twice": (lambda job: job | {"entries": job["entries"][:1] + job["entries"][:-1]},
        "shared: entries do not ascend, or are outside"),
    "a delivery less": (lambda job: job | {"sequences": job["sequences"][:-1]}, "shared: deliveries"),
}  # fmt: skip


@pytest.mark.parametrize("what", SHARED)
def test_the_independent_reader_refuses_what_is_shared_wrongly(read: Read, what: str) -> None:
    alter, reason = SHARED[what]
    assert read(alter(shared_receipts())) == {"refused": reason}


def test_every_alteration_is_refused_for_a_reason_of_its_own() -> None:
    reasons = [reason for _, reason in [*ENVELOPES.values(), *RECEIPTS.values()]]
    assert len(set(reasons)) == len(reasons)
    assert len(ENVELOPES) == 12


def test_the_commitments_of_the_vector_are_those_of_the_prose(read: Read) -> None:
    """Who has the statement, and who is shown some fields, by the words of proto/README.md alone."""
    told = json.loads((FOLDER / "disclosure.json").read_text())
    for each in told["opened"]:
        answer = read({"what": "fields", "shown": each, **told})
        assert answer == {"root": told["root"], "values": [slot["value"] for slot in told["slots"]]}
    shown = told["opened"][0]
    other = shown | {"shut": [*shown["shut"][:-1], "00" * 32]}
    assert read({"what": "fields", **told, "shown": other}) == {"refused": "disclosure: another root"}


def read_vectors() -> dict[str, str]:
    records = json.loads((FOLDER / "records.json").read_text())["records"]
    return {name[6:]: each["payload"] for name, each in records.items() if name.startswith("read: ")}


def test_the_independent_reader_sees_what_a_request_asks(read: Read) -> None:
    names = {"opens": "open", "exports": "export", "lists": "list", "holds": "hold", "releases": "release"}
    for name, payload in read_vectors().items():
        answer = read({"what": "read", "payload": payload})
        if name.endswith("older program"):
            assert answer == {"refused": "read: not exactly one thing is asked"}
        else:
            assert answer == {"asked": names.get(name, name)}


def test_the_records_digest_of_the_vector_is_that_of_the_prose(read: Read) -> None:
    for case in json.loads((FOLDER.parent / "keys" / "identity.json").read_text())["records"]:
        assert read({"what": "records", **case}) == {"digest": case["digest"]}
        assert read({"what": "records", **case, "manifest": ""}) == {"refused": "records: a digest has 32 bytes"}


def test_the_independent_reader_knows_every_field_and_kind_that_is_built_and_no_more() -> None:
    for case in json.loads((FOLDER.parent / "audit" / "entries.json").read_text()):
        body, understood = reader.read_body(bytes.fromhex(case["entry"])[52:])
        assert understood, case["name"]
        assert [v.hex() if isinstance(v, bytes) else v for v in body.values()] == list(case["body"].values())
    for case in json.loads((FOLDER.parent / "audit" / "body-unknown.json").read_text()):
        if case["name"] not in ("unknown-outcome", "unknown-role"):  # it has no list of these
            assert not reader.read_body(bytes.fromhex(case["body"]))[1], case["name"]
    for case in json.loads((FOLDER.parent / "audit" / "body-refused.json").read_text()):
        if case["name"].startswith("records"):
            with pytest.raises(reader.Refused, match="not canonical"):
                reader.read_body(bytes.fromhex(case["body"]))


def test_the_reader_does_not_run_where_our_packages_can_be_imported(tmp_path: Path) -> None:
    link_libraries(tmp_path / "libraries")
    root = Path(__file__).parents[2]
    done = start_reader(tmp_path, envelope(), tmp_path / "libraries", root)
    assert done.returncode != 0
    assert "keys can be imported here" in done.stderr


def test_the_cobblestone_of_the_prose_is_that_of_wycheproof() -> None:
    path = Path(__file__).parents[2] / "../shared/vectors/wycheproof/c2sp_chunked_encryption_aes_256_gcm_test.json"
    if not path.exists():
        pytest.skip("../shared/vectors is missing")
    cases = [case for group in json.loads(path.read_text())["testGroups"] for case in group["tests"]]
    for case in cases:
        key, context = bytes.fromhex(case["key"]), bytes.fromhex(case["ctx"])
        try:
            opened = reader.open_body(key, zlib.decompress(bytes.fromhex(case["ct"])), context)
        except (reader.Refused, InvalidTag, ValueError):
            assert case["result"] == "invalid", case["tcId"]
            continue
        assert case["result"] == "valid", case["tcId"]
        assert hashlib.sha512(opened).hexdigest() == case["msgSha512"]
    assert len(cases) == 35


def test_every_refusal_code_has_its_sentence_and_number_in_the_prose() -> None:
    prose = (Path(__file__).parents[2] / "proto" / "README.md").read_text()
    rows = dict(re.findall(r"^\| ([A-Z_]+) \| (\d+) \| [A-Z].+\. \|$", prose, re.MULTILINE))
    assert rows == {each.name: str(int(each)) for each in Outcome if each is not Outcome.DONE}


def test_who_may_sign_what_is_said_in_the_prose() -> None:
    prose = (Path(__file__).parents[2] / "proto" / "README.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| [^|]+ \| ([\d, or]+) \| [^|]+ \|$", prose, re.MULTILINE)
    said = {role: {int(number) for number in re.findall(r"\d", usages)} for role, usages in rows}
    assert said == {role: set(map(int, usages)) for role, usages in SIGNERS.items() if role != "key"}
    later = re.findall(r"`([a-z]+)`", prose.split("No program of this release makes or takes")[1].split(".")[0])
    assert set(later) == SETTLED


def test_the_limits_of_the_prose_are_those_of_the_program() -> None:
    prose = (Path(__file__).parents[2] / "proto" / "README.md").read_text()
    assert all(f"{size:,}" in prose for size in CIPHERTEXT_SIZES)
    assert f"| recipients and absent together | {MAX_RECIPIENTS:,} |" in prose
    assert f"{MAX_ENTRY_BYTES:,} bytes; 64 KiB; {MAX_PROOF_HASHES}" in prose
    assert (MAX_DISPATCH_BYTES, MAX_LANE_HEAD_BYTES, MAX_READ_BYTES) == (64 << 10,) * 3
    assert (MAX_STATEMENT_BYTES, MAX_DELIVERY_BYTES) == ((1 << 20) - (4 << 10), 1 << 10)
