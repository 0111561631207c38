"""Write the vectors of ``keys`` anew: python -m tests.vectors.make_keys

They freeze our formats, and a second implementation can be written against them. What is random by nature (ML-DSA
signatures, wraps, sealed bodies) differs at each run and is for verifying and opening only; all else comes out the
same. A format change carries its vectors, its README and its version number in one commit. The files named
``…-without-mldsa44`` were frozen before logs and witnesses had second keys, ``records-without-manifest-version`` before
key sheets named a manifest; they are never written anew.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from keys import ceremony, certificate, dsse, seal
from keys.agency import AgencyKeys
from keys.frame import pae, payload_type
from keys.identity import AgencyId, Usage, federation_id, key_id, record_digest, records_digest
from keys.issuing import issuing_authority, make_issuing
from keys.key_files import load_node
from keys.keystore import INTERACTIVE
from keys.renewal import following_manifest, make_request, parse_request, renew, sign_following
from keys.roster import catalogue_digest, words
from keys.signer import Ed25519Signer, HybridSigner, MlDsa44Signer, Signer, make_record
from tests.keys import world

HERE = Path(__file__).resolve().parent / "keys"
FED, STATEMENT = b"\xfe" * 32, b"\x57" * 32


def main() -> None:
    """Write every file."""
    HERE.mkdir(exist_ok=True)
    agencies = [world.agency(code) for code in world.CODES[:2]]
    files = {
        "identity": identity(),
        "signing": signing(),
        "sealing": sealed(),
        "records": records(agencies),
        "certificates": certificates(agencies[0]),
        "keystore": keystore(agencies[0]),
        "renewal": renewal(agencies[0]),
    }
    for name, content in files.items():
        (HERE / f"{name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=True) + "\n")


def identity() -> dict[str, Any]:
    """Digests and names."""
    public = bytes(range(32))
    owners = ((Usage.AGENCY, "HK-SB"), (Usage.OFFICER, "HK-SB/duty"), (Usage.LOG, "XI-IOM"))
    catalogue = {"agencies.yaml": b"HK-SB: {}\n", "policy.yaml": b"schema_minor: 0\n"}
    return {
        "key_ids": [
            {"usage": int(usage), "suite": 1, "owner": owner, "public_key": public.hex(), "key_id": key_id(usage, 1, owner, public).hex()}
            for usage, owner in owners
        ],
        "digests": [
            {"record": record, "payload": b"payload".hex(), "digest": record_digest(record, b"payload").hex()}
            for record in ("statement", "dispatch", "delivery", "lane-head", "roster", "manifest", "key-sheet", "wrap", "ciphertext")
        ],
        "records": [
            {"roster": one.hex(), "manifest": two.hex(), "key_sheet": three.hex(), "digest": records_digest(one, two, three).hex()}
            for one, two, three in ((b"\1" * 32, b"\2" * 32, b"\3" * 32), (b"\1" * 32, b"\2" * 32, bytes(32)))
        ],
        "federation_id": {"roster": b"payload".hex(), "federation_id": federation_id(b"payload").hex()},
        "words": [{"digest": each.hex(), "words": words(each)} for each in (bytes(32), bytes(range(32)), b"\xff" * 32)],
        "catalogue": {"files": {name: data.hex() for name, data in catalogue.items()}, "digest": catalogue_digest(catalogue).hex()},
        "frames": [
            {"role": role, "payload_type": payload_type(role), "payload": b"\x00\xff".hex(), "frame": pae(payload_type(role), b"\x00\xff").hex()}
            for role in dsse.SIGNERS
        ],
    }  # fmt: skip


def signing() -> dict[str, Any]:
    """Key records with their proofs, one signed payload, and what is not one."""
    plain = Ed25519Signer.from_seed(Usage.AGENCY, "HK-SB", bytes(range(32)))
    root = HybridSigner.from_seed(Usage.AGENCY_ROOT, "HK-SB", bytes(range(64)))
    second = MlDsa44Signer.from_seed(Usage.LOG, "HK-SB", bytes(range(32)))
    signed = dsse.sign(b"payload", ("dispatch", plain))
    both = dsse.sign(b"payload", ("manifest", root))
    one = signed.signatures[0]
    hybrid = both.signatures[0]
    refused = {
        "signature-bit-flipped": replace(one, signature=bytes([one.signature[0] ^ 1]) + one.signature[1:]),
        "type-of-a-lane-head": replace(one, payload_type=payload_type("lane-head")),
        "key-id-bit-flipped": replace(one, key_id=bytes([one.key_id[0] ^ 1]) + one.key_id[1:]),
        "s-plus-l": replace(one, signature=one.signature[:32] + _plus_order(one.signature[32:])),
    }
    stripped = {
        "hybrid-ed25519-half-only": replace(hybrid, signature=hybrid.signature[:64]),
        "hybrid-mldsa-zeroed": replace(hybrid, signature=hybrid.signature[:64] + bytes(3309)),
        "hybrid-ed25519-zeroed": replace(hybrid, signature=bytes(64) + hybrid.signature[64:]),
    }
    return {
        "suite_1": _key(plain, bytes(range(32)).hex()),
        "suite_2": _key(root, bytes(range(64)).hex()),
        "suite_3": _key(second, bytes(range(32)).hex()),
        "signed": signed.encode().hex(),
        "signed_hybrid": both.encode().hex(),
        "refused": {name: replace(signed, signatures=(each,)).encode().hex() for name, each in refused.items()},
        "refused_hybrid": {name: replace(both, signatures=(each,)).encode().hex() for name, each in stripped.items()},
    }


def _plus_order(scalar: bytes) -> bytes:
    order = 2**252 + 27742317777372353535851937790883648493
    return (int.from_bytes(scalar, "little") + order).to_bytes(32, "little")


def _key(signer: Signer, seed: str) -> dict[str, Any]:
    record = make_record(signer)
    return {
        "seed": seed,
        "usage": record.usage,
        "suite": record.suite,
        "owner": record.owner,
        "public_key": record.public_key.hex(),
        "key_id": record.key_id.hex(),
        "proof": record.proof.hex(),
    }


def sealed() -> dict[str, Any]:
    """One body for one recipient, and ten altered ones."""
    seed, content_key = bytes(range(32)), bytes(range(32, 64))
    key = seal.EncryptionKey.from_seed("HK-SB", seed)
    info = seal.wrap_info(FED, STATEMENT, key.public.key_id)
    wrap = seal.wrap(content_key, key.public, info)
    inside = b"a statement, signed"
    padded = seal.pad(inside)
    body = seal.seal_body(content_key, FED, STATEMENT, padded)
    filler = padded[:-1] + b"\1"
    wraps = {
        "mlkem-bit-flipped": _flip(wrap, 5),
        "x25519-bit-flipped": _flip(wrap, 1100),
        "ciphertext-bit-flipped": _flip(wrap, 1167),
        "one-byte-short": wrap[:-1],
        "one-byte-more": wrap + b"\0",
    }
    bodies = {
        "salt-bit-flipped": _flip(body, 0),
        "commitment-bit-flipped": _flip(body, 24),
        "chunk-bit-flipped": _flip(body, 60),
        "truncated": body[:-16],
        "filler-not-zero": seal.seal_body(content_key, FED, STATEMENT, filler),
        "larger-bucket": seal.seal_body(content_key, FED, STATEMENT, padded + bytes(4096)),
    }
    return {
        "seed": seed.hex(),
        "owner": "HK-SB",
        "public_key": key.public.public_key.hex(),
        "key_id": key.public.key_id.hex(),
        "federation_id": FED.hex(),
        "statement_digest": STATEMENT.hex(),
        "info": info.hex(),
        "content_key": content_key.hex(),
        "inside": inside.hex(),
        "wrap": wrap.hex(),
        "body": body.hex(),
        "refused_wraps": {name: each.hex() for name, each in wraps.items()},
        "refused_bodies": {name: each.hex() for name, each in bodies.items()},
    }


def _flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def records(agencies: list[AgencyKeys]) -> dict[str, Any]:
    """Roster 1 of two agencies, a manifest, a key sheet."""
    roster = world.roster_of(agencies)
    manifest = ceremony.agency_manifest(agencies[0], roster, ["127.0.0.1:7001"], world.NOW)
    sheet = ceremony.agency_key_sheet(agencies[0], roster, world.NOW)
    digests = {"roster": roster, "manifest": manifest, "key-sheet": sheet}
    return {
        "now_ms": world.NOW,
        "federation_id": federation_id(roster.payload).hex(),
        "agency": agencies[0].agency,
        **{
            name.replace("-", "_"): {
                "signed": signed.encode().hex(),
                "digest": record_digest(name, signed.payload).hex(),
            }
            for name, signed in digests.items()
        },
        "words": words(record_digest("roster", roster.payload)),
    }


def certificates(agency: AgencyKeys) -> dict[str, Any]:
    """A CA, a node's leaf, an officer's leaf, an issuing key and what it renewed."""
    leaf = agency.officers[0].tls_leaf
    random_bytes = world.stream("issuing")
    private, public = certificate.new_private_key(random_bytes), agency.node.tls_private.public_key()
    issuing = make_issuing(agency.authority, private.public_key(), world.NOW, random_bytes)
    authority = issuing_authority(issuing, private, agency.agency, world.NAME)
    renewed = certificate.make_node_leaf(authority, public, world.NOW, random_bytes)
    return {
        "now_ms": world.NOW,
        "agency": agency.agency,
        "federation_name": world.NAME,
        "node_name": certificate.node_name(AgencyId(agency.agency), world.NAME),
        "ca": agency.authority.der.hex(),
        "node": {"certificate": agency.tls_leaf.hex(), "pin": certificate.spki_sha256(agency.tls_leaf).hex()},
        "officer": {"certificate": leaf.hex(), "pin": certificate.spki_sha256(leaf).hex()},
        "issuing": {"certificate": issuing.hex(), "node": renewed.hex()},
    }


def renewal(agency: AgencyKeys) -> dict[str, Any]:
    """A request to the root, and what it gives back."""
    random_bytes, at_ms = world.stream("renewal"), world.NOW
    signed = ceremony.agency_manifest(agency, world.roster_of([agency]), ["127.0.0.1:7001"], at_ms)
    leaves = {each.entry.id: each.tls_leaf for each in agency.officers}
    asked = make_request(agency.node, signed, b"R" * 32, leaves, at_ms)
    request = parse_request(asked.payload)
    following = following_manifest(request, at_ms)
    manifest = sign_following(
        request, agency.root, agency.authority, following, issuing=True, random_bytes=random_bytes
    )
    answer = renew(request, agency.root, agency.authority, manifest, at_ms, random_bytes)
    return {
        "now_ms": at_ms,
        "application": agency.application.encode().hex(),
        "federation_id": request.federation_id.hex(),
        "request": asked.encode().hex(),
        "renewal": answer.encode().hex(),
    }


def keystore(agency: AgencyKeys) -> dict[str, Any]:
    """A node's three files."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        ceremony.save_agency(
            home, agency, lambda holder: holder.encode(), world.stream("vectors"), root_profile=INTERACTIVE
        )
        node = load_node(home, b"node")
        return {
            "passphrase": "node",
            "derived": node.derived.reveal().hex(),
            "files": {
                name: (home / name).read_bytes().hex() for name in ("node.keys", "sealing.keys", "sealing.random")
            },
            "operations": node.operations.key.key_id.hex(),
            "encryption": [each.key.public.key_id.hex() for each in node.encryption],
            "storage": [each.reveal().hex() for each in node.storage],
        }


if __name__ == "__main__":
    main()
