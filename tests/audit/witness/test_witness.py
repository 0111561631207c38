"""A witness: every status of the protocol, what it keeps, and what never moves it."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.log.sqlite_witness import SqliteWitnessState
from audit.note.checkpoint import parse_note
from audit.note.cosignature import parse_lines, verify_cosignature
from audit.note.fork import verify_fork
from audit.witness.request import MAX_REQUEST_BYTES, AddCheckpoint, format_request, parse_request
from audit.witness.witness import Witness
from keys.errors import RefusedError
from keys.identity import Usage
from keys.signer import Ed25519Signer
from tests.audit.witness.witness_world import (
    ORIGIN,
    TIME,
    GrowingLog,
    branch,
    ed25519,
    key,
    make_witness,
    mldsa44,
    refused,
)


@pytest.fixture
def log() -> GrowingLog:
    return GrowingLog().grow(40)


@pytest.fixture
def witness(tmp_path: Path, log: GrowingLog) -> Witness:
    return make_witness(tmp_path / "witness.db", log.key)


def test_the_first_and_each_longer_checkpoint_are_cosigned(witness: Witness, log: GrowingLog) -> None:
    for old, size in ((0, 7), (7, 8), (8, 8), (8, 33), (33, 40)):
        [line] = parse_lines(witness.add_checkpoint(log.request(old, size)))
        assert verify_cosignature(line, log.checkpoint(size), key(1)) == TIME
        known = witness.state.cosigned(ORIGIN)
        assert (known.size, known.root) == (size, log.tree.root(size)) if known else False


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
    assert SqliteWitnessState(witness.state._path).conflict(ORIGIN) == answer.fork


def test_a_longer_branch_with_its_own_proof_is_a_proven_fork(witness: Witness, log: GrowingLog) -> None:
    witness.add_checkpoint(log.request(0, 21))
    answer = refused(witness, branch(40, 10).request(21))
    assert answer.status == 422
    assert answer.fork is not None
    assert verify_fork(answer.fork, log.key).proven


def test_what_others_signed_under_a_note_is_not_kept(witness: Witness, log: GrowingLog) -> None:
    line = f"— stranger.example {base64.b64encode(b'x' * 40).decode()}\n"
    witness.add_checkpoint(log.request(0) + line.encode())
    known = witness.state.cosigned(ORIGIN)
    assert known is not None
    assert known.note == log.note()


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
