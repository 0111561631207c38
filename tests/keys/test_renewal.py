"""What only the root can renew: the request of a node and what is given back, both refused where anything is off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from keys import ceremony, certificate, dsse
from keys.agency import AgencyKeys, KeyPlan, Person
from keys.dsse import SignedPayload
from keys.durations import DAY_MS, YEAR_MS
from keys.federation import Federation
from keys.identity import AgencyId
from keys.manifest import Manifest, parse_manifest
from keys.renewal import (
    LATE_MS,
    REQUEST_MS,
    RenewalRequest,
    differences,
    following_manifest,
    make_request,
    parse_renewal,
    parse_request,
    renew,
    sign_following,
    verify_renewal,
    verify_request,
)
from tests.keys.world import NAME, NOW, agency, refused, roster_of, stream

HK = AgencyId("HK-SB")
LATER = NOW + 340 * DAY_MS
RANDOM = stream("renewal")


@pytest.fixture(scope="module")
def keys() -> AgencyKeys:
    people = [Person(id="duty"), Person(id="gate", roles=("author",), system=True)]
    plan = KeyPlan(windows=1, issuing=True)
    return ceremony.make_agency(HK, NAME, people, now_ms=NOW, random_bytes=stream("renewal/HK"), plan=plan)


@pytest.fixture(scope="module")
def other() -> AgencyKeys:
    return agency("TH-DSI")


@pytest.fixture(scope="module")
def roster(keys: AgencyKeys, other: AgencyKeys) -> SignedPayload:
    return roster_of([keys, other])


@pytest.fixture(scope="module")
def known(keys: AgencyKeys, roster: SignedPayload) -> Federation:
    made = Federation.found(roster)
    return made.with_manifest(ceremony.agency_manifest(keys, roster, ["127.0.0.1:7001"], NOW), NOW)


def asked(keys: AgencyKeys, known: Federation, at_ms: int = LATER) -> SignedPayload:
    leaves = {each.entry.id: each.tls_leaf for each in keys.officers}
    return make_request(keys.node, known.manifests[HK].signed, known.roster_digest, leaves, at_ms)


def answered(keys: AgencyKeys, request: RenewalRequest, at_ms: int = LATER, **changes: object) -> SignedPayload:
    following = replace(following_manifest(request, at_ms), **changes)  # type: ignore[arg-type] # fields of Manifest
    manifest = sign_following(request, keys.root, keys.authority, following, issuing=True, random_bytes=RANDOM)
    return renew(request, keys.root, keys.authority, manifest, at_ms, RANDOM)


def test_one_file_each_way_renews_everything_for_a_year(keys: AgencyKeys, known: Federation) -> None:
    request = verify_request(asked(keys, known), keys.application.member, LATER)
    member = known.member(HK, LATER)
    renewal = verify_renewal(answered(keys, request), member, known.federation_id, LATER)
    later = known.with_manifest(renewal.manifest, LATER)
    manifest, before = later.manifest(HK, LATER + 364 * DAY_MS), known.manifests[HK].record
    assert (manifest.version, manifest.endpoints, manifest.log_epochs) == (2, before.endpoints, before.log_epochs)
    assert [each.key for each in manifest.officers] == [each.key for each in before.officers]
    assert {each.until_ms for each in (*manifest.officers, *manifest.operations_keys)} == {LATER + YEAR_MS}
    assert certificate.spki_sha256(renewal.node_leaf) == certificate.spki_sha256(keys.tls_leaf)
    for each in keys.officers:
        assert certificate.spki_sha256(renewal.leaves[each.entry.id]) == certificate.spki_sha256(each.tls_leaf)
        assert certificate.ends_ms(renewal.leaves[each.entry.id]) > LATER + 360 * DAY_MS
    assert later.issuing(HK) != known.issuing(HK)
    assert certificate.spki_sha256(later.issuing(HK)) == certificate.spki_sha256(keys.issuing)


def test_whoever_is_late_renews_all_the_same(keys: AgencyKeys, known: Federation) -> None:
    late = NOW + YEAR_MS + 20 * DAY_MS
    request = verify_request(asked(keys, known, late), keys.application.member, late)
    made = following_manifest(request, late)
    assert {each.until_ms for each in (*made.officers, *made.operations_keys)} == {late + YEAR_MS}


def test_whose_time_was_made_to_end_earlier_is_not_renewed_with_the_others(keys: AgencyKeys, known: Federation) -> None:
    request = parse_request(asked(keys, known).payload)
    ended = replace(request.present.officers[0], until_ms=LATER - LATE_MS)
    present = replace(request.present, officers=(ended, *request.present.officers[1:]))
    again = replace(request, manifest=dsse.sign(present.encode(), ("manifest", keys.root.root)))
    assert [each.until_ms for each in following_manifest(again, LATER).officers] == [LATER - LATE_MS, LATER + YEAR_MS]


def test_a_number_that_was_signed_is_never_signed_again(keys: AgencyKeys, known: Federation) -> None:
    request = parse_request(asked(keys, known).payload)
    assert [following_manifest(request, LATER, signed).version for signed in (0, 1, 2, 3)] == [2, 2, 3, 4]


def resigned(keys: AgencyKeys, known: Federation, **changes: object) -> SignedPayload:
    request = replace(parse_request(asked(keys, known).payload), **changes)  # type: ignore[arg-type] # any field
    return dsse.sign(request.encode(), ("renewal-request", keys.node.operations))


@pytest.mark.parametrize(
    ("code", "make"),
    [
        ("CLOCK_DIFFERS", lambda k, o, f: resigned(k, f, issued_ms=LATER + 600_001)),
        ("NOT_ALLOWED", lambda k, o, f: resigned(k, f, issued_ms=LATER - REQUEST_MS, expires_ms=LATER)),
        ("WRONG_MAKER", lambda k, o, f: resigned(k, f, agency=o.agency)),
        ("WRONG_FEDERATION", lambda k, o, f: resigned(k, f, federation_id=b"F" * 32)),
        ("MALFORMED", lambda k, o, f: resigned(k, f, node_request=b"no request")),
        ("MALFORMED", lambda k, o, f: resigned(k, f, node_request=bytes(4097))),
        ("PEER_UNTRUSTED", lambda k, o, f: resigned(k, f, leaves={"duty": o.officers[0].tls_leaf})),
        (
            "SIGNER_UNKNOWN",
            lambda k, o, f: dsse.sign(asked(k, f).payload, ("renewal-request", o.node.operations)),
        ),
        (
            "SIGNER_UNKNOWN",
            lambda k, o, f: resigned(
                k, f, manifest=dsse.sign(f.manifests[HK].signed.payload, ("manifest", o.root.root))
            ),
        ),
        ("WRONG_TYPE", lambda k, o, f: dsse.sign(asked(k, f).payload, ("key-sheet", k.node.operations))),
        ("MALFORMED", lambda k, o, f: SignedPayload(payload=asked(k, f).payload[:-7])),
    ],
)
def test_a_request_that_is_off_is_refused_before_the_root_is_opened(
    code: str, make: Callable[..., SignedPayload], keys: AgencyKeys, other: AgencyKeys, known: Federation
) -> None:
    refused(code, lambda: verify_request(make(keys, other, known), keys.application.member, LATER))


@pytest.mark.parametrize(
    ("code", "make"),
    [
        ("SIGNER_UNKNOWN", lambda k, o, r, f: dsse.sign(answered(k, r).payload, ("renewal", o.root.root))),
        ("WRONG_TYPE", lambda k, o, r, f: dsse.sign(answered(k, r).payload, ("manifest", k.root.root))),
        ("CLOCK_DIFFERS", lambda k, o, r, f: answered(k, r, LATER + 600_001)),
        ("MANIFEST_EXPIRED", lambda k, o, r, f: answered(k, r, issued_ms=LATER - 2, expires_ms=LATER)),
        ("WRONG_FEDERATION", lambda k, o, r, f: answered(k, replace(r, federation_id=b"F" * 32))),
        ("PEER_UNTRUSTED", lambda k, o, r, f: with_(k, r, node_leaf=o.tls_leaf)),
        ("PEER_UNTRUSTED", lambda k, o, r, f: with_(k, r, leaves={"duty": k.tls_leaf})),
        ("MALFORMED", lambda k, o, r, f: with_(k, r, node_leaf=b"")),
        ("WRONG_MAKER", lambda k, o, r, f: with_(k, r, agency=o.agency)),
        ("MALFORMED", lambda k, o, r, f: SignedPayload(payload=answered(k, r).payload[:-7])),
    ],
)
def test_a_renewal_that_is_off_is_refused_as_a_whole(
    code: str, make: Callable[..., SignedPayload], keys: AgencyKeys, other: AgencyKeys, known: Federation
) -> None:
    request = parse_request(asked(keys, known).payload)
    member = known.member(HK, LATER)
    refused(code, lambda: verify_renewal(make(keys, other, request, known), member, known.federation_id, LATER))


def with_(keys: AgencyKeys, request: RenewalRequest, **changes: object) -> SignedPayload:
    made = replace(parse_renewal(answered(keys, request).payload), **changes)  # type: ignore[arg-type] # any field
    return dsse.sign(made.encode(), ("renewal", keys.root.root))


def test_what_differs_is_said_in_words(known: Federation) -> None:
    before = known.manifests[HK].record
    duty, gate = before.officers

    def after(**changes: object) -> Manifest:
        return parse_manifest(replace(before, **changes).encode())  # type: ignore[arg-type] # fields of Manifest

    assert differences(before, before) == []
    assert differences(before, after(officers=(gate,))) == ["goes: duty"]
    assert differences(after(officers=(gate,)), before) == ["comes: duty"]
    (told,) = differences(before, after(officers=(replace(duty, ceiling=3), gate)))
    assert told.startswith("changes: duty, author, reader, ceiling 2, key ")
    assert differences(before, after(endpoints=())) == ["addresses: 127.0.0.1:7001 → none"]
