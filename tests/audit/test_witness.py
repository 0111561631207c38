"""A witness: every status of the protocol, what it keeps, and what never moves it."""

from __future__ import annotations

import base64
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.checkpoint import Checkpoint, parse_note
from audit.cosignature import add_lines, cosign, parse_lines, verify_cosignature
from audit.fork import verify_fork
from audit.witness import MAX_REQUEST_BYTES, AddCheckpoint, Witness, WitnessRefusal, format_request, parse_request
from audit.witness_state import Held, WitnessState
from keys.errors import IntegrityError, RefusedError, UnavailableError
from keys.identity import Usage
from keys.signing import Ed25519Signer
from tests.audit.witnessing import ORIGIN, TIME, GrowingLog, cosigned, ed25519, key, make_witness, mldsa44, policy


@pytest.fixture
def log() -> GrowingLog:
    return GrowingLog().grow(40)


@pytest.fixture
def witness(tmp_path: Path, log: GrowingLog) -> Witness:
    return make_witness(tmp_path / "witness.db", log.key)


def refused(witness: Witness, body: bytes) -> WitnessRefusal:
    with pytest.raises(WitnessRefusal) as found:
        witness.add_checkpoint(body)
    return found.value


def branch(size: int, at: int) -> GrowingLog:
    """Return another log by the same key, equal up to entry *at*."""
    return GrowingLog().grow(at).grow(size - at, salt="branch")


def test_the_first_and_each_longer_checkpoint_are_cosigned(witness: Witness, log: GrowingLog) -> None:
    for old, size in ((0, 7), (7, 8), (8, 8), (8, 33), (33, 40)):
        [line] = parse_lines(witness.add_checkpoint(log.request(old, size)))
        assert verify_cosignature(line, log.checkpoint(size), key(1)) == TIME
        held = witness.state.held(ORIGIN)
        assert (held.size, held.root) == (size, log.tree.root(size)) if held else False


def test_both_keys_cosign_where_there_are_two(tmp_path: Path, log: GrowingLog) -> None:
    witness = make_witness(tmp_path / "witness.db", log.key, signers=(ed25519(1), mldsa44(1)))
    lines = parse_lines(witness.add_checkpoint(log.request(0)))
    for line, known in zip(lines, (key(1), key(1, second=True)), strict=True):
        assert verify_cosignature(line, log.checkpoint(), known) == TIME


def test_404_a_log_that_the_witness_does_not_know(witness: Witness) -> None:
    other = GrowingLog(origin="kh-ncct.exercise.example/log/1").grow(3)
    assert refused(witness, other.request(0)).status == 404


def test_403_a_checkpoint_that_the_log_did_not_sign(witness: Witness, log: GrowingLog) -> None:
    thief = GrowingLog(signer=Ed25519Signer.from_seed(Usage.LOG, "HK-SB", bytes(32)), tree=log.tree)
    assert refused(witness, thief.request(0)).status == 403
    forged = log.request(0).decode().replace("\n40\n", "\n41\n").encode()
    assert refused(witness, forged).status == 403
    assert witness.add_checkpoint(log.request(0))  # control


def test_400_an_old_size_above_the_new_one(witness: Witness, log: GrowingLog) -> None:
    assert refused(witness, format_request(9, [], log.note(8))).status == 400


def test_409_says_the_size_that_the_witness_holds(witness: Witness, log: GrowingLog) -> None:
    first = refused(witness, log.request(5, 9))
    assert (first.status, first.size) == (409, 0)
    witness.add_checkpoint(log.request(0, 9))
    for body in (log.request(0, 40), log.request(8, 40), log.request(8, 9), log.request(0, 5)):
        answer = refused(witness, body)
        assert (answer.status, answer.size, answer.conflict) == (409, 9, None)
    assert witness.add_checkpoint(log.request(9, 40))  # control


@pytest.mark.parametrize("change", ["missing", "trailing", "swapped", "zeros", "other-old"])
def test_422_a_proof_that_proves_nothing(witness: Witness, log: GrowingLog, change: str) -> None:
    witness.add_checkpoint(log.request(0, 9))
    proof = log.tree.consistency(9, 40)
    changed = {
        "missing": proof[:-1],
        "trailing": [*proof, bytes(32)],
        "swapped": [proof[1], proof[0], *proof[2:]],
        "zeros": [bytes(32)] * len(proof),
        "other-old": log.tree.consistency(10, 40),
    }[change]
    answer = refused(witness, format_request(9, changed, log.note()))
    assert (answer.status, answer.conflict) == (422, None)  # anybody can send a bad proof: it convicts nobody
    assert witness.state.conflict(ORIGIN) is None
    assert witness.add_checkpoint(format_request(9, proof, log.note()))  # control


def test_422_a_proof_where_none_belongs(witness: Witness, log: GrowingLog) -> None:
    assert refused(witness, format_request(0, [bytes(32)], log.note())).status == 422
    witness.add_checkpoint(log.request(0))
    assert refused(witness, format_request(40, [bytes(32)], log.note())).status == 422


def test_422_an_empty_tree_that_is_not_empty(witness: Witness, log: GrowingLog) -> None:
    text = log.note(0).replace("\n0\n", "\n0\n")
    assert witness.add_checkpoint(format_request(0, [], text))  # control
    changed = parse_note(text).checkpoint
    body = f"{ORIGIN}\n0\n{base64.b64encode(bytes(32)).decode()}\n"
    signed = base64.b64encode(log.key.key_hash + log.signer.sign(body.encode())).decode()
    answer = refused(witness, format_request(0, [], f"{body}\n— {ORIGIN} {signed}\n"))
    assert changed.size == 0
    assert answer.status == 422


def test_two_roots_of_one_size_are_handed_back_as_a_pair_and_kept_for_ever(witness: Witness, log: GrowingLog) -> None:
    witness.add_checkpoint(log.request(0, 40))
    other, third = branch(40, 20), branch(40, 30)
    answer = refused(witness, other.request(40))
    assert (answer.status, answer.size) == (409, 40)
    assert answer.fork is not None
    assert verify_fork(answer.fork, log.key).proven
    assert answer.conflict == (log.note(40), other.note(40))
    assert refused(witness, third.request(40)).conflict == answer.conflict  # the first pair for ever
    assert WitnessState(witness.state._path).conflict(ORIGIN) == answer.fork


def test_a_longer_branch_with_its_own_proof_is_a_proven_fork(witness: Witness, log: GrowingLog) -> None:
    witness.add_checkpoint(log.request(0, 21))
    answer = refused(witness, branch(40, 10).request(21))
    assert answer.status == 422
    assert answer.fork is not None
    assert verify_fork(answer.fork, log.key).proven


def test_what_others_signed_under_a_note_is_not_kept(witness: Witness, log: GrowingLog) -> None:
    line = f"— stranger.example {base64.b64encode(b'x' * 40).decode()}\n"
    witness.add_checkpoint(log.request(0) + line.encode())
    held = witness.state.held(ORIGIN)
    assert held is not None
    assert held.note == log.note()


REQUEST = GrowingLog().grow(40).request(9)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("old 9\n", ""),
        ("old 9", "old 09"),
        ("old 9", "old -9"),
        ("old 9", "Old 9"),
        ("old 9", "old  9"),
        ("old 9", f"old {1 << 63}"),
        ("\n\n" + ORIGIN, "\n" + ORIGIN),
        ("=\n", "=\n\n"),
        ("=\n", "\n"),
        ("=\n", "=\r\n"),
        ("\n40\n", "\n040\n"),
    ],
)
def test_400_a_malformed_request(tmp_path: Path, old: str, new: str) -> None:
    log = GrowingLog().grow(40)
    witness = make_witness(tmp_path / "witness.db", log.key)
    assert parse_request(REQUEST).old_size == 9  # control
    changed = REQUEST.decode().replace(old, new, 1)
    assert refused(witness, changed.encode()).status == 400


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (f"old {1 << 63}\n\n", "line 1: 'old' and a size"),
        ("old 9\nAAAA\n\n", "line 2: a hash of 3 bytes instead of 32"),
        ("old 9\nAAAA\n", "a blank line between proof and checkpoint"),
        ("old 9\n" + "AAAA" * 11 + "\n\n", "line 2: a hash of 33 bytes"),
        ("old 9\nnot base64\n\n", "line 2: not base64"),
        ("old 9\n\nnothing", "three lines, a blank one and signature lines"),
        ("\xff", "line 1: "),
    ],
)
def test_a_malformed_request_is_told_by_line(body: str, said: str) -> None:
    assert parse_request(f"old {(1 << 63) - 1}\n\n{GrowingLog().grow(3).note()}".encode())  # control
    with pytest.raises(RefusedError, match=said):
        parse_request(body.encode())


def test_limits_of_a_request_hold_one_below_and_one_above(log: GrowingLog) -> None:
    assert len(parse_request(format_request(9, [bytes(32)] * 63, log.note())).proof) == 63
    with pytest.raises(RefusedError):
        parse_request(format_request(9, [bytes(32)] * 64, log.note()))
    with pytest.raises(RefusedError) as found:
        parse_request(b"x" * (MAX_REQUEST_BYTES + 1))
    assert found.value.code == "TOO_LARGE"
    with pytest.raises(RefusedError) as found:
        parse_request(b"x" * MAX_REQUEST_BYTES)
    assert found.value.code == "MALFORMED"


@given(st.binary(max_size=300))
@settings(max_examples=100)
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(RefusedError):
        parse_request(data)


@given(st.integers(0, 1 << 62), st.lists(st.binary(min_size=32, max_size=32), max_size=63))
@settings(max_examples=100)
def test_what_is_asked_is_read_back(old: int, proof: list[bytes]) -> None:
    note = GrowingLog().grow(3).note()
    read = parse_request(format_request(old, proof, note))
    assert read == AddCheckpoint(old_size=old, proof=tuple(proof), note=note, read=parse_note(note))


def test_a_missing_file_is_never_made_anew(tmp_path: Path, log: GrowingLog) -> None:
    witness = make_witness(tmp_path / "witness.db", log.key)
    witness.add_checkpoint(log.request(0))
    witness.state.close()
    for path in tmp_path.glob("witness.db*"):
        path.rename(path.with_suffix(".away"))
    with pytest.raises(IntegrityError, match="is missing"):
        witness.add_checkpoint(log.request(40))
    with pytest.raises(IntegrityError, match="is missing"):
        WitnessState(tmp_path / "witness.db")
    with pytest.raises(IntegrityError, match="exists already"):
        WitnessState.create(tmp_path / "witness.away")


def test_a_file_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "witness.db").write_bytes(b"no database, " * 100)
    with pytest.raises(IntegrityError):
        WitnessState(tmp_path / "witness.db")


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file be written beyond its first byte, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_no_cosignature_follows_a_failed_write_nor_a_second_one(tmp_path: Path, log: GrowingLog) -> None:
    witness = make_witness(tmp_path / "witness.db", log.key)
    witness.add_checkpoint(log.request(0, 9))
    with full_disk():
        for _ in range(2):
            with pytest.raises(IntegrityError, match=r"witness\.db"):
                witness.add_checkpoint(log.request(9, 40))
    held = witness.state.held(ORIGIN)
    assert held is not None
    assert held.size == 9
    assert witness.add_checkpoint(log.request(9, 40))  # control: with room again


class LateError(WitnessState):
    """A state whose write takes effect, and fails all the same."""

    def swap(self, held: Held | None, new: Checkpoint, note: str, clock_s: Callable[[], int]) -> int | None:
        super().swap(held, new, note, clock_s)
        raise IntegrityError("the disk says that it failed")


def test_an_error_that_comes_back_although_the_write_took_effect_gives_no_cosignature_and_no_way_back(
    tmp_path: Path, log: GrowingLog
) -> None:
    good = make_witness(tmp_path / "witness.db", log.key)
    good.add_checkpoint(log.request(0, 9))
    with pytest.raises(IntegrityError):
        replace(good, state=LateError(tmp_path / "witness.db")).add_checkpoint(log.request(9, 30))
    answer = refused(good, log.request(9, 40))
    assert (answer.status, answer.size) == (409, 30)  # it was seen, so nothing shorter is cosigned any more
    assert refused(good, branch(40, 20).request(30)).status == 422
    assert good.add_checkpoint(log.request(30, 30))
    assert good.add_checkpoint(log.request(30, 40))


def test_a_file_that_another_process_holds_is_busy_not_broken(tmp_path: Path, log: GrowingLog) -> None:
    witness = make_witness(tmp_path / "witness.db", log.key)
    witness.add_checkpoint(log.request(0, 9))
    witness.state._connection.set_busy_timeout(10)
    other = apsw.Connection(str(tmp_path / "witness.db"))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError):
        witness.add_checkpoint(log.request(9, 40))
    other.execute("ROLLBACK")
    assert witness.add_checkpoint(log.request(9, 40))


def test_row_62_a_restored_witness_cosigns_no_branch(tmp_path: Path, log: GrowingLog) -> None:
    """A node's home comes back from a backup; its lock, with what it cosigned, is the one from the disk."""
    lock, backup = tmp_path / "lock.db", tmp_path / "backup.db"
    witness = make_witness(lock, log.key)
    witness.add_checkpoint(log.request(0, 20))
    witness.state.close()
    backup.write_bytes(lock.read_bytes())
    witness.add_checkpoint(log.request(20, 40))
    witness.state.close()
    other = branch(40, 25)
    restored = make_witness(lock, log.key)  # everything else is as old as the backup; this file is not
    assert refused(restored, other.request(20)).conflict is not None
    assert refused(restored, branch(50, 25).request(40)).status == 422
    control = make_witness(backup, log.key)  # the control: had the file been in the backup, the branch were cosigned
    assert control.add_checkpoint(other.request(20))


@dataclass(frozen=True)
class Epoch:
    epoch: int
    previous_origin: str
    previous_size: int
    previous_root: bytes


SECOND = ORIGIN[:-1] + "2"


def second_epoch(log: GrowingLog, size: int, origin: str = SECOND) -> tuple[GrowingLog, Epoch]:
    opening = Epoch(2, log.origin, size, log.tree.root(size))
    return GrowingLog(origin=origin).grow(5, salt="two"), opening


def test_row_63_an_epoch_that_no_manifest_opens_is_not_cosigned(tmp_path: Path, log: GrowingLog) -> None:
    later, opening = second_epoch(log, 40)
    witness = make_witness(tmp_path / "witness.db", log.key, later.key)
    assert refused(witness, later.request(0)).status == 403
    control = make_witness(tmp_path / "witness.db", later.key, opening_of={SECOND: opening}.get)
    assert control.add_checkpoint(later.request(0))


def test_row_63_a_new_epoch_that_cuts_entries_is_not_cosigned(tmp_path: Path, log: GrowingLog) -> None:
    later, opening = second_epoch(log, 30)
    hooks = {"opening_of": {SECOND: opening}.get, "successor_of": {ORIGIN: opening}.get}
    before = make_witness(tmp_path / "witness.db", log.key)
    before.add_checkpoint(log.request(0, 40))
    witness = make_witness(tmp_path / "witness.db", log.key, later.key, **hooks)
    assert "cut off" in str(refused(witness, later.request(0)))
    # Both notes shown: the fork is on record, so the epoch may begin; every verdict on it shows the break.
    shown = refused(witness, branch(40, 20).request(40))
    assert (shown.status, shown.conflict is not None) == (403, True)
    assert witness.add_checkpoint(later.request(0))


def test_row_63_a_new_epoch_that_extends_what_the_witness_holds_is_cosigned(tmp_path: Path, log: GrowingLog) -> None:
    later, opening = second_epoch(log, 40)
    hooks = {"opening_of": {SECOND: opening}.get, "successor_of": {ORIGIN: opening}.get}
    make_witness(tmp_path / "witness.db", log.key).add_checkpoint(log.request(0, 40))
    witness = make_witness(tmp_path / "witness.db", log.key, later.key, **hooks)
    assert witness.add_checkpoint(later.request(0))
    forged = Epoch(2, ORIGIN, 40, bytes(32))  # the same size with another root is a cut, too
    other = make_witness(tmp_path / "other.db", log.key)
    other.add_checkpoint(log.request(0, 40))
    other = make_witness(tmp_path / "other.db", later.key, opening_of={SECOND: forged}.get)
    assert "cut off" in str(refused(other, later.request(0)))


@pytest.mark.parametrize(
    "previous", ["kh-ncct.exercise.example/log/1", SECOND, ORIGIN[:-1] + "3", "hk-sb.exercise.example", ""]
)
def test_row_63_an_epoch_that_begins_after_another_log_s_is_not_cosigned(
    tmp_path: Path, log: GrowingLog, previous: str
) -> None:
    later, opening = second_epoch(log, 40)
    wrong = replace(opening, previous_origin=previous)
    witness = make_witness(tmp_path / "witness.db", later.key, opening_of={SECOND: wrong}.get)
    assert "is not the one before" in str(refused(witness, later.request(0)))


def test_row_63_no_epoch_that_was_cosigned_is_passed_over(tmp_path: Path, log: GrowingLog) -> None:
    second, opening = second_epoch(log, 40)
    third = GrowingLog(origin=ORIGIN[:-1] + "3").grow(3, salt="three")
    skips = Epoch(3, ORIGIN, 40, log.tree.root(40))
    hooks = {"opening_of": {SECOND: opening, third.origin: skips}.get}
    witness = make_witness(tmp_path / "witness.db", log.key, second.key, third.key, **hooks)
    witness.add_checkpoint(log.request(0))
    control = make_witness(tmp_path / "other.db", log.key, third.key, **hooks)
    assert control.add_checkpoint(third.request(0))  # control: epoch 2 never was
    witness.add_checkpoint(second.request(0))
    assert "is not the one before" in str(refused(witness, third.request(0)))


def test_a_witness_that_fell_behind_is_brought_to_the_end_without_a_cosignature(
    tmp_path: Path, log: GrowingLog
) -> None:
    later, opening = second_epoch(log, 40)
    hooks = {"opening_of": {SECOND: opening}.get, "successor_of": {ORIGIN: opening}.get}
    make_witness(tmp_path / "witness.db", log.key).add_checkpoint(log.request(0, 20))
    witness = make_witness(tmp_path / "witness.db", log.key, later.key, **hooks)
    assert "show it that checkpoint first" in str(refused(witness, later.request(0)))
    assert refused(witness, log.request(20, 30)).status == 403  # not the end: not even noted
    assert "noted, not cosigned" in str(refused(witness, log.request(20, 40)))
    assert witness.add_checkpoint(later.request(0))


def with_lines(log: GrowingLog, size: int, *numbers: int) -> str:
    return cosigned(log.note(size), log.checkpoint(size), dict.fromkeys(numbers, TIME))


@pytest.mark.parametrize(
    ("witnesses", "lines", "taken"),
    [
        (4, (2, 3, 4), True),
        (4, (1, 2, 3), False),  # the witness's own line is not somebody else's word
        (4, (2, 3), False),
        (4, (), False),
        (2, (2,), True),  # the quorum is both: without the one that fell behind there would never be one
        (2, (1,), False),
        (3, (2, 3), True),
        (3, (2,), False),
        (1, (1,), False),
        (1, (), False),
    ],
)
def test_row_63_without_a_proof_only_the_other_witnesses_quorum_brings_one_to_the_end(
    tmp_path: Path, log: GrowingLog, witnesses: int, lines: tuple[int, ...], taken: bool
) -> None:
    later, opening = second_epoch(log, 40)
    hooks = {"opening_of": {SECOND: opening}.get, "successor_of": {ORIGIN: opening}.get}
    make_witness(tmp_path / "witness.db", log.key).add_checkpoint(log.request(0, 20))
    shown = format_request(20, [], with_lines(log, 40, *lines))
    without = make_witness(tmp_path / "witness.db", log.key, later.key, **hooks)
    assert refused(without, shown).status == 422  # control: nobody says who the witnesses are
    policies = {ORIGIN: policy(witnesses)}.get
    witness = make_witness(tmp_path / "witness.db", log.key, later.key, policy_of=policies, **hooks)
    assert refused(witness, shown).status == (403 if taken else 422)
    held = witness.state.held(ORIGIN)
    assert held is not None
    assert held.size == (40 if taken else 20)
    if taken:
        assert witness.add_checkpoint(later.request(0))
    else:
        assert "show it that checkpoint first" in str(refused(witness, later.request(0)))


def test_row_63_a_quorum_moves_no_witness_but_forward_to_the_very_end_of_an_epoch(
    tmp_path: Path, log: GrowingLog
) -> None:
    later, opening = second_epoch(log, 40)
    log.grow(10)
    hooks = {"opening_of": {SECOND: opening}.get, "policy_of": {ORIGIN: policy(4)}.get}

    def at(size: int, source: GrowingLog = log, *, ended: bool = True) -> Witness:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.db"
        make_witness(path, log.key).add_checkpoint(source.request(0, size))
        return make_witness(path, log.key, later.key, successor_of={ORIGIN: opening if ended else None}.get, **hooks)

    others = (2, 3, 4)
    end = with_lines(log, 40, *others)
    assert refused(at(20, ended=False), format_request(20, [], end)).status == 422  # no manifest says so
    elsewhere = with_lines(log, 39, *others)
    assert refused(at(20), format_request(20, [], elsewhere)).status == 403  # not where the manifest says
    fork = refused(at(40, branch(40, 10)), format_request(40, [], end))
    assert (fork.status, fork.conflict is not None) == (409, True)
    assert refused(at(50), format_request(50, [], end)).status == 400  # it holds more
    assert refused(at(50), format_request(40, [], end)).size == 50
    assert refused(at(20), format_request(19, [], end)).size == 20
    wrong = list(log.tree.consistency(20, 39))
    assert refused(at(20), format_request(20, wrong, end)).status == 422  # a proof is judged as one
    spoilt = end.replace("w4.example/witness ", "w4.example/witness A")
    assert refused(at(20), format_request(20, [], spoilt)).status in (400, 403)
    false = add_lines(end, cosign(log.checkpoint(39), "w4.example/witness", ed25519(4), TIME))
    assert "the lines under" in str(refused(at(20), format_request(20, [], false)))
    noted = refused(at(20), format_request(20, [], end))  # control
    assert "noted, not cosigned" in str(noted)


def test_nothing_is_cosigned_in_an_epoch_that_has_a_successor(tmp_path: Path, log: GrowingLog) -> None:
    later, opening = second_epoch(log, 30)
    hooks = {"opening_of": {SECOND: opening}.get}
    witness = make_witness(tmp_path / "witness.db", log.key, later.key, **hooks)
    witness.add_checkpoint(log.request(0, 30))  # control: before there is one
    witness.add_checkpoint(later.request(0))
    assert refused(witness, log.request(30, 40)).status == 403  # known from the state alone
    assert refused(witness, log.request(30, 30)).status == 403
    held = witness.state.held(ORIGIN)
    assert held is not None
    assert held.size == 30


def test_the_state_refuses_to_go_back_or_to_another_log(tmp_path: Path, log: GrowingLog) -> None:
    state = WitnessState.create(tmp_path / "witness.db")
    assert state.swap(None, log.checkpoint(20), "note", lambda: TIME) == TIME
    held = state.held(ORIGIN)
    assert held == Held(origin=ORIGIN, size=20, root=log.tree.root(20), note="note")
    with pytest.raises(IntegrityError):
        state.swap(held, log.checkpoint(19), "note", lambda: TIME)
    other = GrowingLog(origin=SECOND).grow(30)
    with pytest.raises(IntegrityError):
        state.swap(held, other.checkpoint(), "note", lambda: TIME)
    assert state.swap(None, log.checkpoint(30), "note", lambda: TIME) is None  # not at *held* any more
    assert state.held(ORIGIN) == held
