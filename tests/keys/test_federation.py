"""Manifests and key sheets, and what a node believes after adopting them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from keys import ceremony, dsse
from keys.agency import AgencyKeys
from keys.certificate import spki_sha256
from keys.dsse import SignedPayload
from keys.federation import Federation
from keys.identity import AgencyId, Usage, record_digest
from keys.key_sheet import KeySheet, PinKind, TlsPin, key_sheet_digest, parse_key_sheet, verify_key_sheet
from keys.manifest import Manifest, Officer, manifest_digest, parse_manifest, verify_manifest
from keys.roster import MemberStatus
from keys.seal import EncryptionKey
from keys.signer import Ed25519Signer, HybridSigner, make_record, record_of
from keys.timed_key import TimedKey
from tests.keys.world import NOW, refused

DAY = 86_400_000
YEAR = 365 * DAY
HK = AgencyId("HK-SB")


@pytest.fixture(scope="module")
def manifest(federation: Federation) -> Manifest:
    return federation.manifests[HK].record


@pytest.fixture(scope="module")
def sheet(federation: Federation) -> KeySheet:
    return federation.key_sheets[HK].record


@pytest.fixture
def sign_manifest(agencies: list[AgencyKeys]) -> Callable[[Manifest], SignedPayload]:
    return lambda manifest: dsse.sign(manifest.encode(), ("manifest", agencies[0].root.root))


@pytest.fixture
def sign_sheet(agencies: list[AgencyKeys]) -> Callable[[KeySheet], SignedPayload]:
    return lambda sheet: dsse.sign(sheet.encode(), ("key-sheet", agencies[0].node.operations))


Sign = Callable[[object], SignedPayload]


def test_everything_is_found_again(federation: Federation, agencies: list[AgencyKeys], roster: SignedPayload) -> None:
    ours = agencies[0]
    operations = ours.node.operations.key
    assert federation.operations_key("HK-SB", operations.key_id, NOW) == operations
    for made in ours.officers:
        officer, key = federation.person("HK-SB", made.keys.signer.key.key_id, NOW)
        assert (officer, key) == (made.entry, made.keys.signer.key)
    assert federation.encryption_key("HK-SB", NOW) == ours.node.encryption[0].key.public
    assert federation.encryption_key("HK-SB", NOW + DAY) == ours.node.encryption[1].key.public
    assert federation.roster_by_digest(record_digest("roster", roster.payload)) is federation.roster
    record, digest, signed = federation.manifests[HK]
    assert (record, digest) == (federation.manifest("HK-SB", NOW), manifest_digest(federation.manifests[HK].signed))
    assert signed == federation.manifests[HK].signed
    assert federation.key_sheets[HK].digest == key_sheet_digest(federation.key_sheets[HK].signed)
    assert federation.key_sheet("HK-SB", NOW) is federation.key_sheets[HK].record


def test_pins_say_whose_leaf_it_is(federation: Federation, agencies: list[AgencyKeys]) -> None:
    ours = agencies[0]
    pin = federation.pin("HK-SB", spki_sha256(ours.tls_leaf))
    assert pin == TlsPin(owner="HK-SB", kind=PinKind.NODE, spki_sha256=spki_sha256(ours.tls_leaf))
    kinds = {}
    for each in ours.officers:
        found = federation.pin("HK-SB", spki_sha256(each.tls_leaf))
        assert found is not None
        kinds[found.owner] = found.kind
    assert kinds == {"HK-SB/chief": PinKind.OFFICER, "HK-SB/duty": PinKind.OFFICER, "HK-SB/gate": PinKind.SYSTEM}
    assert federation.pin("HK-SB", bytes(32)) is None
    assert federation.pin("TH-DSI", spki_sha256(ours.tls_leaf)) is None
    assert federation.pin("XI-IOM", bytes(32)) is None


def test_strangers_are_not_found(federation: Federation, agencies: list[AgencyKeys]) -> None:
    ours, theirs = agencies[0].node.operations.key.key_id, agencies[1].node.operations.key.key_id
    duty = agencies[0].officers[1].keys.signer.key.key_id
    refused("SIGNER_UNKNOWN", lambda: federation.operations_key("HK-SB", theirs, NOW))
    refused("SIGNER_UNKNOWN", lambda: federation.operations_key("HK-SB", duty, NOW))
    refused("SIGNER_UNKNOWN", lambda: federation.person("HK-SB", ours, NOW))
    refused("SIGNER_UNKNOWN", lambda: federation.person("TH-DSI", duty, NOW))
    refused("NOT_A_MEMBER", lambda: federation.operations_key("XI-IOM", ours, NOW))
    refused("NOT_A_MEMBER", lambda: federation.encryption_key("XI-IOM", NOW))
    refused("ROSTER_UNKNOWN", lambda: federation.roster_by_digest(bytes(32)))


def test_before_adoption_nothing_is_known(roster: SignedPayload, agencies: list[AgencyKeys]) -> None:
    federation = Federation.found(roster)
    refused("SIGNER_UNKNOWN", lambda: federation.manifest("HK-SB", NOW))
    refused("KEY_SHEET_EXPIRED", lambda: federation.key_sheet("HK-SB", NOW))
    assert federation.encryption_key("HK-SB", NOW) is None
    sheet = ceremony.agency_key_sheet(agencies[0], roster, NOW)
    refused("SIGNER_UNKNOWN", lambda: federation.with_key_sheet(sheet, NOW))


def test_what_has_expired_is_not_believed(federation: Federation, agencies: list[AgencyKeys]) -> None:
    operations = agencies[0].node.operations.key.key_id
    duty = agencies[0].officers[1].keys.signer.key.key_id
    refused("KEY_EXPIRED", lambda: federation.operations_key("HK-SB", operations, NOW + YEAR - 1))
    refused("KEY_EXPIRED", lambda: federation.person("HK-SB", duty, NOW + YEAR - 1))
    refused("MANIFEST_EXPIRED", lambda: federation.operations_key("HK-SB", operations, NOW + YEAR))
    refused("NOT_A_MEMBER", lambda: federation.operations_key("HK-SB", operations, NOW - 11 * 60_000))
    assert federation.encryption_key("HK-SB", NOW + 4 * DAY) is None
    refused("KEY_SHEET_EXPIRED", lambda: federation.key_sheet("HK-SB", NOW + 4 * DAY))


def test_an_expired_roster_adopts_nothing_and_stops_traffic_after_30_days(
    federation: Federation, manifest: Manifest, sheet: KeySheet, sign_manifest: Sign, sign_sheet: Sign
) -> None:
    expires = federation.roster.expires_ms
    last, over = expires + 30 * DAY - 1, expires + 30 * DAY
    later = {"issued_ms": expires - 1, "expires_ms": over + YEAR}
    operations = tuple(replace(each, until_ms=over + YEAR) for each in manifest.operations_keys)
    renewed = sign_manifest(replace(manifest, version=2, operations_keys=operations, **later))
    renewed_sheet = sign_sheet(replace(sheet, manifest_version=2, **later))
    after = federation.with_manifest(renewed, last)
    assert after.with_key_sheet(renewed_sheet, last).key_sheet(HK, last).manifest_version == 2
    refused("ROSTER_EXPIRED", lambda: federation.with_manifest(renewed, over))
    refused("ROSTER_EXPIRED", lambda: after.with_key_sheet(renewed_sheet, over))
    federation.check_traffic(last)
    refused("ROSTER_EXPIRED", lambda: federation.check_traffic(over))


def test_suspended_members_have_no_keys(federation: Federation, agencies: list[AgencyKeys]) -> None:
    members = (replace(federation.roster.members[0], status=MemberStatus.SUSPENDED), *federation.roster.members[1:])
    newest = replace(federation.rosters[-1], record=replace(federation.roster, members=members))
    after = replace(federation, rosters=(newest,))
    operations = agencies[0].node.operations.key.key_id
    refused("NOT_A_MEMBER", lambda: after.operations_key("HK-SB", operations, NOW))
    refused("NOT_A_MEMBER", lambda: after.with_manifest(federation.manifests[HK].signed, NOW))
    refused("NOT_A_MEMBER", lambda: after.encryption_key("HK-SB", NOW))


def test_versions_only_rise(
    federation: Federation, manifest: Manifest, sheet: KeySheet, sign_manifest: Sign, sign_sheet: Sign
) -> None:
    assert federation.with_manifest(federation.manifests[HK].signed, NOW) is federation
    assert federation.with_key_sheet(federation.key_sheets[HK].signed, NOW) is federation
    third = federation.with_manifest(sign_manifest(replace(manifest, version=3)), NOW)
    assert third.manifests[HK].record.version == 3
    assert federation.manifests[HK].record.version == 1  # a value; the old one stands
    refused("REPLAYED", lambda: third.with_manifest(sign_manifest(replace(manifest, version=2)), NOW))
    third = third.with_key_sheet(sign_sheet(replace(sheet, version=3)), NOW)
    refused("REPLAYED", lambda: third.with_key_sheet(federation.key_sheets[HK].signed, NOW))


def test_a_stolen_operations_key_cannot_use_up_the_versions_of_key_sheets(
    federation: Federation, manifest: Manifest, sheet: KeySheet, sign_manifest: Sign, sign_sheet: Sign
) -> None:
    third = federation.with_manifest(sign_manifest(replace(manifest, version=3)), NOW)
    stolen = third.with_key_sheet(sign_sheet(replace(sheet, version=(1 << 32) - 1, manifest_version=3)), NOW)
    refused("REPLAYED", lambda: stolen.with_key_sheet(sign_sheet(replace(sheet, manifest_version=3)), NOW))
    fourth = stolen.with_manifest(sign_manifest(replace(manifest, version=4)), NOW)
    after = fourth.with_key_sheet(sign_sheet(replace(sheet, version=1, manifest_version=4)), NOW)
    known = after.key_sheets[HK]
    assert (known.record.manifest_version, known.record.version, known.rank) == (4, 1, (4 << 32) + 1)
    error = refused("REPLAYED", lambda: after.with_key_sheet(stolen.key_sheets[HK].signed, NOW))
    assert str(error) == "version 3.4294967295 of HK-SB is below 4.1, known here"


def test_a_key_sheet_that_names_a_manifest_above_the_one_in_force_waits_for_it(
    federation: Federation, manifest: Manifest, sheet: KeySheet, sign_manifest: Sign, sign_sheet: Sign
) -> None:
    ahead = sign_sheet(replace(sheet, manifest_version=2))
    error = refused("SIGNER_UNKNOWN", lambda: federation.with_key_sheet(ahead, NOW))
    assert str(error) == "key sheet 1 of HK-SB names manifest 2, 1 is in force here"
    after = federation.with_manifest(sign_manifest(replace(manifest, version=2)), NOW).with_key_sheet(ahead, NOW)
    assert after.key_sheets[HK].record.manifest_version == 2


def test_a_key_sheet_of_before_names_no_manifest_and_is_the_lowest(
    federation: Federation, sheet: KeySheet, sign_sheet: Sign
) -> None:
    before = sign_sheet(replace(sheet, manifest_version=0, version=(1 << 32) - 1))
    fresh = replace(federation, key_sheets={}).with_key_sheet(before, NOW)
    assert fresh.with_key_sheet(sign_sheet(sheet), NOW).key_sheets[HK].record == sheet
    refused("REPLAYED", lambda: federation.with_key_sheet(before, NOW))


def test_a_stolen_root_cannot_use_up_the_versions_of_manifests(
    federation: Federation, manifest: Manifest, sheet: KeySheet, sign_manifest: Sign, sign_sheet: Sign
) -> None:
    most = replace(manifest, version=(1 << 31) - 1)
    stolen = federation.with_manifest(sign_manifest(most), NOW)
    stolen = stolen.with_key_sheet(sign_sheet(replace(sheet, manifest_version=most.version)), NOW)
    other = HybridSigner.from_seed(Usage.AGENCY_ROOT, "HK-SB", bytes(64))
    members = (replace(federation.roster.members[0], root=make_record(other)), *federation.roster.members[1:])
    later = replace(federation.rosters[0], record=replace(federation.roster, version=2, members=members), rank=2)
    renewed = replace(stolen, rosters=(*federation.rosters, later))
    first = dsse.sign(manifest.encode(), ("manifest", other))
    after = renewed.with_manifest(first, NOW)
    assert (after.manifests[HK].record, after.manifests[HK].rank) == (manifest, (1 << 32) + 1)
    assert HK not in after.key_sheets  # it named a manifest of the root that was replaced
    assert after.with_key_sheet(sign_sheet(sheet), NOW).key_sheets[HK].record == sheet


def test_a_version_beyond_31_bits_is_no_manifest_s(manifest: Manifest, sheet: KeySheet) -> None:
    refused("MALFORMED", lambda: parse_manifest(replace(manifest, version=1 << 31).encode()))
    refused("MALFORMED", lambda: parse_key_sheet(replace(sheet, manifest_version=1 << 31).encode()))


def test_what_was_adopted_once_is_taken_up_again_whatever_has_run_out(
    federation: Federation, manifest: Manifest, sheet: KeySheet, sign_manifest: Sign, sign_sheet: Sign
) -> None:
    records = federation.manifests[HK].signed, federation.key_sheets[HK].signed
    bare = replace(federation, manifests={}, key_sheets={}, raw_keys={})
    refused("SIGNER_UNKNOWN", lambda: bare.with_key_sheet_of_before(records[1]))
    again = bare.with_manifest_of_before(records[0]).with_key_sheet_of_before(records[1])
    assert (again.manifests[HK].record, again.key_sheets[HK].record) == (manifest, sheet)
    refused("MANIFEST_EXPIRED", lambda: again.manifest(HK, manifest.expires_ms))
    refused("KEY_SHEET_EXPIRED", lambda: again.key_sheet(HK, sheet.expires_ms))
    foreign = dsse.sign(manifest.encode(), ("manifest", HybridSigner.from_seed(Usage.AGENCY_ROOT, "HK-SB", bytes(64))))
    refused("SIGNER_UNKNOWN", lambda: bare.with_manifest_of_before(foreign))
    forged = replace(records[0], payload=replace(manifest, version=2).encode())
    refused("SIGNATURE_INVALID", lambda: bare.with_manifest_of_before(forged))


def test_row_60_two_records_of_one_version_are_equivocation(
    federation: Federation, manifest: Manifest, sheet: KeySheet, sign_manifest: Sign, sign_sheet: Sign
) -> None:
    other = sign_manifest(replace(manifest, endpoints=("10.0.0.1:7001",)))
    refused("EQUIVOCATION", lambda: federation.with_manifest(other, NOW))
    second = sign_sheet(replace(sheet, expires_ms=sheet.expires_ms + 1))
    refused("EQUIVOCATION", lambda: federation.with_key_sheet(second, NOW))


def test_row_54_a_key_of_another_list_is_refused(
    federation: Federation, manifest: Manifest, agencies: list[AgencyKeys], sign_manifest: Sign
) -> None:
    """The log key's raw key as an operations key: one raw key would serve two purposes."""
    seed = agencies[0].stored["node"]["log"].secret.reveal()
    record = make_record(Ed25519Signer.from_seed(Usage.AGENCY, "HK-SB", seed))
    keys = (*manifest.operations_keys, TimedKey(key=record, from_ms=NOW, until_ms=NOW + DAY))
    refused(
        "MALFORMED",
        lambda: federation.with_manifest(sign_manifest(replace(manifest, version=2, operations_keys=keys)), NOW),
    )


def test_row_55_a_person_s_key_of_another_agency_is_refused(
    federation: Federation, manifest: Manifest, agencies: list[AgencyKeys], sign_manifest: Sign
) -> None:
    theirs = agencies[1].officers[1].entry
    refused("WRONG_MAKER", lambda: parse_manifest(replace(manifest, officers=(theirs,)).encode()))
    claimed = replace(theirs, key=replace(theirs.key, owner="HK-SB/duty"))
    signed = sign_manifest(replace(manifest, version=2, officers=(claimed,)))
    refused("SIGNATURE_INVALID", lambda: federation.with_manifest(signed, NOW))


def test_a_manifest_must_be_its_own_agency_s_and_federation_s(
    federation: Federation, manifest: Manifest, agencies: list[AgencyKeys], roster: SignedPayload, sign_manifest: Sign
) -> None:
    member, theirs = federation.roster.members[0], federation.roster.members[1]
    good = federation.manifests[HK].signed
    assert verify_manifest(good, member, federation.federation_id, NOW) == manifest
    refused("SIGNER_UNKNOWN", lambda: verify_manifest(good, theirs, federation.federation_id, NOW))
    refused("WRONG_FEDERATION", lambda: verify_manifest(good, member, b"F" * 32, NOW))
    foreign = dsse.sign(manifest.encode(), ("manifest", agencies[1].root.root))
    error = refused("WRONG_MAKER", lambda: verify_manifest(foreign, theirs, federation.federation_id, NOW))
    assert str(error) == "a record of HK-SB signed for KH-NCCT"
    refused("SIGNER_UNKNOWN", lambda: federation.with_manifest(foreign, NOW))
    other = HybridSigner.from_seed(Usage.AGENCY_ROOT, "HK-SB", bytes(64))
    refused("SIGNER_UNKNOWN", lambda: federation.with_manifest(dsse.sign(manifest.encode(), ("manifest", other)), NOW))
    sheet_type = replace(
        good,
        signatures=(
            replace(good.signatures[0], payload_type=federation.key_sheets[HK].signed.signatures[0].payload_type),
        ),
    )
    refused("WRONG_TYPE", lambda: federation.with_manifest(sheet_type, NOW))
    refused("MANIFEST_EXPIRED", lambda: verify_manifest(good, member, federation.federation_id, manifest.expires_ms))
    refused("CLOCK_DIFFERS", lambda: verify_manifest(good, member, federation.federation_id, NOW - 600_001))
    assert verify_manifest(good, member, federation.federation_id, NOW - 600_000) == manifest


def test_a_key_sheet_must_be_its_own_agency_s_and_federation_s(
    federation: Federation, manifest: Manifest, sheet: KeySheet, agencies: list[AgencyKeys], sign_sheet: Sign
) -> None:
    good, theirs = federation.key_sheets[HK].signed, federation.manifests[AgencyId("TH-DSI")].record
    assert verify_key_sheet(good, manifest, federation.federation_id, NOW) == sheet
    refused("SIGNER_UNKNOWN", lambda: verify_key_sheet(good, theirs, federation.federation_id, NOW))
    refused("WRONG_FEDERATION", lambda: verify_key_sheet(good, manifest, b"F" * 32, NOW))
    foreign = dsse.sign(sheet.encode(), ("key-sheet", agencies[2].node.operations))
    refused("WRONG_MAKER", lambda: verify_key_sheet(foreign, theirs, federation.federation_id, NOW))
    refused("KEY_SHEET_EXPIRED", lambda: verify_key_sheet(good, manifest, federation.federation_id, sheet.expires_ms))
    refused("KEY_EXPIRED", lambda: verify_key_sheet(good, manifest, federation.federation_id, NOW - 600_001))
    late = sign_sheet(replace(sheet, issued_ms=NOW + 600_001))
    refused("CLOCK_DIFFERS", lambda: verify_key_sheet(late, manifest, federation.federation_id, NOW))


def test_row_10_a_key_sheet_with_a_bad_key_is_refused(
    federation: Federation, sheet: KeySheet, sign_sheet: Sign
) -> None:
    record = sheet.encryption_keys[0].key
    weak = replace(record, public_key=record.public_key[:1184] + bytes(32))
    keys = (TimedKey(key=weak, from_ms=NOW, until_ms=NOW + DAY),)
    refused(
        "MALFORMED", lambda: federation.with_key_sheet(sign_sheet(replace(sheet, version=2, encryption_keys=keys)), NOW)
    )


def test_the_key_whose_window_began_last_is_taken() -> None:
    seeds = [bytes([number]) * 32 for number in range(3)]
    keys = [EncryptionKey.from_seed("HK-SB", seed).public for seed in seeds]
    windows = [(100, 200), (150, 250), (240, 300)]
    timed = tuple(
        TimedKey(key=record_of(key), from_ms=begin, until_ms=end)
        for key, (begin, end) in zip(keys, windows, strict=True)
    )
    sheet = KeySheet(
        federation_id=bytes(32), agency=HK, version=1, issued_ms=1, expires_ms=999, encryption_keys=timed, pins=()
    )
    chosen = {now: sheet.encryption_key(now) for now in (99, 100, 149, 150, 199, 239, 240, 299, 300)}
    expected = [None, 0, 0, 1, 1, 1, 2, 2, None]
    assert list(chosen.values()) == [None if each is None else keys[each] for each in expected]


def test_people_are_told_apart(manifest: Manifest) -> None:
    by_id: dict[str, Officer] = dict(manifest.officers_by_id)
    assert by_id["gate"].is_system
    assert not by_id["duty"].is_system
    assert by_id["chief"].roles == ("author", "reader", "releaser")


def test_an_operations_key_without_its_own_proof_is_refused(
    federation: Federation, manifest: Manifest, sign_manifest: Sign
) -> None:
    operations = manifest.operations_keys[0]
    unproven = replace(operations, key=replace(operations.key, proof=bytes(64)))
    signed = sign_manifest(replace(manifest, version=2, operations_keys=(unproven,)))
    refused("SIGNATURE_INVALID", lambda: federation.with_manifest(signed, NOW))
