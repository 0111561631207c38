"""Roster 1: signed by every root it names, with every bound and order kept."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keys import ceremony, dsse
from keys.agency import AgencyKeys
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.federation import Federation
from keys.identity import Usage, federation_id, record_digest
from keys.roster import (
    FIRST_ID,
    Application,
    LogKey,
    Member,
    MemberStatus,
    Roster,
    catalogue_digest,
    parse_federation_name,
    parse_roster,
    roster_digest,
    verify_first_roster,
    words,
)
from keys.signer import Ed25519Signer, HybridSigner, make_record
from keys.v1 import roster_pb2
from tests.keys import world
from tests.keys.world import NOW, refused


@pytest.fixture(scope="module")
def parsed(roster: SignedPayload) -> Roster:
    return parse_roster(roster.payload)


def resign(roster: Roster, agencies: list[AgencyKeys]) -> SignedPayload:
    pairs = [("roster", each.root.roster_root) for each in agencies if each.root.roster_root is not None]
    return dsse.sign(roster.encode(), *pairs)


def test_roster_1_verifies_and_founds_the_federation(roster: SignedPayload, parsed: Roster) -> None:
    assert verify_first_roster(roster) == parsed
    federation = Federation.found(roster)
    assert federation.federation_id == federation_id(roster.payload)
    assert federation.roster_digest == roster_digest(roster) == record_digest("roster", roster.payload)
    assert federation.name == world.NAME
    assert parsed.federation_id == FIRST_ID == bytes(32)
    assert parse_roster(parsed.encode()) == parsed


def test_members_are_numbered_by_their_codes_and_found(parsed: Roster) -> None:
    assert [(each.number, each.agency) for each in parsed.members] == list(enumerate(world.CODES, start=1))
    member = parsed.member("KH-NCCT")
    assert member is parsed.by_number(2)
    assert member is not None
    assert member.origin(1) == "kh-ncct.exercise.example/log/1"
    assert member.log_key(1) is member.log_keys[0].public
    assert member.log_key(0) is None
    assert parsed.member("XI-IOM") is None
    assert parsed.by_number(4) is None


def test_row_22_every_root_must_have_signed_and_nobody_else(roster: SignedPayload, agencies: list[AgencyKeys]) -> None:
    one = replace(roster, signatures=roster.signatures[1:])
    refused("SIGNERS_DIFFER", lambda: verify_first_roster(one))
    doubled = replace(roster, signatures=(roster.signatures[0], *roster.signatures[:2]))
    refused("MALFORMED", lambda: SignedPayload.decode(doubled.encode()))
    stranger = HybridSigner.from_seed(Usage.ROSTER_ROOT, "HK-SB", bytes(64))
    more = dsse.add(roster, "roster", stranger)
    refused("SIGNERS_DIFFER", lambda: verify_first_roster(more))
    other = dsse.add(replace(roster, signatures=roster.signatures[1:]), "roster", stranger)
    refused("SIGNER_UNKNOWN", lambda: verify_first_roster(other))
    manifest = dsse.add(replace(roster, signatures=roster.signatures[1:]), "manifest", agencies[0].root.root)
    refused("WRONG_TYPE", lambda: verify_first_roster(manifest))
    refused("SIGNERS_DIFFER", lambda: verify_first_roster(replace(roster, signatures=())))


def test_row_22_one_raw_key_is_never_two_roots(parsed: Roster, agencies: list[AgencyKeys]) -> None:
    """The same root under another owner has another key id, and would be counted twice."""
    seed = agencies[0].stored["root"]["roster-root"].secret.reveal()
    again = make_record(HybridSigner.from_seed(Usage.ROSTER_ROOT, "XI-IOM", seed))
    roots = tuple(sorted([*parsed.roots, again], key=lambda each: each.key_id))
    refused("MALFORMED", lambda: parse_roster(replace(parsed, roots=roots).encode()))
    # Half of it, with another half, is the same raw key too.
    half = make_record(HybridSigner.from_seed(Usage.ROSTER_ROOT, "XI-IOM", seed[:32] + bytes(32)))
    roots = tuple(sorted([*parsed.roots, half], key=lambda each: each.key_id))
    refused("MALFORMED", lambda: parse_roster(replace(parsed, roots=roots).encode()))


def test_row_22_the_threshold_counts_owners_not_keys(parsed: Roster, agencies: list[AgencyKeys]) -> None:
    second = HybridSigner.from_seed(Usage.ROSTER_ROOT, "HK-SB", b"2" * 64)
    roots = tuple(sorted([*parsed.roots, make_record(second)], key=lambda each: each.key_id))
    more = replace(parsed, roots=roots, threshold=3)
    signed = dsse.add(resign(more, agencies), "roster", second)
    assert verify_first_roster(signed).threshold == 3
    refused("MALFORMED", lambda: parse_roster(replace(more, threshold=4).encode()))
    refused("MALFORMED", lambda: parse_roster(replace(more, threshold=0).encode()))


def test_row_54_a_root_s_half_is_no_other_key_in_the_roster(parsed: Roster, agencies: list[AgencyKeys]) -> None:
    seed = agencies[0].stored["root"]["agency-root"].secret.reveal()[:32]
    half = make_record(Ed25519Signer.from_seed(Usage.LOG, "HK-SB", seed))
    members = (replace(parsed.members[0], log_keys=(LogKey(key=half, first_epoch=1),)), *parsed.members[1:])
    refused("MALFORMED", lambda: parse_roster(replace(parsed, members=members).encode()))


def _altered(roster: Roster) -> dict[str, tuple[str, Roster]]:
    first, second = roster.members[:2]
    record = first.root

    def member(code: str = "MALFORMED", **fields: object) -> tuple[str, Roster]:
        altered = replace(first, **fields)  # type: ignore[arg-type] # wrong or merged on purpose
        return code, replace(roster, members=(altered, *roster.members[1:]))

    def log(*epochs: tuple[int, int]) -> tuple[str, Roster]:
        keys = tuple(
            LogKey(
                key=make_record(Ed25519Signer.from_seed(Usage.LOG, "HK-SB", bytes([index + 1]) * 32)),
                first_epoch=begin,
                last_epoch=end,
            )
            for index, (begin, end) in enumerate(epochs)
        )
        return member(log_keys=keys)

    def whole(code: str = "MALFORMED", **fields: object) -> tuple[str, Roster]:
        return code, replace(roster, **fields)  # type: ignore[arg-type] # wrong or merged on purpose

    return {
        "version-zero": whole(version=0),
        "version-one-with-an-id": whole(federation_id=b"F" * 32),
        "version-two-without-an-id": whole(version=2, previous=b"p" * 32),
        "version-one-with-previous": whole(previous=b"p" * 32),
        "version-two-without-previous": whole(version=2, federation_id=b"F" * 32),
        "id-of-31-bytes": whole(federation_id=bytes(31)),
        "name-in-capitals": whole(federation_name="Exercise.example"),
        "name-too-long": whole(federation_name=".".join(["a" * 60] * 3)),
        "name-empty": whole(federation_name=""),
        "name-with-a-dot-at-the-end": whole(federation_name="exercise.example."),
        "never-issued": whole(issued_ms=0),
        "expired-when-issued": whole(expires_ms=roster.issued_ms),
        "no-roots": whole(roots=(), threshold=0),
        "roots-descend": whole(roots=roster.roots[::-1]),
        "root-twice": whole(roots=(roster.roots[0], *roster.roots)),
        "root-of-another-usage": whole("WRONG_TYPE", roots=tuple(sorted((record, *roster.roots), key=lambda k: k.key_id))),
        "catalogue-of-31-bytes": whole(catalogue_digest=bytes(31)),
        "no-members": whole(members=()),
        "members-descend": whole(members=roster.members[::-1]),
        "number-twice": whole(members=(first, replace(second, number=1), roster.members[2])),
        "number-zero": whole(members=(replace(first, number=0), *roster.members[1:])),
        "agency-twice": whole(members=(*roster.members, replace(first, number=9))),
        "quorum-above-members": whole(witness_quorum=4),
        "log-of-another-name": member(log_name="th-dsi.exercise.example/log"),
        "no-ca": member(tls_ca=b""),
        "ca-too-large": member(tls_ca=bytes([1]) * 5000),
        "until-before-from": member(until_ms=first.from_ms),
        "no-log-key": member(log_keys=()),
        "log-epoch-zero": log((0, 0)),
        "log-epochs-overlap": log((1, 3), (3, 0)),
        "log-epochs-descend": log((5, 6), (1, 2)),
        "log-open-before-the-last": log((1, 0), (2, 0)),
        "log-ends-before-it-begins": log((3, 2)),
        "minimum-suites-descend": member(minimum_suites=(16, 1)),
        "minimum-suite-unknown": member("SUITE_UNKNOWN", minimum_suites=(1, 4)),
        "witness-of-another-agency": member("WRONG_MAKER", witness=second.witness),
        "root-of-another-agency": member("WRONG_MAKER", root=second.root),
        "agency-s-key-half-length": member(root=replace(record, public_key=record.public_key[:32])),
        "agency-s-key-plain": member("SUITE_UNKNOWN", root=replace(record, suite=1, public_key=record.public_key[:32])),
    }  # fmt: skip


ALTERED = sorted(_altered(parse_roster(world.roster_of([world.agency(code) for code in world.CODES]).payload)))


@pytest.mark.parametrize("name", ALTERED)
def test_a_roster_out_of_bounds_is_refused(name: str, parsed: Roster) -> None:
    code, altered = _altered(parsed)[name]
    refused(code, lambda: parse_roster(altered.encode()))


def test_log_epochs_that_follow_each_other_are_fine(parsed: Roster) -> None:
    keys = tuple(
        LogKey(
            key=make_record(Ed25519Signer.from_seed(Usage.LOG, "HK-SB", bytes([n]) * 32)), first_epoch=a, last_epoch=b
        )
        for n, a, b in ((1, 1, 2), (2, 3, 3), (3, 7, 0))
    )
    member = replace(parsed.members[0], log_keys=keys)
    again = parse_roster(replace(parsed, members=(member, *parsed.members[1:])).encode()).members[0]
    assert [again.log_key(epoch) == key.public for epoch, key in ((2, keys[0]), (3, keys[1]), (99, keys[2]))] == [
        True
    ] * 3
    assert again.log_key(4) is None


def test_keys_without_their_own_proof_are_refused(parsed: Roster, agencies: list[AgencyKeys]) -> None:
    first, second = parsed.members[:2]
    for fields in (
        {"root": replace(first.root, proof=second.root.proof)},
        {"witness": replace(first.witness, proof=bytes(64))},
        {"log_keys": (LogKey(key=replace(first.log_keys[0].key, proof=b""), first_epoch=1),)},
    ):
        altered = replace(parsed, members=(replace(first, **fields), *parsed.members[1:]))  # type: ignore[arg-type] # wrong or merged on purpose
        refused("SIGNATURE_INVALID", lambda altered=altered: verify_first_roster(resign(altered, agencies)))
    roots = (replace(parsed.roots[0], proof=parsed.roots[1].proof), *parsed.roots[1:])
    refused("SIGNATURE_INVALID", lambda: verify_first_roster(resign(replace(parsed, roots=roots), agencies)))


def test_row_23_a_ca_for_another_suffix_enters_no_roster(parsed: Roster, agencies: list[AgencyKeys]) -> None:
    members = (replace(parsed.members[0], tls_ca=parsed.members[1].tls_ca), *parsed.members[1:])
    refused("PEER_UNTRUSTED", lambda: verify_first_roster(resign(replace(parsed, members=members), agencies)))


def test_later_versions_are_not_adopted_yet(parsed: Roster, agencies: list[AgencyKeys]) -> None:
    later = replace(parsed, version=2, federation_id=b"F" * 32, previous=b"p" * 32)
    error = refused("ROSTER_UNKNOWN", lambda: verify_first_roster(resign(later, agencies)))
    assert str(error) == "roster 2: versions after the first are not adopted yet"


def test_an_altered_payload_does_not_verify(roster: SignedPayload) -> None:
    payload = roster.payload.replace(b"exercise.example", b"exercisf.example")
    altered = replace(roster, payload=payload)
    refused("SIGNATURE_INVALID", lambda: verify_first_roster(altered))


def test_members_take_part_only_while_active(parsed: Roster) -> None:
    member = parsed.members[0]
    assert member.takes_part(NOW)
    assert not member.takes_part(member.from_ms - 1)
    ended: Member = replace(member, until_ms=NOW)
    assert not ended.takes_part(NOW)
    assert ended.takes_part(NOW - 1)
    for status in (MemberStatus.SUSPENDED, MemberStatus.LEFT):
        assert not replace(member, status=status).takes_part(NOW)


def test_applications_survive_encoding_and_keep_their_bounds(agencies: list[AgencyKeys]) -> None:
    application = ceremony.member_of(agencies[0])
    assert Application.decode(application.encode()) == application
    refused("MALFORMED", lambda: Application.decode(b""))
    numbered = replace(application, member=replace(application.member, number=3))
    refused("MALFORMED", lambda: Application.decode(numbered.encode()))
    wrong = replace(application, roster_root=application.member.root)
    refused("WRONG_TYPE", lambda: Application.decode(wrong.encode()))
    none = replace(application, roster_root=None)
    assert Application.decode(none.encode()) == none


def test_catalogue_digest_covers_names_and_bytes() -> None:
    one = catalogue_digest({"b.yaml": b"2", "a.yaml": b"1"})
    assert one == catalogue_digest({"a.yaml": b"1", "b.yaml": b"2"})
    others = [{"a.yaml": b"12", "b.yaml": b""}, {"a.yamlb": b"1", ".yaml": b"2"}, {"a.yaml": b"1"}, {}]
    assert len({one, *(catalogue_digest(each) for each in others)}) == 5


def test_twelve_words_for_people() -> None:
    assert words(bytes(32)) == ["abandon"] * 11 + ["about"]
    assert words(b"\x7f" * 32) == [
        "legal",
        "winner",
        "thank",
        "year",
        "wave",
        "sausage",
        "worth",
        "useful",
        "legal",
        "winner",
        "thank",
        "yellow",
    ]
    with pytest.raises(ValueError):
        words(bytes(16))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(RefusedError):
        parse_roster(garbage)


def test_too_large_is_refused_before_it_is_read() -> None:
    refused("TOO_LARGE", lambda: parse_roster(bytes((1 << 20) + 1)))


def test_lists_have_limits(parsed: Roster) -> None:
    first = replace(parsed.members[0], log_mldsa44_keys=(), witness_mldsa44=None)  # so many fit into 1 MiB

    def said(altered: Roster) -> str:
        return str(refused("MALFORMED", lambda: parse_roster(altered.encode())))

    many = tuple(replace(first, number=number) for number in range(1, 130))
    assert said(replace(parsed, members=many)) == "there are 129 members, 1 to 128 may be"
    assert said(replace(parsed, members=(), witness_quorum=0)) == "there are 0 members, 1 to 128 may be"
    roots = sorted(
        (replace(parsed.roots[0], proof=bytes([number]) * 3373) for number in range(1, 34)), key=lambda each: each.proof
    )
    assert said(replace(parsed, roots=tuple(roots))) == "there are 33 roster roots, 1 to 32 may be"
    assert said(replace(parsed, roots=(), threshold=1)) == "there are 0 roster roots, 1 to 32 may be"
    nameless = replace(parsed, version=0, federation_id=b"F" * 32, previous=b"p" * 32)
    assert said(nameless) == "the roster has no version"


@pytest.mark.parametrize("status", [0, 4])
def test_a_member_without_a_status_of_ours_is_refused(roster: SignedPayload, status: int) -> None:
    message = roster_pb2.Roster.FromString(roster.payload)
    message.members[0].status = status  # type: ignore[assignment] # a number that the schema lacks, on purpose
    refused("MALFORMED", lambda: parse_roster(message.SerializeToString(deterministic=True)))


def test_an_application_out_of_bounds_is_refused(agencies: list[AgencyKeys]) -> None:
    application = ceremony.member_of(agencies[0])
    member = replace(application.member, log_name="th-dsi.exercise.example/log")
    refused("MALFORMED", lambda: Application.decode(replace(application, member=member).encode()))


@pytest.mark.parametrize(
    "name", ["", "Exercise.example", "a..b", "-a.b", "a-.b", "a_b", "a" * 64, ".".join(["a" * 60] * 3)]
)
def test_names_that_no_federation_has(name: str) -> None:
    refused("MALFORMED", lambda: parse_federation_name(name))


def test_a_federation_s_name_has_at_most_180_bytes() -> None:
    longest = ".".join(["a" * 44] * 4) + "b"
    assert len(longest) == 180
    assert parse_federation_name(longest) == longest
    refused("MALFORMED", lambda: parse_federation_name(longest + "b"))
