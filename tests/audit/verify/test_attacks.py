"""Attacks (docs/log.md) on the log, its lock and its witnesses by themselves; each with a control.

The same attacks on whole nodes are in tests/flow; ``tests/rows.py`` says which test is which row.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.entry.entry import Body, Kind
from audit.log.lock import check_start
from audit.log.log import Log
from audit.log.publisher import publish
from audit.log.sqlite_lock import SqliteLock
from audit.note.checkpoint import Checkpoint, VerifierKey, parse_note, sign_checkpoint, verify_note
from audit.note.cosignature import add_lines
from audit.note.fork import pair, verify_fork
from audit.note.policy import WitnessPolicy
from audit.tiles.tiles import TileFolder
from audit.verify.verify import verify_log
from audit.witness.witness import Witness, WitnessRefusal
from keys.errors import IntegrityError
from keys.signer import Ed25519Signer
from tests.audit.store import ORIGIN, TableStore, grow
from tests.audit.witness.witness_world import GrowingLog, make_witness, policy


def witnesses(folder: Path, log: GrowingLog, count: int) -> list[Witness]:
    return [make_witness(folder / f"w{number}.db", log.key, number=number) for number in range(1, count + 1)]


def gather(note: str, old: int, log: GrowingLog, asked: list[Witness]) -> str:
    """Ask witnesses for their lines; those that refuse give none."""
    for witness in asked:
        try:
            note = add_lines(note, witness.add_checkpoint(log.request(old)))
        except WitnessRefusal:
            continue
    return note


def test_attack_03_a_suffix_rewritten_and_signed_anew_gets_no_quorum(tmp_path: Path) -> None:
    """Control: the honest continuation gets it."""
    honest = GrowingLog().grow(40)
    asked = witnesses(tmp_path, honest, 3)
    assert policy(3).judge(gather(honest.note(), 0, honest, asked)).reached
    forged = GrowingLog().grow(30).grow(30, salt="other")
    with pytest.raises(WitnessRefusal) as refusal:
        asked[0].add_checkpoint(forged.request(40))
    assert refusal.value.status == 422
    assert not policy(3).judge(gather(forged.note(), 40, forged, asked)).reached
    honest.grow(20)
    assert policy(3).judge(gather(honest.note(), 40, honest, asked)).reached


def test_attack_06_a_restored_backup_is_stopped_by_the_lock_and_by_a_witness(tmp_path: Path) -> None:
    store = TableStore()
    log = Log.open(ORIGIN, store)
    grow(log, store, 42)
    backup = TableStore()
    backup.append_entries(
        [(i, e, h) for i, (e, h) in enumerate(zip(store.read_entries(0, 42), store.leaf_hashes(0, 42), strict=True))]
    )
    grow(log, store, 50)
    lock = SqliteLock.create(tmp_path / "lock.db", ORIGIN)
    lock.compare_and_swap(ORIGIN, 0, log.checkpoint())
    check_start(log, lock, store, "node.db")  # control: what was signed last starts
    with pytest.raises(IntegrityError, match=r"holds 42 entries, .* 50 were signed"):
        check_start(Log.open(ORIGIN, backup), lock, backup, "node.db")
    grown = GrowingLog().grow(50)
    [witness] = witnesses(tmp_path, grown, 1)
    witness.add_checkpoint(grown.request(0))
    restored = GrowingLog().grow(42).grow(3, salt="after the restore")
    with pytest.raises(WitnessRefusal) as refusal:
        witness.add_checkpoint(restored.request(42))
    assert (refusal.value.status, refusal.value.size) == (409, 50)


def test_attack_07_of_two_running_copies_one_signs(tmp_path: Path) -> None:
    store = TableStore()
    log = Log.open(ORIGIN, store)
    grow(log, store, 50)
    first = SqliteLock.create(tmp_path / "lock.db", ORIGIN)
    first.compare_and_swap(ORIGIN, 0, log.checkpoint())
    second = SqliteLock.open(tmp_path / "lock.db")
    grow(log, store, 60)
    first.compare_and_swap(ORIGIN, 50, log.checkpoint())
    with pytest.raises(IntegrityError, match="another copy of this node signs"):
        second.compare_and_swap(ORIGIN, 50, Checkpoint(origin=ORIGIN, size=61, root=bytes(32)))
    grow(log, store, 70)
    first.compare_and_swap(ORIGIN, 60, log.checkpoint())  # control: one copy alone goes on


@pytest.mark.parametrize(("quorum", "split"), [(3, False), (2, True)])
def test_attack_08_a_split_view_needs_more_liars_than_the_quorum_leaves(
    quorum: int, split: bool, tmp_path: Path
) -> None:
    """Four witnesses, one of them lies and cosigns whatever it is shown. Control: with a quorum of two it is enough."""
    one, two = GrowingLog().grow(40), GrowingLog().grow(20).grow(20, salt="for the other peer")
    honest = witnesses(tmp_path, one, 4)
    rules = WitnessPolicy(quorum=quorum, witnesses=policy(4).witnesses)
    liars = [make_witness(tmp_path / f"liar-{view}.db", one.key, number=4) for view in "ab"]
    views = (
        gather(one.note(), 0, one, [honest[0], honest[1], liars[0]]),
        gather(two.note(), 0, two, [honest[0], honest[1], honest[2], liars[1]]),
    )
    assert [rules.judge(view).reached for view in views] == [True, split]
    # The first contact of the two peers finds it in any case, and anybody can be shown.
    assert verify_fork(pair(one.note(), two.note()), one.key).proven


def test_attack_09_a_stolen_log_key_gets_no_quorum_and_convicts_itself(tmp_path: Path) -> None:
    honest = GrowingLog().grow(40)
    asked = witnesses(tmp_path, honest, 3)
    gather(honest.note(), 0, honest, asked)
    thief = GrowingLog().grow(10, salt="made up").grow(30)
    note = gather(thief.note(), 40, thief, asked)
    assert verify_note(note, honest.key).size == 40  # the key alone is enough for a signature, and for nothing else
    assert not policy(3).judge(note).reached
    assert verify_fork(pair(honest.note(), thief.note()), honest.key).proven
    assert policy(3).judge(gather(honest.note(), 40, honest, asked)).reached  # control


def test_attack_10_a_fork_needs_2k_minus_n_stolen_witness_keys(tmp_path: Path) -> None:
    """Four witnesses, k = 3: two stolen keys make two quorums, one does not (the control)."""
    rules = policy(4)
    assert rules.quorum == 3
    for stolen, forked in ((2, True), (1, False)):
        folder = tmp_path / str(stolen)
        folder.mkdir()
        one, two = GrowingLog().grow(40), GrowingLog().grow(40, salt="fork")
        honest = witnesses(folder, one, 4)
        again = [make_witness(folder / f"again-{n}.db", one.key, number=n) for n in range(1, stolen + 1)]
        first = gather(one.note(), 0, one, honest[:3])
        second = gather(two.note(), 0, two, [*again, honest[3]])
        assert [rules.judge(note).reached for note in (first, second)] == [True, forked]


def test_attack_14_time_never_decreases_whatever_the_clock_does() -> None:
    store = TableStore()
    log = Log.open(ORIGIN, store)
    grow(log, store, 20)
    before = log.time_us
    for now, stamped in ((before - 86_400_000_000, before), (before + 7, before + 7)):  # the second is the control
        stage = log.begin(now)
        stage.add(Body(kind=Kind.CLOCK_STEPPED, count=86_400_000_000))
        with store.connection:
            stage.write(store)
        log.commit(stage)
        [entry] = store.read_entries(log.size - 1, 1)
        assert int.from_bytes(entry[12:20], "big") == stamped


def test_attack_24_bit_rot_is_found_before_the_next_signature_and_by_the_nightly_verification(
    tmp_path: Path, signer: Ed25519Signer, key: VerifierKey
) -> None:
    store = TableStore()
    log = Log.open(ORIGIN, store)
    grow(log, store, 300)
    publish(tmp_path / "log", store, key, sign_checkpoint(log.checkpoint(), signer))
    assert verify_log(tmp_path / "log", key=key).exit_code == 7  # control: only the end is not anchored
    stage = log.begin(log.time_us)
    stage.add(Body(kind=Kind.HEARTBEAT))
    with store.connection:
        stage.write(store)
    stage.verify_read_back(store)  # control
    store.execute("UPDATE entries SET entry = CAST(substr(entry, 1, 53) || x'21' AS BLOB) WHERE i = 300")
    with pytest.raises(IntegrityError, match="other bytes than were written"):
        stage.verify_read_back(store)
    name = "tile/entries/000"
    rotten = bytearray((tmp_path / "log" / name).read_bytes())
    rotten[20_000] ^= 4
    (tmp_path / "log" / name).chmod(0o644)
    (tmp_path / "log" / name).write_bytes(rotten)
    report = verify_log(tmp_path / "log", key=key)
    assert report.exit_code == 6
    assert "refuted at entry " in report.verdict


def test_attack_23_a_secret_copy_of_erased_content_is_not_detectable(tmp_path: Path) -> None:
    """Said in the README: a log holds no content, so a copy of content elsewhere changes nothing in it."""
    copy = tmp_path / "copy-of-a-bulletin"
    log = GrowingLog().grow(10)
    before = log.note()
    copy.write_bytes(b"what was erased")
    assert log.note() == before
    assert parse_note(before).checkpoint == log.checkpoint()
    assert TileFolder(tmp_path).names() == [copy.name]
