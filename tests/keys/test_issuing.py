"""The issuing key beside the node: what it may issue, who believes it, and how a manifest withdraws it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from exchange.demo.federation import found_roster
from exchange.rpc.transport.caller import check_pin, identify_peer
from keys import ceremony, dsse
from keys import certificate as c
from keys.agency import AgencyKeys, KeyPlan, Person
from keys.federation import Federation
from keys.identity import AgencyId, federation_id
from keys.issuing import check_issuing, issuing_authority, make_issuing
from keys.manifest import parse_manifest
from tests.keys.world import NAME, NOW, refused, stream

HK, TH = AgencyId("HK-SB"), AgencyId("TH-DSI")
DAY = 86_400_000
RANDOM = stream("issuing")
MADE: dict[AgencyId, AgencyKeys] = {
    code: ceremony.make_agency(
        code, NAME, [Person(id="duty")], now_ms=NOW, random_bytes=stream(f"issuing/{code}"), plan=KeyPlan(issuing=True)
    )
    for code in (HK, TH)
}
CA, DER = MADE[HK].authority, MADE[HK].issuing
KEY = MADE[HK].node.issuing_private
assert KEY is not None
ISSUING = issuing_authority(DER, KEY, HK, NAME)
PUBLIC = MADE[HK].node.tls_private.public_key()
LEAF = c.make_node_leaf(ISSUING, PUBLIC, NOW, RANDOM)


def other(
    *, ca: c.Authority = CA, length: int = 0, below: str = "hk-sb.exercise.example", days: int = 365, name: str = "x"
) -> bytes:
    """Certify an issuing key as a stolen CA key could: any profile but ours."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = c.begin(subject, ca.certificate.subject, ISSUING.private.public_key(), NOW, days, RANDOM)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.private.public_key())
    made = c.sign(c.for_certificates(builder.add_extension(issuer, critical=False), length, below), ca.private)
    return made.public_bytes(serialization.Encoding.DER)


def old_ca() -> c.Authority:
    """A CA as it was founded before there were issuing keys."""
    name = CA.certificate.subject
    builder = c.begin(name, name, CA.private.public_key(), NOW, 3650, RANDOM)
    made = c.sign(c.for_certificates(builder, 0, c.suffix(HK, NAME)), CA.private)
    return replace(CA, certificate=made)


def test_the_issuing_key_renews_the_nodes_leaf() -> None:
    check_issuing(DER, CA.der, HK)
    assert c.verify_node_leaf(LEAF, CA.der, NOW, DER) == c.node_name(HK, NAME)
    assert c.spki_sha256(LEAF) == c.spki_sha256(MADE[HK].tls_leaf), "the same key, so the same pin"


def test_no_leaf_outlives_the_certificate_that_issued_it() -> None:
    late = NOW + 300 * DAY
    leaf = c.make_node_leaf(ISSUING, PUBLIC, late, RANDOM)
    assert late < c.ends_ms(leaf) <= c.ends_ms(DER)
    refused("PEER_UNTRUSTED", lambda: c.make_node_leaf(ISSUING, PUBLIC, NOW + 365 * DAY, RANDOM))


def test_an_officers_leaf_of_the_issuing_key_is_refused_at_the_desk() -> None:
    refused(
        "PEER_UNTRUSTED", lambda: c.verify_client_leaf(c.make_officer_leaf(ISSUING, PUBLIC, NOW, RANDOM), CA.der, NOW)
    )
    assert c.verify_client_leaf(c.make_officer_leaf(CA, PUBLIC, NOW, RANDOM), CA.der, NOW)


def test_the_issuing_key_speaks_for_no_other_agency() -> None:
    forged = c.make_node_leaf(replace(ISSUING, agency=TH), PUBLIC, NOW, RANDOM)
    refused("PEER_UNTRUSTED", lambda: c.verify_node_leaf(forged, CA.der, NOW, DER))
    refused("PEER_UNTRUSTED", lambda: c.verify_node_leaf(forged, MADE[TH].authority.der, NOW, MADE[TH].issuing))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("of another agency's CA", lambda: other(ca=MADE[TH].authority)),
        ("with another agency's names", lambda: other(below="th-dsi.exercise.example")),
        ("with all names", lambda: other(below="exercise.example")),
        ("that makes further ones", lambda: other(length=1)),
        ("for two years", lambda: other(days=730)),
        ("a leaf", lambda: MADE[HK].tls_leaf),
        ("the CA itself", lambda: CA.der),
        ("garbage", lambda: b"no certificate"),
    ],
)
def test_no_manifest_with_another_issuing_certificate_is_adopted(name: str, make: Callable[[], bytes]) -> None:
    check_issuing(other(), CA.der, HK)
    refused("PEER_UNTRUSTED", lambda: check_issuing(make(), CA.der, HK))


def test_a_ca_founded_before_there_were_issuing_keys_certifies_none() -> None:
    before = old_ca()
    refused("NOT_ALLOWED", lambda: make_issuing(before, ISSUING.private.public_key(), NOW, RANDOM))
    refused("PEER_UNTRUSTED", lambda: check_issuing(DER, before.der, HK))


def test_a_key_without_its_certificate_issues_nothing() -> None:
    refused("PEER_UNTRUSTED", lambda: issuing_authority(MADE[TH].issuing, ISSUING.private, HK, NAME))


def federation() -> Federation:
    roster = found_roster(list(MADE.values()), now_ms=NOW, catalogue=b"\xca" * 32)
    made = Federation.found(roster)
    for each in MADE.values():
        made = made.with_manifest(ceremony.agency_manifest(each, roster, ["127.0.0.1:7001"], NOW), NOW)
        made = made.with_key_sheet(ceremony.agency_key_sheet(each, roster, NOW), NOW)
    return made


def test_the_next_manifest_withdraws_the_issuing_key() -> None:
    known = federation()
    assert known.issuing(HK) == DER
    assert identify_peer(c.to_pem(LEAF), known, NOW, pinned=True).agency == HK
    check_pin(LEAF, HK, known, NOW)
    following = replace(known.manifests[HK].record, version=2, issuing=b"").encode()
    later = known.with_manifest(dsse.sign(following, ("manifest", MADE[HK].root.root)), NOW)
    assert later.issuing(HK) == b""
    refused("PEER_UNTRUSTED", lambda: identify_peer(c.to_pem(LEAF), later, NOW, pinned=True))
    refused("PEER_UNTRUSTED", lambda: check_pin(LEAF, HK, later, NOW))
    check_pin(MADE[HK].tls_leaf, HK, later, NOW)


def test_a_manifest_with_an_issuing_key_of_another_ca_is_not_adopted() -> None:
    known = federation()
    assert known.federation_id == federation_id(known.rosters[0].signed.payload)
    foreign = replace(known.manifests[HK].record, version=2, issuing=MADE[TH].issuing).encode()
    assert parse_manifest(foreign).issuing == MADE[TH].issuing
    refused("PEER_UNTRUSTED", lambda: known.with_manifest(dsse.sign(foreign, ("manifest", MADE[HK].root.root)), NOW))


def test_an_issuing_certificate_without_end_is_not_read() -> None:
    known = federation().manifests[HK].record
    assert parse_manifest(replace(known, issuing=bytes(2048)).encode())
    refused("MALFORMED", lambda: parse_manifest(replace(known, issuing=bytes(2049)).encode()))
