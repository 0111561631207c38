"""Cosignatures under one note: whose lines find room, and that no two histories get a quorum."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.log.sqlite_witness import SqliteWitnessState
from audit.note.checkpoint import Checkpoint, VerifierKey, parse_note, sign_checkpoint
from audit.note.cosignature import add_lines, cosign, cosigner_key
from audit.note.policy import WitnessPolicy, default_quorum
from audit.witness.request import format_request
from audit.witness.witness import Witness, WitnessRefusal
from exchange.rpc.audit.cosignatures import KEPT, CosignatureSet
from keys.bounds import MAX_NOTE_BYTES
from keys.identity import Usage
from keys.signer import Ed25519Signer, MlDsa44Signer

ORIGIN = "hk-sb.exercise.example/log/1"
LOG = Ed25519Signer.from_seed(Usage.LOG, "HK-SB", b"\1" * 32)
SECOND = MlDsa44Signer.from_seed(Usage.LOG, "HK-SB", b"\2" * 32)
Answer = Callable[[str], str]


def name_of(number: int) -> str:
    return f"w{number:02}.example/witness"


def signers(number: int) -> tuple[Ed25519Signer, MlDsa44Signer]:
    seed, name = bytes([100 + number]) * 32, name_of(number)
    return Ed25519Signer.from_seed(Usage.WITNESS, name, seed), MlDsa44Signer.from_seed(Usage.WITNESS, name, seed)


def policy_of(number: int, *, second: bool = False) -> WitnessPolicy:
    pairs = [signers(each) for each in range(number)]
    return WitnessPolicy(
        quorum=default_quorum(number),
        witnesses=tuple(cosigner_key(one.key.owner, one.key.public_key) for one, _ in pairs),
        mldsa44=tuple(cosigner_key(two.key.owner, two.key.public_key) for _, two in pairs) if second else (),
    )


def note_of(size: int, root: bytes) -> str:
    return sign_checkpoint(Checkpoint(origin=ORIGIN, size=size, root=root), LOG)


def test_ed25519_lines_find_room_before_any_second_line() -> None:
    number = 20
    policy = policy_of(number, second=True)
    cosignatures = CosignatureSet(policy)
    checkpoint = Checkpoint(origin=ORIGIN, size=9, root=b"r" * 32)
    own = add_lines(sign_checkpoint(checkpoint, LOG), cosign(checkpoint, ORIGIN, SECOND, 5))
    target = cosignatures.aim(own)
    for each in reversed(range(number)):
        cosignatures.take(
            name_of(each), target, "".join(cosign(checkpoint, name_of(each), s, 5) for s in signers(each))
        )
    found = cosignatures.cosigned()
    assert found is not None
    note = found[1]
    assert len(note.encode()) <= MAX_NOTE_BYTES
    lines = parse_note(note).signatures
    assert len(lines) == 32
    assert [line.name for line in lines[:2]] == [ORIGIN] * 2
    assert [line.name for line in lines[2:22]] == [name_of(each) for each in range(number)]
    judged = policy.judge(note)
    assert judged.reached
    assert (len(judged.names), len(judged.mldsa44)) == (20, 10)


def test_the_quorum_must_have_cosigned_one_size() -> None:
    cosignatures = CosignatureSet(policy_of(3))
    targets = [cosignatures.aim(note_of(size, bytes([size]) * 32)) for size in (5, 6)]
    for each, target in zip(range(3), (targets[0], targets[1], targets[0]), strict=True):
        cosignatures.take(name_of(each), target, cosign(target.checkpoint, name_of(each), signers(each)[0], 5))
    assert cosignatures.cosigned() is None
    cosignatures.take(name_of(1), targets[0], cosign(targets[0].checkpoint, name_of(1), signers(1)[0], 5))
    found = cosignatures.cosigned()
    assert found is not None
    assert found[0] == 5


def test_only_so_many_sizes_are_kept_in_memory() -> None:
    cosignatures = CosignatureSet(policy_of(1))
    first = cosignatures.aim(note_of(1, b"r" * 32))
    for size in range(2, KEPT + 2):
        cosignatures.aim(note_of(size, b"r" * 32))
    cosignatures.take(name_of(0), first, cosign(first.checkpoint, name_of(0), signers(0)[0], 5))
    assert cosignatures.cosigned() is None


# ------------------------------------------------------------------ two histories


def _ask(witness: Witness) -> Answer:
    return lambda note: witness.add_checkpoint(format_request(0, [], note))


def _lie(number: int) -> Answer:
    return lambda note: cosign(parse_note(note).checkpoint, name_of(number), signers(number)[0], 5)


def _reached(number: int, answers: dict[int, Answer], order: list[tuple[int, bytes]]) -> list[bool]:
    """Show each of two histories to the witnesses in this order; say which of the two got its quorum."""
    sets = {root: CosignatureSet(policy_of(number)) for root in (b"1" * 32, b"2" * 32)}
    targets = {root: cosignatures.aim(note_of(7, root)) for root, cosignatures in sets.items()}
    for each, root in order:
        try:
            answer = answers[each](targets[root].note)
        except WitnessRefusal:
            continue
        sets[root].take(name_of(each), targets[root], answer)
    return [cosignatures.cosigned() is not None for cosignatures in sets.values()]


@pytest.mark.parametrize(("liars", "both"), [(0, False), (1, False), (2, True)])
def test_attack_08_two_histories_never_both_get_a_quorum_below_2k_minus_n_liars_row_17(
    liars: int, both: bool, tmp_path: Path
) -> None:
    """Of four witnesses three are a quorum: one liar cannot make two, in any order; the control is two liars."""
    number, dice = 4, random.Random(17)
    log_key = VerifierKey(name=ORIGIN, key=LOG.key.public_key)
    seen = []
    for attempt in range(12):
        honest = {}
        for each in range(liars, number):
            state = SqliteWitnessState.create(tmp_path / f"{liars}-{attempt}-{each}.db")
            honest[each] = Witness(
                name=name_of(each),
                signers=signers(each)[:1],
                state=state,
                log_key_of={ORIGIN: log_key}.get,
                clock_s=lambda: 5,
            )
        answers = {each: _ask(witness) for each, witness in honest.items()} | {
            each: _lie(each) for each in range(liars)
        }
        order = list(itertools.product(range(number), (b"1" * 32, b"2" * 32)))
        dice.shuffle(order)
        seen.append(all(_reached(number, answers, order)))
        for witness in honest.values():
            witness.state.close()
    assert any(seen) is both
