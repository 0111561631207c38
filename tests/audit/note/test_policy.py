"""Whose cosignatures count: quorum, one key once, the median, and the files that say so."""

from __future__ import annotations

from statistics import median_low

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.note.checkpoint import parse_note
from audit.note.cosignature import cosign, cosigner_key
from audit.note.policy import WitnessPolicy, default_quorum, format_policy, format_vkeys, median, parse_vkeys
from audit.verify.trust import log_key, log_mldsa44, member_of_log, policy_of
from keys.errors import RefusedError
from keys.roster import verify_first_roster
from tests.audit.witness.witness_world import TIME, GrowingLog, cosigned, ed25519, key, policy
from tests.keys.world import agency, roster_of

LOG = GrowingLog().grow(9)
NOTE, CHECKPOINT = LOG.note(), LOG.checkpoint()


def test_a_quorum_is_two_thirds_and_one() -> None:
    assert [default_quorum(n) for n in (0, 1, 2, 3, 4, 5, 7, 10)] == [0, 1, 2, 3, 3, 4, 5, 7]


@given(st.integers(3, 200))
def test_two_quorums_share_more_witnesses_than_may_lie(n: int) -> None:
    k = default_quorum(n)
    liars = n - k  # so many may be silent, and so many may lie
    assert 2 * k - n > liars
    assert 2 * (k - 1) - n <= n - (k - 1)  # and no smaller number does


@pytest.mark.parametrize(("who", "reached"), [((1, 2, 3), True), ((1, 2), False), ((), False), ((1, 2, 3, 4), True)])
def test_a_quorum_is_reached_by_so_many_and_no_fewer(who: tuple[int, ...], reached: bool) -> None:
    note = cosigned(NOTE, CHECKPOINT, dict.fromkeys(who, TIME))
    found = policy(4, 3).judge(note)
    assert (found.reached, len(found.names)) == (reached, len(who))


def test_one_key_counts_once(  # however often it signs
) -> None:
    first = cosign(CHECKPOINT, "w1.example/witness", ed25519(1), TIME)
    second = cosign(CHECKPOINT, "w1.example/witness", ed25519(1), TIME + 60)
    found = policy(2, 2).judge(NOTE + first + second)
    assert (found.names, found.times, found.reached) == (("w1.example/witness",), (TIME + 60,), False)
    other_name = cosign(CHECKPOINT, "w2.example/witness", ed25519(1), TIME)  # the same key under another's name
    assert not policy(2, 2).judge(NOTE + first + other_name).reached
    with pytest.raises(RefusedError, match="twice"):
        WitnessPolicy(quorum=2, witnesses=(key(1), cosigner_key("w2.example", ed25519(1).key.public_key)))
    with pytest.raises(RefusedError, match="twice"):
        WitnessPolicy(quorum=2, witnesses=(key(1), cosigner_key("w1.example/witness", ed25519(2).key.public_key)))


def test_a_stranger_s_line_is_ignored_and_a_known_key_s_wrong_one_refuses() -> None:
    good = cosigned(NOTE, CHECKPOINT, {1: TIME, 9: TIME})
    assert policy(1).judge(good).reached  # control: w9 is nobody
    other = GrowingLog().grow(10)
    wrong = cosign(other.checkpoint(), "w1.example/witness", ed25519(1), TIME)
    with pytest.raises(RefusedError) as refused:
        policy(1).judge(NOTE + wrong)
    assert refused.value.code == "SIGNATURE_INVALID"
    good_one = cosign(CHECKPOINT, "w1.example/witness", ed25519(1), TIME)
    with pytest.raises(RefusedError):  # a good one beside it does not make it up
        policy(1).judge(NOTE + good_one + wrong)
    assert policy(0).judge(NOTE + wrong).names == ()  # control: unknown, so not looked at


def test_mldsa44_lines_are_told_and_never_make_a_quorum() -> None:
    note = cosigned(NOTE, CHECKPOINT, {1: TIME}, second=True)
    found = policy(2, 2, second=True).judge(note)
    assert (found.names, found.mldsa44, found.reached) == (("w1.example/witness",), ("w1.example/witness",), False)
    lines = note.splitlines(keepends=True)
    broken = (
        "".join(lines[:-1])
        + cosigned(NOTE, GrowingLog().grow(3).checkpoint(), {1: TIME}, second=True).splitlines(keepends=True)[-1]
    )
    with pytest.raises(RefusedError):
        policy(2, 2, second=True).judge(broken)
    assert policy(2, 2).judge(broken).names == ("w1.example/witness",)  # control: without that key it is a stranger's


def test_one_witness_dated_2100_does_not_move_the_median_row_68() -> None:
    times = {1: TIME, 2: TIME + 2, 3: 4_102_444_800}
    found = policy(3).judge(cosigned(NOTE, CHECKPOINT, times))
    assert found.median_s == TIME + 2
    assert sum(times.values()) // 3 > TIME + 10_000_000  # control: the mean would have been years off


@given(st.lists(st.integers(0, (1 << 63) - 1), max_size=9))
def test_the_median_is_a_time_that_somebody_stated(times: list[int]) -> None:
    assert median(tuple(times)) == (median_low(times) if times else None)


def test_the_file_of_witnesses_is_read_back() -> None:
    text = format_vkeys(policy(3))
    assert text.splitlines()[0] == "# quorum 3"
    assert text.splitlines()[1:] == [str(key(number)) for number in (1, 2, 3)]
    assert parse_vkeys(text) == policy(3)
    assert parse_vkeys(f"{text}{key(1, second=True)}\n").mldsa44 == (key(1, second=True),)
    assert parse_vkeys("# quorum 0\n") == WitnessPolicy(quorum=0, witnesses=())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        f"{key(1)}\n",
        f"# quorum x\n{key(1)}\n",
        f"# quorum 01\n{key(1)}\n",
        f"# quorum 2\n{key(1)}\n",
        f"# quorum 0\n{key(1)}\n",
        f"# quorum 1\n{key(1)}\n{key(1)}\n",
        f"# quorum 1\n\n{key(1)}\n",
        f"# quorum 1\n{LOG.key}\n",
        f"# quorum 1\n{str(key(1))[:-4]}\n",
        "# quorum 1\n" + "".join(f"{key(number)}\n" for number in range(1, 66)),
    ],
)
def test_a_malformed_file_of_witnesses_is_refused(text: str) -> None:
    with pytest.raises(RefusedError):
        parse_vkeys(text)


def test_a_file_of_64_keys_is_read() -> None:
    text = "# quorum 1\n" + "".join(f"{key(number)}\n" for number in range(1, 65))
    assert len(parse_vkeys(text).witnesses) == 64


def test_a_key_of_the_wrong_type_counts_nowhere() -> None:
    for wrong in ({"witnesses": (key(1, second=True),)}, {"witnesses": (key(1),), "mldsa44": (key(2),)}):
        with pytest.raises(RefusedError, match="another type"):
            WitnessPolicy(quorum=1, **wrong)


def test_the_policy_is_written_as_tlog_policy() -> None:
    text = format_policy(policy(3, 2), LOG.key)
    assert text.splitlines() == [
        f"log {LOG.key}",
        *(f"witness w{number}.example/witness {key(number)}" for number in (1, 2, 3)),
        "group quorum 2 w1.example/witness w2.example/witness w3.example/witness",
        "quorum quorum",
    ]
    assert format_policy(policy(0), LOG.key).splitlines()[1:] == ["quorum none"]
    with pytest.raises(RefusedError):
        format_policy(policy(2, 3), LOG.key)  # never a weaker one than was meant
    named = WitnessPolicy(quorum=1, witnesses=(cosigner_key("none", ed25519(1).key.public_key),))
    with pytest.raises(RefusedError):
        format_policy(named, LOG.key)


def test_the_roster_names_every_other_member_as_witness() -> None:
    agencies = [agency("HK-SB"), agency("KH-NCCT"), agency("TH-DSI")]
    roster = verify_first_roster(roster_of(agencies))
    found = policy_of(roster, "KH-NCCT")
    assert [each.name for each in found.witnesses] == [
        f"{label}.{roster.federation_name}/witness" for label in ("hk-sb", "th-dsi")
    ]
    assert len(found.mldsa44) == 2
    assert found.quorum == roster.witness_quorum == 2
    member, epoch = member_of_log(roster, f"kh-ncct.{roster.federation_name}/log/1")
    assert (member.agency, epoch) == ("KH-NCCT", 1)
    second = log_mldsa44(member, 1)
    assert second is not None
    assert second.name == member.origin(1) == log_key(roster, member.origin(1)).name
    for origin in ("xx.example/log/1", f"kh-ncct.{roster.federation_name}/log/01", f"{member.log_name}/x"):
        with pytest.raises(RefusedError):
            member_of_log(roster, origin)


def test_a_note_that_was_read_is_judged_as_its_text() -> None:
    note = cosigned(NOTE, CHECKPOINT, {1: TIME})
    assert policy(1).judge(parse_note(note)) == policy(1).judge(note)
