"""The ceremony from values and from files, held once from beginning to end."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from keys import ceremony
from keys.agency import AgencyKeys, Person, load_application, load_authority, make_agency, make_officer, save_agency
from keys.dsse import SignedPayload
from keys.federation import Federation
from keys.identity import AgencyId, federation_id
from keys.key_files import load_node, load_officer, load_root, open_node, open_officer, open_root
from keys.keystore import INTERACTIVE, load_sealing_keys, save_sealing_keys
from keys.roster import load_signed, parse_roster, save_signed
from keys.secret import Secret
from tests.keys import world
from tests.keys.world import NAME, NOW, refused, stream

DAY = 86_400_000
HK = AgencyId("HK-SB")


@pytest.fixture(scope="module")
def home(agencies: list[AgencyKeys], tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("ceremony") / "HK-SB"
    save_agency(
        home,
        agencies[0],
        lambda holder: f"passphrase of {holder}".encode(),
        stream("save"),
        root_profile=INTERACTIVE,
        profile=INTERACTIVE,
    )
    return home


def test_the_same_randomness_makes_the_same_agency() -> None:
    one, two = world.agency("HK-SB"), world.agency("HK-SB")
    assert one.tls_leaf == two.tls_leaf
    assert one.node.operations.key == two.node.operations.key
    assert one.application.member.log_keys == two.application.member.log_keys


def test_each_holder_opens_with_its_own_passphrase_only(home: Path, agencies: list[AgencyKeys]) -> None:
    ours = agencies[0]
    root, ca = load_authority(home, b"passphrase of root")
    assert (root.root.key, root.agency, ca.der) == (ours.root.root.key, HK, ours.authority.der)
    assert root.roster_root is not None
    node = load_node(home, b"passphrase of node")
    assert (node.operations.key, node.log.key, node.witness.key) == (
        ours.node.operations.key,
        ours.node.log.key,
        ours.node.witness.key,
    )
    assert [each.key.public for each in node.encryption] == [each.key.public for each in ours.node.encryption]
    assert node.storage == ours.node.storage
    assert set(node.encryption_keys()) == {each.key.public.key_id for each in ours.node.encryption}
    duty = load_officer(home, "duty", b"passphrase of duty")
    assert (duty.agency, duty.id, duty.signer.key) == (HK, "duty", ours.officers[1].keys.signer.key)
    for load in (load_root, load_node):
        refused("UNOPENABLE", lambda load=load: load(home, b"passphrase of duty"))
    refused("UNOPENABLE", lambda: load_officer(home, "chief", b"passphrase of duty"))


def test_only_owners_may_look(home: Path) -> None:
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    private = sorted(each for each in home.rglob("*") if each.name.startswith("sealing") or each.suffix == ".keys")
    assert len(private) == 7
    for each in private:
        assert stat.S_IMODE(each.stat().st_mode) == 0o600


def test_an_agency_is_not_made_over_another(home: Path, agencies: list[AgencyKeys]) -> None:
    before = {each: each.read_bytes() for each in home.rglob("*") if each.is_file()}
    with pytest.raises(FileExistsError):
        save_agency(home, agencies[1], lambda _: b"x", stream("over"), root_profile=INTERACTIVE)
    assert {each: each.read_bytes() for each in home.rglob("*") if each.is_file()} == before


def test_manifest_and_key_sheet_from_the_files(home: Path, roster: SignedPayload, federation: Federation) -> None:
    root, node = load_root(home, b"passphrase of root"), load_node(home, b"passphrase of node")
    head = ceremony.RecordHead(agency=HK, federation=federation_id(roster.payload), now_ms=NOW, version=2)
    operations, officers = ceremony.read_entries(home, HK)
    manifest = ceremony.make_manifest(
        root.root,
        head,
        operations=[operations],
        officers=officers,
        endpoints=["127.0.0.1:7001"],
    )
    sheet = ceremony.make_key_sheet(
        node.operations,
        head,
        encryption=ceremony.window_keys(node),
        pins=ceremony.read_pins(home, HK),
    )
    after = federation.with_manifest(manifest, NOW).with_key_sheet(sheet, NOW)
    assert after.manifests[HK].record.officers == federation.manifests[HK].record.officers
    assert after.key_sheets[HK].record.pins == federation.key_sheets[HK].record.pins
    assert after.key_sheets[HK].record.encryption_keys == federation.key_sheets[HK].record.encryption_keys


def test_records_are_kept_as_files(tmp_path: Path, roster: SignedPayload) -> None:
    save_signed(tmp_path / "roster", roster)
    assert load_signed(tmp_path / "roster") == roster
    with pytest.raises(FileExistsError):
        save_signed(tmp_path / "roster", roster)
    (tmp_path / "roster").write_bytes(roster.encode()[:-1])
    refused("MALFORMED", lambda: load_signed(tmp_path / "roster"))
    (tmp_path / "roster").write_bytes(bytes((1 << 20) + 1))
    refused("TOO_LARGE", lambda: load_signed(tmp_path / "roster"))


def test_row_28_a_destroyed_encryption_key_opens_nothing_more(tmp_path: Path, agencies: list[AgencyKeys]) -> None:
    home = tmp_path / "HK-SB"
    save_agency(home, agencies[0], lambda _: b"one", stream("destroy"), root_profile=INTERACTIVE)
    node = load_node(home, b"one")
    keys = load_sealing_keys(home, node.derived)
    oldest = min((each for each in keys if each.startswith("encryption-")), key=lambda each: keys[each].from_ms)
    left = {name: key for name, key in keys.items() if name != oldest}
    save_sealing_keys(home, node.derived, left, stream("after"))
    after = load_node(home, b"one")
    assert node.encryption[0].key.public.key_id not in after.encryption_keys()
    assert after.encryption[0].key.public == node.encryption[1].key.public


def test_daily_windows_overlap_by_ten_minutes() -> None:
    windows = sorted(ceremony.make_windows(HK, NOW, 3, stream("windows")).values(), key=lambda each: each.from_ms)
    midnight = NOW - NOW % DAY
    assert [(each.from_ms, each.until_ms) for each in windows] == [
        (midnight - 600_000, midnight + DAY + 600_000),
        (midnight + DAY, midnight + 2 * DAY + 600_000),
        (midnight + 2 * DAY, midnight + 3 * DAY + 600_000),
    ]


def test_roster_1_needs_one_name_and_a_root(agencies: list[AgencyKeys]) -> None:
    applications = [ceremony.member_of(each) for each in agencies]

    def made(*applicants: object, **options: int) -> SignedPayload:
        terms = ceremony.RosterTerms(**options)
        return ceremony.make_roster_1(applicants, catalogue_digest=bytes(32), now_ms=NOW, terms=terms)  # type: ignore[arg-type] # wrong or merged on purpose

    other = make_agency(AgencyId("XI-IOM"), "other.example", [], now_ms=NOW, random_bytes=stream("other"))
    refused("MALFORMED", lambda: made(*applications, other.application))
    refused("MALFORMED", lambda: made())
    refused("MALFORMED", lambda: made(*(replace(each, roster_root=None) for each in applications)))
    refused("MALFORMED", lambda: made(*applications, threshold=4))
    refused("MALFORMED", lambda: made(*applications, applications[0]))
    roster = parse_roster(made(*applications).payload)
    assert (roster.threshold, roster.witness_quorum) == (2, 2)
    assert parse_roster(made(applications[0]).payload).witness_quorum == 0
    assert parse_roster(made(*applications, threshold=3, witness_quorum=1).payload).witness_quorum == 1


def test_more_than_two_witnesses_need_two_thirds_and_one() -> None:
    codes = ["HK-SB", "KH-NCCT", "TH-DSI", "TH-RTP", "XI-IOM"]
    applications = [
        make_agency(AgencyId(code), NAME, [], now_ms=NOW, random_bytes=stream(code)).application for code in codes
    ]
    signed = ceremony.make_roster_1(applications, catalogue_digest=bytes(32), now_ms=NOW)
    assert parse_roster(signed.payload).witness_quorum == 3


def test_a_stranger_s_root_does_not_sign_a_roster(agencies: list[AgencyKeys]) -> None:
    unsigned = ceremony.make_roster_1([agencies[0].application], catalogue_digest=bytes(32), now_ms=NOW)
    stranger = agencies[1].root.roster_root
    assert stranger is not None
    refused("SIGNER_UNKNOWN", lambda: ceremony.sign_roster(unsigned, stranger))


def test_what_nobody_would_adopt_is_not_signed(agencies: list[AgencyKeys], roster: SignedPayload) -> None:
    refused("MALFORMED", lambda: ceremony.agency_manifest(agencies[0], roster, ["no port"], NOW))
    ca = agencies[0].authority
    for person in (Person(id="x", roles=("boss",)), Person(id="x", ceiling=0), Person(id="X")):
        refused("MALFORMED", lambda p=person: make_officer(ca, p, now_ms=NOW, random_bytes=stream("p")))
    refused("MALFORMED", lambda: make_agency(HK, "Not A Name", [], now_ms=NOW, random_bytes=stream("n")))


def test_a_store_without_its_keys_is_refused(agencies: list[AgencyKeys]) -> None:
    stored, officer = agencies[0].stored, agencies[0].officers[0].stored
    refused("MALFORMED", lambda: open_root({}))
    refused("MALFORMED", lambda: open_root({"agency-root": stored["root"]["agency-root"]}))
    refused("MALFORMED", lambda: open_node(stored["node"], {}, Secret(b"")))
    refused("MALFORMED", lambda: open_node({}, stored["sealing"], Secret(b"")))
    refused("MALFORMED", lambda: open_officer({"tls": officer["tls"]}))
    refused("MALFORMED", lambda: open_officer({**officer, "sign": stored["node"]["operations"]}))


def test_the_application_is_read_back(home: Path, agencies: list[AgencyKeys]) -> None:
    assert load_application(home) == ceremony.member_of(agencies[0])


def test_row_49_no_private_key_is_printed(agencies: list[AgencyKeys]) -> None:
    shown = repr(agencies[0])
    for stored in agencies[0].stored.values():
        for key in stored.values():
            assert key.secret.reveal().hex() not in shown
            assert repr(key.secret.reveal())[2:-1] not in shown
