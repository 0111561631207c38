"""Second keys of logs and witnesses, witnesses without a node, and the quorum that the ceremony proposes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from exchange.demo.federation import found_roster
from keys import dsse, suites
from keys.agency import AgencyKeys
from keys.ceremony import default_quorum
from keys.cli.main import keys
from keys.dsse import SignedPayload
from keys.external_witness import ExternalWitness, make_external_witness
from keys.frame import pae, payload_type
from keys.identity import Usage, parse_witness_name
from keys.roster import LogKey, Roster, parse_roster, verify_first_roster
from keys.signer import Ed25519Signer, KeyRecord, MlDsa44Signer, make_record, register
from keys.v1 import roster_pb2
from tests.keys.world import NOW, refused

NAME = "oversight.example/witness"


def pair(name: str = NAME, seed: int = 7) -> tuple[Ed25519Signer, MlDsa44Signer]:
    """Make a witness's two keys."""
    return (
        Ed25519Signer.from_seed(Usage.WITNESS, name, bytes([seed]) * 32),
        MlDsa44Signer.from_seed(Usage.WITNESS, name, bytes([seed]) * 32),
    )


@pytest.fixture(scope="module")
def external() -> ExternalWitness:
    return make_external_witness(*pair())


@pytest.fixture(scope="module")
def parsed(agencies: list[AgencyKeys], external: ExternalWitness) -> Roster:
    """A roster of three agencies and one oversight body."""
    return parse_roster(found_roster(agencies, now_ms=NOW, catalogue=bytes(32), witnesses=[external]).payload)


def resigned(roster: Roster, agencies: list[AgencyKeys]) -> SignedPayload:
    return dsse.sign(roster.encode(), *[("roster", root) for each in agencies if (root := each.root.roster_root)])


def test_every_new_agency_has_second_keys_that_its_node_can_sign_with(agencies: list[AgencyKeys]) -> None:
    for each in agencies:
        member, node = each.application.member, each.node
        assert node.log_mldsa44 is not None
        assert node.witness_mldsa44 is not None
        assert member.log_mldsa44_key(1) == node.log_mldsa44.key
        assert member.witness_mldsa44_key == node.witness_mldsa44.key
        assert member.witness_name == f"{each.agency.lower()}.exercise.example/witness"
        raw = MLDSA44PublicKey.from_public_bytes(node.log_mldsa44.key.public_key)
        raw.verify(node.log_mldsa44.sign(b"any bytes, as they are"), b"any bytes, as they are")


def test_a_second_key_signs_its_own_key_id_and_nothing_else_passes_for_it() -> None:
    record = make_record(pair()[1])
    key = register(record, owner=NAME, usage={Usage.WITNESS}, second=True)
    key.verify(pae(payload_type("key"), key.key_id), record.proof)
    flipped = bytes([record.proof[0] ^ 1]) + record.proof[1:]
    other = make_record(pair(seed=8)[1])
    for proof in (flipped, other.proof, b"", record.proof[:-1]):
        wrong = replace(record, proof=proof)
        refused(
            "SIGNATURE_INVALID", lambda wrong=wrong: register(wrong, owner=NAME, usage={Usage.WITNESS}, second=True)
        )


def test_first_and_second_keys_do_not_stand_in_each_other_s_place() -> None:
    first, second = (make_record(each) for each in pair())
    refused("SUITE_UNKNOWN", lambda: register(first, owner=NAME, usage={Usage.WITNESS}, second=True))
    refused("SUITE_UNKNOWN", lambda: register(second, owner=NAME, usage={Usage.WITNESS}))
    officer = make_record(Ed25519Signer.from_seed(Usage.OFFICER, "HK-SB/duty", bytes(32)))
    refused("SUITE_UNKNOWN", lambda: register(officer, owner="HK-SB/duty", usage={Usage.OFFICER}, second=True))
    ours = MlDsa44Signer.from_seed(Usage.AGENCY, "HK-SB", bytes(32))
    message = make_record(ours).to_message()
    refused("SUITE_UNKNOWN", lambda: KeyRecord.from_message(message))  # operations keys have no second ones


def test_rosters_of_before_have_no_second_keys_and_still_verify(agencies: list[AgencyKeys], roster: object) -> None:
    """The control is the same roster with them: both verify, and the bytes of the old one hold none of the fields."""
    parsed = parse_roster(roster.payload)  # type: ignore[attr-defined] # the fixture of the session
    plain = replace(
        parsed,
        members=tuple(replace(each, log_mldsa44_keys=(), witness_mldsa44=None) for each in parsed.members),
    )
    assert verify_first_roster(resigned(plain, agencies)) == plain
    assert plain.members[0].log_mldsa44_key(1) is None
    message = roster_pb2.Roster.FromString(plain.encode())
    assert not any(each.log_mldsa44_keys or each.HasField("witness_mldsa44") for each in message.members)
    assert len(plain.encode()) < len(parsed.encode())


def test_a_roster_names_witnesses_without_a_node(
    parsed: Roster, external: ExternalWitness, agencies: list[AgencyKeys]
) -> None:
    assert parsed.witnesses == (external,)
    assert parsed.witness_quorum == 3  # two other members and one outside
    assert verify_first_roster(resigned(parsed, agencies)) == parsed
    assert external.witness_key.public_key == pair()[0].key.public_key
    assert ExternalWitness.decode(external.encode()) == external
    alone = make_external_witness(pair()[0], None)
    assert ExternalWitness.decode(alone.encode()).witness_mldsa44_key is None


def _altered(roster: Roster, external: ExternalWitness) -> dict[str, tuple[str, Callable[[], Roster]]]:
    first = roster.members[0]
    assert external.witness_mldsa44 is not None
    log = first.log_mldsa44_keys[0]

    def member(**fields: object) -> Roster:
        altered = replace(first, **fields)  # type: ignore[arg-type] # wrong on purpose
        return replace(roster, members=(altered, *roster.members[1:]))

    def witness(**fields: object) -> Roster:
        return replace(roster, witnesses=(replace(external, **fields),))  # type: ignore[arg-type] # wrong on purpose

    named = make_external_witness(*pair(first.witness_name, 9))
    other = make_external_witness(*pair("other.example/witness", 10))
    again, anew = make_record(pair("second.example/w", 7)[0]), make_record(pair("second.example/w", 11)[0])
    second = make_record(pair("second.example/w", 7)[1])
    return {
        "log-key-as-second": ("SUITE_UNKNOWN", lambda: member(log_mldsa44_keys=first.log_keys)),
        "second-as-log-key": ("SUITE_UNKNOWN", lambda: member(log_keys=first.log_mldsa44_keys, log_mldsa44_keys=())),
        "second-epochs-overlap": ("MALFORMED", lambda: member(log_mldsa44_keys=(log, replace(log, first_epoch=2)))),
        "second-epoch-zero": ("MALFORMED", lambda: member(log_mldsa44_keys=(LogKey(key=log.key, first_epoch=0),))),
        "witness-as-second": ("SUITE_UNKNOWN", lambda: member(witness_mldsa44=first.witness)),
        "second-as-witness": ("SUITE_UNKNOWN", lambda: member(witness=first.witness_mldsa44, witness_mldsa44=None)),
        "log-as-witness": ("WRONG_TYPE", lambda: member(witness_mldsa44=log.key)),
        "another-s-second": ("WRONG_MAKER", lambda: member(witness_mldsa44=roster.members[1].witness_mldsa44)),
        "witness-in-two-places": ("MALFORMED", lambda: replace(roster, witnesses=(external, external))),
        "witnesses-descend": ("MALFORMED", lambda: replace(roster, witnesses=(external, other))),
        "witness-named-as-member": ("MALFORMED", lambda: replace(roster, witnesses=(named,))),
        "witness-of-another-name": ("WRONG_MAKER", lambda: witness(name="another.example/witness")),
        "witness-with-a-code": ("MALFORMED", lambda: witness(name="HK-SB")),
        "one-raw-key-two-witnesses": (
            "MALFORMED",
            lambda: replace(roster, witnesses=(external, ExternalWitness(name="second.example/w", witness=again))),
        ),
        "one-raw-second-key-two-witnesses": (
            "MALFORMED",
            lambda: replace(
                roster,
                witnesses=(external, ExternalWitness(name="second.example/w", witness=anew, witness_mldsa44=second)),
            ),
        ),
        "quorum-above-all": ("MALFORMED", lambda: replace(roster, witness_quorum=5)),
        "too-many": (
            "MALFORMED",
            lambda: replace(
                roster,
                witnesses=tuple(
                    ExternalWitness(name=f"{chr(97 + n)}.example", witness=make_record(pair(f"{chr(97 + n)}.example", 20 + n)[0]))
                    for n in range(17)
                ),
            ),
        ),
    }  # fmt: skip


ALTERED = (
    "log-key-as-second", "second-as-log-key", "second-epochs-overlap", "second-epoch-zero", "witness-as-second",
    "second-as-witness", "log-as-witness", "another-s-second", "witness-in-two-places", "witnesses-descend",
    "witness-named-as-member", "witness-of-another-name", "witness-with-a-code", "one-raw-key-two-witnesses",
    "one-raw-second-key-two-witnesses", "quorum-above-all", "too-many",
)  # fmt: skip


@pytest.mark.parametrize("name", ALTERED)
def test_a_roster_with_wrong_witnesses_is_refused(name: str, parsed: Roster, external: ExternalWitness) -> None:
    cases = _altered(parsed, external)
    assert set(cases) == set(ALTERED)
    code, make = cases[name]
    assert parse_roster(parsed.encode()) == parsed  # the control
    refused(code, lambda: parse_roster(make().encode()))


def test_a_roster_s_second_keys_must_have_signed_their_key_ids(
    parsed: Roster, external: ExternalWitness, agencies: list[AgencyKeys]
) -> None:
    first = parsed.members[0]
    assert first.witness_mldsa44 is not None
    assert external.witness_mldsa44 is not None
    unproven = (
        replace(first, witness_mldsa44=replace(first.witness_mldsa44, proof=bytes(2420))),
        replace(
            first, log_mldsa44_keys=(LogKey(key=replace(first.log_mldsa44_keys[0].key, proof=b""), first_epoch=1),)
        ),
    )
    for member in unproven:
        wrong = replace(parsed, members=(member, *parsed.members[1:]))
        refused("SIGNATURE_INVALID", lambda wrong=wrong: verify_first_roster(resigned(wrong, agencies)))
    for fields in (
        {"witness": replace(external.witness, proof=bytes(64))},
        {"witness_mldsa44": replace(external.witness_mldsa44, proof=bytes(2420))},
    ):
        wrong = replace(parsed, witnesses=(replace(external, **fields),))
        refused("SIGNATURE_INVALID", lambda wrong=wrong: verify_first_roster(resigned(wrong, agencies)))
        refused("SIGNATURE_INVALID", lambda wrong=wrong: ExternalWitness.decode(wrong.witnesses[0].encode()))


@pytest.mark.parametrize(
    "name",
    ["HK-SB", "HK-SB/duty", "oversight", "Oversight.example/w", "a.example/", "a.example/b/c/d/e/f", "a..b", "-a.b/c", "",
     "a.example/" + "b" * 33, "a." * 90 + "example"],
)  # fmt: skip
def test_a_witness_s_name_is_a_url_without_scheme(name: str) -> None:
    assert parse_witness_name("oversight.example/witness/1") == "oversight.example/witness/1"
    refused("MALFORMED", lambda: parse_witness_name(name))


def test_only_witnesses_may_be_owned_by_such_a_name() -> None:
    record = make_record(Ed25519Signer.from_seed(Usage.LOG, NAME, bytes(32)))
    refused("MALFORMED", lambda: KeyRecord.from_message(record.to_message()))
    witness = make_record(pair()[0])
    assert KeyRecord.from_message(witness.to_message()) == witness


def test_the_proposed_quorum_is_two_thirds_and_one() -> None:
    proposed = [default_quorum(n) for n in (0, 1, 2, 3, 4, 5, 7, 10, 17)]
    assert proposed == [0, 1, 2, 3, 3, 4, 5, 7, 12]


def test_a_witness_s_application_is_shown_and_enters_a_roster_by_hand(
    external: ExternalWitness, agencies: list[AgencyKeys], tmp_path: Path
) -> None:
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "policy.yaml").write_text("schema_minor: 0\n")
    (tmp_path / "application").write_bytes(external.encode())
    for each in agencies:
        (tmp_path / each.agency).write_bytes(each.application.encode())

    def typed(*words: object, code: int = 0) -> str:
        done = CliRunner().invoke(keys, [str(word) for word in words], prog_name="exchange")
        assert done.exit_code == code, done.output
        return done.stdout

    shown = typed("show", tmp_path / "application")
    assert f"application  of the witness {NAME}\n" in shown
    made = typed(
        "make", "roster", *(tmp_path / each.agency for each in agencies), "--witness", tmp_path / "application",
        "--catalogue", tmp_path / "catalogue", "-o", tmp_path / "roster",
    )  # fmt: skip
    assert made == f"made {tmp_path / 'roster'}: roster 1 of 3 agencies and 1 external witness, unsigned\n"
    roster = typed("show", tmp_path / "roster", code=6)  # nobody has signed it yet
    assert f"witnesses    3 cosignatures make a checkpoint witnessed\n  {NAME}  key " in roster
    bad = CliRunner().invoke(keys, ["show", str(tmp_path / "catalogue" / "policy.yaml")], prog_name="exchange")
    assert bad.exit_code == 2
    assert bad.stderr == (
        "exchange: error: this is no roster, manifest, key sheet, application or key file (MALFORMED)\n"
    )


def test_suites_say_how_long_a_second_key_is() -> None:
    assert suites.suite(suites.MLDSA44).name == "ML-DSA-44"
    assert len(pair()[1].key.public_key) == 1312
    assert len(pair()[1].sign(b"")) == 2420
