"""Step 9: what a quorum's cosignatures anchor, bracket and refute; each attack with its control."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from audit.entry.entry import Entry, genesis_previous, leaf_hash, parse_entry
from audit.note.checkpoint import Checkpoint, VerifierKey, parse_note, sign_checkpoint
from audit.note.cosignature import CosignerKey, add_lines, cosign, cosigner_key
from audit.note.policy import WitnessPolicy
from audit.tiles.tile_names import MLDSA44_KEY_FILE, WITNESSED
from audit.tiles.tiles import TileFolder
from audit.verify.external_checkpoints import ExternalCheckpoint
from audit.verify.verdict import NOT_CHECKED, OK, REFUTED, Report
from audit.verify.verify import verify_log
from audit.verify.witnesses import STALE_SECONDS, TOLERANCE_SECONDS, WitnessRules
from keys.identity import Usage
from keys.signer import Ed25519Signer, MlDsa44Signer
from tests.audit.forge import read_log, root, sign, write_log
from tests.audit.store import ORIGIN, START_US, exchange_bodies, first_bodies
from tests.audit.witness.witness_world import cosigned, ed25519, policy

SIZE = 300
NOW = START_US // 1_000_000 + SIZE  # about the time of the last entry: one a second


@pytest.fixture
def rules() -> WitnessRules:
    return WitnessRules(policy=policy(3), source="given")


@pytest.fixture
def tree(folder: Path) -> TileFolder:
    return TileFolder(folder)


def times_of(folder: Path, size: int = SIZE) -> list[int]:
    return [parse_entry(entry).time_us // 1_000_000 for entry in read_log(folder, size)]


def put(folder: Path, name: str, note: str) -> None:
    (folder / name).write_text(note)


def note_at(folder: Path, size: int, signer: Ed25519Signer) -> str:
    checkpoint = Checkpoint(origin=ORIGIN, size=size, root=TileFolder(folder).tree(SIZE).root(size))
    return sign_checkpoint(checkpoint, signer)


def cosign_at(folder: Path, size: int, signer: Ed25519Signer, times: dict[int, int], *, second: bool = False) -> str:
    note = note_at(folder, size, signer)
    return cosigned(note, parse_note(note).checkpoint, times, second=second)


def step(report: Report, number: int) -> tuple[str, str]:
    found = report.steps[number - 1]
    return found.result, found.detail


def three(time: int) -> dict[int, int]:
    return {1: time, 2: time + 1, 3: time + 2}


def test_a_quorum_s_cosignatures_anchor_the_log(
    folder: Path, key: VerifierKey, signer: Ed25519Signer, rules: WitnessRules
) -> None:
    last = times_of(folder)[-1]
    assert verify_log(folder, key=key, witnesses=rules).exit_code == 7  # control: nobody has cosigned it yet
    put(folder, "checkpoint", cosign_at(folder, SIZE, signer, three(last)))
    report = verify_log(folder, key=key, witnesses=rules)
    assert (report.verdict, report.exit_code) == (f"verified, witnessed to {SIZE}", 0)
    assert (report.anchored, report.witnessed) == (SIZE, SIZE)
    assert [each.name for each in report.steps][-1] == "witnesses"
    assert step(report, 7)[0] == OK
    result, detail = step(report, 9)
    assert result == OK
    stamp = datetime.fromtimestamp(last + 1, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert detail.startswith(
        f"witnessed to size {SIZE} of {SIZE} by 3 (3 of 3, given), median {stamp}; ML-DSA-44 lines"
    )
    assert f"{stamp} by w2.example/witness" in detail
    without = verify_log(folder, key=key)
    assert (step(without, 9)[0], without.verdict) == (NOT_CHECKED, "verified, end not anchored")


def test_no_quorum_is_told_and_is_not_verified(
    folder: Path, key: VerifierKey, signer: Ed25519Signer, rules: WitnessRules
) -> None:
    put(folder, "checkpoint", cosign_at(folder, SIZE, signer, {1: NOW, 2: NOW}))
    report = verify_log(folder, key=key, witnesses=rules)
    assert (report.verdict, report.exit_code) == ("verified, end not anchored", 7)
    assert step(report, 9) == (NOT_CHECKED, f"no quorum has cosigned this log (3 of 3, given): 2 at size {SIZE}")
    kept = ExternalCheckpoint(name="kept", data=(folder / "checkpoint").read_bytes())
    report = verify_log(folder, key=key, witnesses=rules, external=[kept])
    assert (report.verdict, report.exit_code) == ("verified", 7)


def test_the_newest_cosigned_checkpoint_lies_beside_the_newest_one(
    folder: Path, key: VerifierKey, signer: Ed25519Signer, rules: WitnessRules
) -> None:
    for seconds, code in ((0, 0), (1, 0), (2, 7), (100, 7)):
        times = [*range(50), *[49 + n * seconds // 9 for n in range(1, 11)]]
        entries = dated(times)
        folder = write_log(folder, entries, sign(entries, signer), key)
        checkpoint = Checkpoint(origin=ORIGIN, size=50, root=root(entries[:50]))
        put(folder, WITNESSED, cosigned(sign(entries[:50], signer), checkpoint, three(START_US // 1_000_000 + 50)))
        report = verify_log(folder, key=key, witnesses=rules)
        assert (report.verdict, report.exit_code) == ("verified, witnessed to 50", code)
        assert ("are cosigned by no quorum" in step(report, 9)[1]) == (code == 7)


def test_what_lies_in_witnessed_must_be_of_this_log(
    folder: Path, key: VerifierKey, signer: Ed25519Signer, rules: WitnessRules
) -> None:
    put(folder, "checkpoint", cosign_at(folder, SIZE, signer, three(times_of(folder)[-1])))
    longer = sign_checkpoint(Checkpoint(origin=ORIGIN, size=SIZE + 1, root=bytes(32)), signer)
    other = sign_checkpoint(Checkpoint(origin=ORIGIN, size=20, root=bytes(32)), signer)
    thief = sign_checkpoint(parse_note(note_at(folder, 20, signer)).checkpoint, ed25519(9))
    for text in (longer, other, thief, "garbage"):
        put(folder, WITNESSED, text)
        report = verify_log(folder, key=key, witnesses=rules)
        assert (report.exit_code, step(report, 9)[0]) == (6, REFUTED)
        assert report.verdict.startswith("refuted: witnessed: ")
    put(folder, WITNESSED, note_at(folder, 20, signer))
    assert verify_log(folder, key=key, witnesses=rules).exit_code == 0  # control


def test_a_wrong_line_by_a_known_key_refutes(
    folder: Path, key: VerifierKey, signer: Ed25519Signer, rules: WitnessRules
) -> None:
    note = cosign_at(folder, SIZE, signer, three(times_of(folder)[-1]))
    wrong = cosign(Checkpoint(origin=ORIGIN, size=SIZE, root=bytes(32)), "w2.example/witness", ed25519(2), NOW)
    put(folder, "checkpoint", add_lines(note, wrong))
    report = verify_log(folder, key=key, witnesses=rules)
    assert (report.exit_code, step(report, 9)[0]) == (6, REFUTED)
    assert "w2.example/witness is wrong" in report.verdict
    stranger = WitnessRules(policy=WitnessPolicy(quorum=1, witnesses=policy(1).witnesses), source="given")
    assert verify_log(folder, key=key, witnesses=stranger).exit_code == 0  # control: nobody knows w2


def test_attack_05_an_older_genuine_note_is_stale(
    template: Path, tmp_path: Path, key: VerifierKey, signer: Ed25519Signer, rules: WitnessRules
) -> None:
    """The tail is cut off and an older note, rightly signed and cosigned at its time, is shown."""
    entries = read_log(template, SIZE)
    cut = entries[:200]
    time = parse_entry(cut[-1]).time_us // 1_000_000
    checkpoint = Checkpoint(origin=ORIGIN, size=200, root=root(cut))
    note = cosigned(sign(cut, signer), checkpoint, three(time))
    shown = write_log(tmp_path / "cut", cut, note, key)
    fresh = WitnessRules(policy=rules.policy, source="given", now_s=time + STALE_SECONDS)
    assert verify_log(shown, key=key, witnesses=fresh).exit_code == 0  # control: then it was the newest
    late = WitnessRules(policy=rules.policy, source="given", now_s=time + STALE_SECONDS + 2)
    report = verify_log(shown, key=key, witnesses=late)
    assert (report.exit_code, step(report, 9)[0]) == (7, NOT_CHECKED)
    assert f"stale: {STALE_SECONDS + 1} s old at the time given" in step(report, 9)[1]


def test_attack_10_two_cosignatures_by_one_key_on_a_fork_are_proof(
    folder: Path, key: VerifierKey, signer: Ed25519Signer, rules: WitnessRules
) -> None:
    times = three(times_of(folder)[-1])
    put(folder, "checkpoint", cosign_at(folder, SIZE, signer, times))
    forked = Checkpoint(origin=ORIGIN, size=SIZE, root=bytes(32))
    other = cosigned(sign_checkpoint(forked, signer), forked, {2: times[1], 3: times[1], 9: times[1]})
    report = verify_log(
        folder, key=key, witnesses=rules, external=[ExternalCheckpoint(name="other", data=other.encode())]
    )
    assert report.exit_code == 6
    assert "w2.example/witness, w3.example/witness cosigned both" in report.verdict
    plain = sign_checkpoint(forked, signer)
    control = verify_log(
        folder, key=key, witnesses=rules, external=[ExternalCheckpoint(name="other", data=plain.encode())]
    )
    assert control.exit_code == 6
    assert "cosigned both" not in control.verdict


def dated(times: list[int]) -> list[bytes]:
    """Return a log whose entries are dated so, seconds after its beginning."""
    bodies = [*first_bodies(), *(body for n in range(12) for body in exchange_bodies(n, 4 + 8 * n))]
    out: list[bytes] = []
    link = genesis_previous(ORIGIN)
    for index, seconds in enumerate(times):
        body = bodies[index].encode()
        time_us = START_US + seconds * 1_000_000
        out.append(Entry(index=index, time_us=time_us, previous=link, body=body).encode())
        link = leaf_hash(out[-1])
    return out


def twice_cosigned(
    where: Path, entries: list[bytes], key: VerifierKey, signer: Ed25519Signer, at: dict[int, int]
) -> Path:
    """Write a log that was cosigned at two sizes, at seconds after its beginning by the witnesses' clocks."""
    notes = []
    for size, seconds in at.items():
        checkpoint = Checkpoint(origin=ORIGIN, size=size, root=root(entries[:size]))
        note = sign_checkpoint(checkpoint, signer)
        notes.append(cosigned(note, checkpoint, three(START_US // 1_000_000 + seconds)))
    folder = write_log(where, entries, notes[1], key)
    put(folder, WITNESSED, notes[0])
    return folder


def test_attack_13_a_misdated_entry_lies_outside_its_bracket(
    tmp_path: Path, key: VerifierKey, signer: Ed25519Signer, rules: WitnessRules
) -> None:
    """Fifty entries, an hour of silence in which the log was cosigned at 3,000 s, and ten entries more."""
    size, end, tolerance = 50, 60, TOLERANCE_SECONDS
    honest = [*range(size), *range(3600, 3600 + end - size)]
    at = {size: 3000, end: 3610}
    folder = twice_cosigned(tmp_path / "honest", dated(honest), key, signer, at)
    assert verify_log(folder, key=key, witnesses=rules).exit_code == 0  # control
    cases = {  # dates, and which entry they refute
        "backdated": ([*range(size), *range(2000, 2000 + end - size)], f"refuted at entry {size}: dated ", "earlier"),
        "just within": ([*range(size), *range(3000 - tolerance + 2, 3000 - tolerance + 12)], "verified", ""),
        "postdated": (
            [*range(size - 1), *range(3000 + tolerance + 9, 3000 + tolerance + 20)],
            f"refuted at entry {size - 1}: ",
            "later",
        ),
    }
    for name, (times, verdict, word) in cases.items():
        later = {size: 3000, end: max(3610, times[-1])}
        folder = twice_cosigned(tmp_path / name, dated(times), key, signer, later if word else {**at, end: times[-1]})
        report = verify_log(folder, key=key, witnesses=rules)
        assert report.verdict.startswith(verdict), name
        assert not word or f"{word} than size {size} was cosigned" in report.verdict


def test_attack_15_one_lying_clock_refutes_nothing(
    folder: Path, key: VerifierKey, signer: Ed25519Signer, rules: WitnessRules
) -> None:
    last = times_of(folder)[-1]
    for lie in (0, 4_102_444_800, (1 << 63) - 1):
        put(folder, "checkpoint", cosign_at(folder, SIZE, signer, {1: last, 2: lie, 3: last + 1}))
        assert verify_log(folder, key=key, witnesses=rules).exit_code == 0
    put(folder, "checkpoint", cosign_at(folder, SIZE, signer, {1: last, 2: 0, 3: 1}))  # control: two of three lie
    assert verify_log(folder, key=key, witnesses=rules).exit_code == 6


def test_second_lines_are_verified_and_counted_where_their_keys_are_known(
    folder: Path, key: VerifierKey, signer: Ed25519Signer
) -> None:
    last = times_of(folder)[-1]
    own = MlDsa44Signer.from_seed(Usage.LOG, "HK-SB", bytes(range(3, 35)))
    second = cosigner_key(ORIGIN, own.key.public_key)
    note = cosign_at(folder, SIZE, signer, three(last), second=True)
    note = add_lines(note, cosign(parse_note(note).checkpoint, ORIGIN, own, last))
    put(folder, "checkpoint", note)
    put(folder, MLDSA44_KEY_FILE, f"{second}\n")
    known = WitnessRules(policy=policy(3, second=True), source="given", log_mldsa44=second)
    report = verify_log(folder, key=key, witnesses=known)
    assert (report.exit_code, "ML-DSA-44 lines: 4 verified of 4 known keys" in step(report, 9)[1]) == (0, True)
    plain = verify_log(folder, key=key, witnesses=WitnessRules(policy=policy(3), source="given"))
    assert (plain.exit_code, "0 verified of 0 known keys" in step(plain, 9)[1]) == (0, True)
    wrong = cosign(Checkpoint(origin=ORIGIN, size=1, root=bytes(32)), ORIGIN, own, last)
    put(folder, "checkpoint", add_lines(note, wrong))
    assert verify_log(folder, key=key, witnesses=known).exit_code == 6


def test_the_folder_s_second_key_is_not_believed_by_itself(
    folder: Path, key: VerifierKey, signer: Ed25519Signer
) -> None:
    put(folder, "checkpoint", cosign_at(folder, SIZE, signer, three(times_of(folder)[-1])))
    mine, other = (
        cosigner_key(ORIGIN, MlDsa44Signer.from_seed(Usage.LOG, "HK-SB", bytes([n]) * 32).key.public_key)
        for n in (1, 2)
    )
    known = WitnessRules(policy=policy(3), source="given", log_mldsa44=mine)
    for text, code in ((f"{mine}\n", 0), (f"{other}\n", 6), ("garbage\n", 6), (f"{_four(mine)}\n", 6)):
        put(folder, MLDSA44_KEY_FILE, text)
        assert verify_log(folder, key=key, witnesses=known).exit_code == code


def _four(key: CosignerKey) -> CosignerKey:
    return CosignerKey(name=key.name, type=4, key=key.key)


def test_an_outside_note_with_a_quorum_counts_too(
    folder: Path, key: VerifierKey, signer: Ed25519Signer, rules: WitnessRules
) -> None:
    note = cosign_at(folder, SIZE, signer, three(times_of(folder)[-1]))
    kept = ExternalCheckpoint(name="kept", data=note.encode())
    report = verify_log(folder, key=key, witnesses=rules, external=[kept])
    assert (report.verdict, report.exit_code) == (f"verified, witnessed to {SIZE}", 0)
