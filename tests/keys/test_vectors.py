"""Our own formats, as they were frozen: whatever changes them fails here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from keys import certificate
from keys.dsse import SignedPayload, verify
from keys.errors import RefusedError
from keys.federation import Federation
from keys.frame import pae, payload_type
from keys.identity import AgencyId, Usage, federation_id, key_id, record_digest, records_digest
from keys.issuing import check_issuing
from keys.key_files import load_node
from keys.keystore import load_keystore
from keys.manifest import parse_manifest
from keys.renewal import verify_renewal, verify_request
from keys.roster import Application, catalogue_digest, parse_roster, words
from keys.seal import EncryptionKey, open_body, unpad, wrap_info
from keys.signer import KeyRecord, register, signer_from_seed
from tests.keys import cobblestone, world
from tests.keys.world import OWN, refused
from tests.vectors import make_keys


def load(name: str) -> Any:
    return json.loads((OWN / f"{name}.json").read_text())


def h(text: str) -> bytes:
    return bytes.fromhex(text)


@pytest.mark.parametrize("name", ["identity", "certificates", "keystore"])
def test_what_is_not_random_comes_out_the_same(name: str) -> None:
    agency = world.agency("HK-SB")
    made = {
        "identity": make_keys.identity,
        "certificates": lambda: make_keys.certificates(agency),
        "keystore": lambda: make_keys.keystore(agency),
    }[name]()
    assert json.loads(json.dumps(made)) == load(name)


def test_names_and_digests() -> None:
    vectors = load("identity")
    for case in vectors["key_ids"]:
        assert key_id(case["usage"], case["suite"], case["owner"], h(case["public_key"])).hex() == case["key_id"]
    for case in vectors["digests"]:
        assert record_digest(case["record"], h(case["payload"])).hex() == case["digest"]
    for case in vectors["records"]:
        three = [h(case[name]) for name in ("roster", "manifest", "key_sheet")]
        assert records_digest(*three).hex() == case["digest"]
        for at in range(3):
            with pytest.raises(ValueError, match="three digests of 32 bytes"):
                records_digest(*three[:at], three[at] + three[at], *three[at + 1 :])
    case = vectors["federation_id"]
    assert federation_id(h(case["roster"])).hex() == case["federation_id"]
    for case in vectors["words"]:
        assert words(h(case["digest"])) == case["words"]
    case = vectors["catalogue"]
    assert catalogue_digest({name: h(data) for name, data in case["files"].items()}).hex() == case["digest"]
    for case in vectors["frames"]:
        assert payload_type(case["role"]) == case["payload_type"]
        assert pae(case["payload_type"], h(case["payload"])).hex() == case["frame"]


@pytest.mark.parametrize("name", ["suite_1", "suite_2", "suite_3"])
def test_key_records(name: str) -> None:
    case = load("signing")[name]
    signer = signer_from_seed(Usage(case["usage"]), case["suite"], case["owner"], h(case["seed"]))
    assert signer.key.public_key.hex() == case["public_key"]
    assert signer.key.key_id.hex() == case["key_id"]
    record = KeyRecord(
        usage=case["usage"],
        suite=case["suite"],
        owner=case["owner"],
        public_key=h(case["public_key"]),
        proof=h(case["proof"]),
    )
    usage = {Usage(case["usage"])}
    assert register(record, owner=case["owner"], usage=usage, second=name == "suite_3") == signer.key


def test_signed_payloads_and_what_is_none() -> None:
    vectors = load("signing")
    keys = {}
    for name in ("suite_1", "suite_2"):
        case = vectors[name]
        signer = signer_from_seed(Usage(case["usage"]), case["suite"], case["owner"], h(case["seed"]))
        keys[signer.key.key_id] = signer.key

    def read(data: str, role: str) -> None:
        signed = SignedPayload.decode(h(data))
        assert signed.encode() == h(data)
        verify(signed, role, keys.get)

    read(vectors["signed"], "dispatch")
    read(vectors["signed_hybrid"], "manifest")
    codes = {
        "signature-bit-flipped": "SIGNATURE_INVALID",
        "type-of-a-lane-head": "WRONG_TYPE",
        "key-id-bit-flipped": "SIGNER_UNKNOWN",
        "s-plus-l": "SIGNATURE_INVALID",
    }
    assert set(codes) == set(vectors["refused"])
    for name, code in codes.items():
        refused(code, lambda name=name: read(vectors["refused"][name], "dispatch"))
    assert len(vectors["refused_hybrid"]) == 3
    for each in vectors["refused_hybrid"].values():
        refused("SIGNATURE_INVALID", lambda each=each: read(each, "manifest"))


def test_sealed_bodies_and_what_does_not_open() -> None:
    case = load("sealing")
    key = EncryptionKey.from_seed(case["owner"], h(case["seed"]))
    assert key.public.public_key.hex() == case["public_key"]
    assert key.public.key_id.hex() == case["key_id"]
    federation, statement = h(case["federation_id"]), h(case["statement_digest"])
    info = wrap_info(federation, statement, key.public.key_id)
    assert info.hex() == case["info"]
    assert key.unwrap(h(case["wrap"]), info).hex() == case["content_key"]

    def opened(body: str) -> bytes:
        return unpad(open_body(h(case["content_key"]), federation, statement, h(body)))

    assert opened(case["body"]).hex() == case["inside"]
    context = b"exchange/v1/body\0" + federation + statement
    assert unpad(cobblestone.decrypt(h(case["content_key"]), context, h(case["body"]))).hex() == case["inside"]
    assert len(case["refused_wraps"]) + len(case["refused_bodies"]) > 10
    for each in case["refused_wraps"].values():
        refused("UNOPENABLE", lambda each=each: key.unwrap(h(each), info))
    for each in case["refused_bodies"].values():
        refused("UNOPENABLE", lambda each=each: opened(each))


@pytest.mark.parametrize("name", ["records", "records-without-mldsa44", "records-without-manifest-version"])
def test_roster_manifest_and_key_sheet(name: str) -> None:
    case = load(name)
    signed = {name: SignedPayload.decode(h(case[name]["signed"])) for name in ("roster", "manifest", "key_sheet")}
    federation = Federation.found(signed["roster"])
    federation = federation.with_manifest(signed["manifest"], case["now_ms"])
    federation = federation.with_key_sheet(signed["key_sheet"], case["now_ms"])
    agency = AgencyId(case["agency"])
    assert federation.federation_id.hex() == case["federation_id"]
    assert federation.roster_digest.hex() == case["roster"]["digest"]
    assert federation.manifests[agency].digest.hex() == case["manifest"]["digest"]
    assert federation.key_sheets[agency].digest.hex() == case["key_sheet"]["digest"]
    assert words(federation.roster_digest) == case["words"]
    for one, two in ((federation.roster, "roster"), (federation.manifests[agency].record, "manifest")):
        assert one.encode() == signed[two].payload
    assert federation.key_sheets[agency].record.encode() == signed["key_sheet"].payload


def test_every_flipped_bit_of_a_key_sheet_is_refused() -> None:
    case = load("records")
    federation = Federation.found(SignedPayload.decode(h(case["roster"]["signed"])))
    federation = federation.with_manifest(SignedPayload.decode(h(case["manifest"]["signed"])), case["now_ms"])
    data = bytearray(h(case["key_sheet"]["signed"]))
    for bit in range(0, len(data) * 8, 61):
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RefusedError):
            federation.with_key_sheet(SignedPayload.decode(bytes(data)), case["now_ms"])
        data[bit // 8] ^= 1 << bit % 8


def test_every_flipped_bit_of_a_roster_changes_its_words_or_is_refused() -> None:
    payload = SignedPayload.decode(h(load("records")["roster"]["signed"])).payload
    data = bytearray(payload)
    for bit in range(0, len(data) * 8, 1009):
        data[bit // 8] ^= 1 << bit % 8
        try:
            parse_roster(bytes(data))
        except RefusedError:
            pass
        else:
            assert record_digest("roster", bytes(data)) != record_digest("roster", payload)
        data[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize("name", ["certificates", "certificates-path-0"])  # 0: before there were issuing keys
def test_certificates(name: str) -> None:
    case = load(name)
    ca, node, officer = h(case["ca"]), h(case["node"]["certificate"]), h(case["officer"]["certificate"])
    certificate.check_ca(ca, AgencyId(case["agency"]), case["federation_name"])
    assert certificate.verify_node_leaf(node, ca, case["now_ms"]) == case["node_name"]
    assert certificate.spki_sha256(node).hex() == case["node"]["pin"]
    assert certificate.verify_client_leaf(officer, ca, case["now_ms"]).hex() == case["officer"]["pin"]
    if "issuing" in case:
        issuing, renewed = h(case["issuing"]["certificate"]), h(case["issuing"]["node"])
        check_issuing(issuing, ca, case["agency"])
        assert certificate.verify_node_leaf(renewed, ca, case["now_ms"], issuing) == case["node_name"]
        refused("PEER_UNTRUSTED", lambda: certificate.verify_node_leaf(renewed, ca, case["now_ms"]))


def test_a_request_to_the_root_and_its_answer() -> None:
    case = load("renewal")
    member = Application.decode(h(case["application"])).member
    asked, answer = (SignedPayload.decode(h(case[each])) for each in ("request", "renewal"))
    request = verify_request(asked, member, case["now_ms"])
    renewal = verify_renewal(answer, member, h(case["federation_id"]), case["now_ms"])
    assert (request.encode(), renewal.encode()) == (asked.payload, answer.payload)
    assert renewal.leaves.keys() == request.leaves.keys()
    assert parse_manifest(renewal.manifest.payload).version == request.present.version + 1


@pytest.mark.parametrize("name", ["keystore", "keystore-without-mldsa44"])
def test_key_files(tmp_path: Path, name: str) -> None:
    case, old = load(name), name.endswith("without-mldsa44")
    for name, data in case["files"].items():
        (tmp_path / name).write_bytes(h(data))
        (tmp_path / name).chmod(0o600)
    node = load_node(tmp_path, case["passphrase"].encode())
    assert node.derived.reveal().hex() == case["derived"]
    assert node.operations.key.key_id.hex() == case["operations"]
    assert (node.log_mldsa44 is None) == (node.witness_mldsa44 is None) == old
    assert [each.key.public.key_id.hex() for each in node.encryption] == case["encryption"]
    assert [each.reveal().hex() for each in node.storage] == case["storage"]
    refused("UNOPENABLE", lambda: load_keystore(tmp_path / "node.keys", b"another"))
