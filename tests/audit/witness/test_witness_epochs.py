"""A witness and the epochs of a log: none is cosigned that cuts off what was cosigned, or skips one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import pytest

from audit.note.cosignature import add_lines, cosign
from audit.witness.request import format_request
from audit.witness.witness import Witness
from tests.audit.witness.witness_world import (
    ORIGIN,
    SECOND,
    TIME,
    GrowingLog,
    branch,
    cosigned,
    ed25519,
    make_witness,
    policy,
    refused,
)


@pytest.fixture
def log() -> GrowingLog:
    return GrowingLog().grow(40)


@dataclass(frozen=True)
class Epoch:
    epoch: int
    previous_origin: str
    previous_size: int
    previous_root: bytes


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


@pytest.mark.parametrize(("size", "refusal"), [(30, "cut off"), (40, ""), (None, "no manifest")])
def test_row_63_an_epoch_that_was_never_seen_hides_no_cut_before_it(
    tmp_path: Path, log: GrowingLog, size: int | None, refusal: str
) -> None:
    second, opening = second_epoch(log, size or 40)
    third = GrowingLog(origin=ORIGIN[:-1] + "3").grow(3, salt="three")
    openings = {third.origin: Epoch(3, SECOND, 5, second.tree.root(5))}
    if size is not None:
        openings[SECOND] = opening
    witness = make_witness(tmp_path / "witness.db", log.key, third.key, opening_of=openings.get)
    witness.add_checkpoint(log.request(0, 40))  # of epoch 1; epoch 2 never came to this witness
    if refusal:
        assert refusal in str(refused(witness, third.request(0)))
    else:  # control: nothing was cut
        assert witness.add_checkpoint(third.request(0))


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


@pytest.mark.parametrize("at_second", [0, 3])
def test_a_witness_two_epochs_behind_is_brought_through_each_end_in_order_and_no_other(
    at_second: int, tmp_path: Path, log: GrowingLog
) -> None:
    """It holds 20 of the first epoch's 40 entries, and of the second's five none or three."""
    second, opening = second_epoch(log, 40)
    third = GrowingLog(origin=ORIGIN[:-1] + "3").grow(3, salt="three")
    last = Epoch(3, SECOND, 5, second.tree.root(5))
    path = tmp_path / "witness.db"
    make_witness(path, log.key).add_checkpoint(log.request(0, 20))
    if at_second:
        make_witness(path, second.key, opening_of={SECOND: Epoch(2, ORIGIN, 20, log.tree.root(20))}.get).add_checkpoint(
            second.request(0, at_second)
        )
    witness = make_witness(
        path,
        *(log.key, second.key, third.key),
        opening_of={SECOND: opening, third.origin: last}.get,
        successor_of={ORIGIN: opening, SECOND: last}.get,
        policy_of={ORIGIN: policy(4), SECOND: policy(4)}.get,
    )
    assert refused(witness, third.request(0)).status == 403
    ends = [(log, 20, 40), (second, at_second, 5)]
    if not at_second:  # out of order: the second epoch builds on what this witness does not hold
        assert "show it that checkpoint first" in str(
            refused(witness, format_request(0, [], with_lines(second, 5, 2, 3, 4)))
        )
        assert witness.state.cosigned(SECOND) is None
    for source, old, size in ends:
        other = GrowingLog(origin=source.origin).grow(size, salt="another history")
        assert refused(witness, format_request(old, [], with_lines(other, size, 2, 3, 4))).status in (403, 422)
        noted = refused(witness, format_request(old, [], with_lines(source, size, 2, 3, 4)))
        assert "noted, not cosigned" in str(noted)
    assert witness.add_checkpoint(third.request(0))


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
    known = witness.state.cosigned(ORIGIN)
    assert known is not None
    assert known.size == (40 if taken else 20)
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

    numbers = count()

    def at(size: int, source: GrowingLog = log, *, ended: bool = True) -> Witness:
        path = tmp_path / f"{next(numbers)}.db"
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
    known = witness.state.cosigned(ORIGIN)
    assert known is not None
    assert known.size == 30
