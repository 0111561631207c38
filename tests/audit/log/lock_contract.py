"""What every engine of locks promises (``audit.log.lock``), as tests that each engine's test class runs.

A subclass gives ``engine``: how to make a lock, or a witness's state, in a folder and how to open it as after a crash.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from audit.log.lock import Cosigned, Lock, WitnessState
from audit.note.checkpoint import Checkpoint
from audit.note.fork import Fork
from audit.tree.merkle import EMPTY_ROOT
from keys.errors import IntegrityError

ORIGIN, OTHER = "hk-sb.exercise.example/log/1", "th-dsi.exercise.example/log/1"
TIME = 1_770_000_000


class LockMaker(Protocol):
    """Makes and opens locks in one folder."""

    def make(self, folder: Path, origin: str) -> Lock: ...
    def reopen(self, folder: Path) -> Lock: ...
    def make_state(self, folder: Path) -> WitnessState: ...
    def reopen_state(self, folder: Path) -> WitnessState: ...


def at(size: int, origin: str = ORIGIN, root: int = 0) -> Checkpoint:
    return Checkpoint(origin=origin, size=size, root=bytes([root or size % 256]) * 32)


def forked(mark: str, *hashes: int) -> Fork:
    proof = tuple(bytes([each]) * 32 for each in hashes)
    return Fork(older=f"older {mark}", newer=f"newer {mark}", root=proof[0] if proof else None, proof=proof[1:])


class LockContract:
    """Run by subclasses named ``Test…`` with an ``engine``."""

    engine: LockMaker

    @pytest.fixture
    def lock(self, tmp_path: Path) -> Iterator[Lock]:
        made = self.engine.make(tmp_path, ORIGIN)
        yield made
        made.close()

    @pytest.fixture(params=["of a node", "of a witness"])
    def state(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WitnessState]:
        """A node keeps in its lock what it has cosigned; a witness without a node keeps it alone."""
        if request.param == "of a node":
            lock = self.engine.make(tmp_path, ORIGIN)
            made = lock.witness_state()
            yield made
            lock.close()
        else:
            made = self.engine.make_state(tmp_path)
            yield made
        made.close()

    # heads

    def test_a_new_lock_is_at_size_0_of_its_origin_and_knows_no_other(self, lock: Lock, tmp_path: Path) -> None:
        assert lock.read(ORIGIN) == (0, EMPTY_ROOT)
        assert lock.read(OTHER) is None
        assert lock.name.startswith(str(tmp_path))

    def test_a_head_moves_and_is_there_after_a_crash(self, lock: Lock, tmp_path: Path) -> None:
        lock.compare_and_swap(ORIGIN, 0, at(5))
        lock.compare_and_swap(ORIGIN, 5, at(5))  # the same again is no step back
        lock.compare_and_swap(ORIGIN, 5, at(9))
        again = self.engine.reopen(tmp_path)  # without closing the first one
        assert lock.read(ORIGIN) == again.read(ORIGIN) == (9, at(9).root)
        again.close()

    @pytest.mark.parametrize(
        ("origin", "old", "new"),
        [
            (ORIGIN, 4, at(9)),  # it is elsewhere
            (ORIGIN, 6, at(9)),
            (ORIGIN, 5, at(4)),  # back
            (ORIGIN, 5, at(9, OTHER)),  # to another log
            (OTHER, 0, at(9, OTHER)),  # of which it knows nothing
        ],
    )
    def test_a_head_that_may_not_move_stays(self, lock: Lock, origin: str, old: int, new: Checkpoint) -> None:
        lock.compare_and_swap(ORIGIN, 0, at(5))
        with pytest.raises(IntegrityError):
            lock.compare_and_swap(origin, old, new)
        assert lock.read(ORIGIN) == (5, at(5).root)
        assert lock.read(OTHER) is None

    def test_of_two_who_have_it_open_one_moves_it(self, lock: Lock, tmp_path: Path) -> None:
        second = self.engine.reopen(tmp_path)
        lock.compare_and_swap(ORIGIN, 0, at(5))
        with pytest.raises(IntegrityError, match="another copy of this node signs"):
            second.compare_and_swap(ORIGIN, 0, at(6))
        second.close()

    def test_a_next_epoch_begins_at_size_0_and_leaves_the_rest(self, lock: Lock) -> None:
        following = ORIGIN.replace("/1", "/2")
        lock.compare_and_swap(ORIGIN, 0, at(5))
        lock.begin_epoch(following)
        lock.compare_and_swap(following, 0, at(3, following))
        lock.begin_epoch(following)  # again is nothing
        assert lock.read(following) == (3, at(3).root)
        assert lock.read(ORIGIN) == (5, at(5).root)

    # what was erased

    def test_what_was_erased_is_remembered_and_nothing_else(self, lock: Lock, tmp_path: Path) -> None:
        digests = [bytes([each]) * 32 for each in range(3)]
        lock.remember_erased(digests[:2])
        lock.remember_erased(iter(digests[1:2]))  # once more does no harm
        again = self.engine.reopen(tmp_path)
        assert [again.is_erased(each) for each in digests] == [True, True, False]
        assert again.erased_count() == lock.erased_count() == 2
        again.close()

    def test_a_lock_that_was_closed_answers_nothing(self, lock: Lock) -> None:
        lock.close()
        for act in (
            lambda: lock.read(ORIGIN),
            lambda: lock.compare_and_swap(ORIGIN, 0, at(1)),
            lambda: lock.begin_epoch(OTHER),
            lambda: lock.remember_erased([bytes(32)]),
            lambda: lock.is_erased(bytes(32)),
            lock.erased_count,
        ):
            with pytest.raises(IntegrityError):
                act()

    def test_several_threads_ask_while_it_moves(self, lock: Lock) -> None:
        errors: list[BaseException] = []

        def ask() -> None:
            try:
                for _ in range(300):
                    assert not lock.is_erased(bytes(32))
            except BaseException as error:  # noqa: BLE001 - whatever it is, the test shows it
                errors.append(error)

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        for size in range(50):
            lock.compare_and_swap(ORIGIN, size, at(size + 1))
        for thread in threads:
            thread.join()
        assert errors == []

    # what was cosigned for others

    def test_what_was_cosigned_moves_forward_and_each_log_by_itself(self, state: WitnessState) -> None:
        assert state.cosigned(ORIGIN) is None
        assert state.all_cosigned() == []
        assert state.swap(None, at(7, OTHER), "theirs", lambda: TIME) == TIME
        assert state.swap(None, at(5), "one", lambda: TIME + 1) == TIME + 1
        known = state.cosigned(ORIGIN)
        assert known == Cosigned(origin=ORIGIN, size=5, root=at(5).root, note="one")
        assert state.swap(known, at(9), "two", lambda: TIME + 2) == TIME + 2
        assert [(each.origin, each.size, each.note) for each in state.all_cosigned()] == [
            (ORIGIN, 9, "two"),
            (OTHER, 7, "theirs"),
        ]

    def test_the_same_checkpoint_again_takes_the_time_and_keeps_its_note(self, state: WitnessState) -> None:
        state.swap(None, at(5), "one", lambda: TIME)
        known = state.cosigned(ORIGIN)
        assert state.swap(known, at(5), "another", lambda: TIME + 1) == TIME + 1
        assert state.cosigned(ORIGIN) == known

    def test_a_swap_from_elsewhere_changes_nothing(self, state: WitnessState) -> None:
        state.swap(None, at(5), "one", lambda: TIME)
        known = state.cosigned(ORIGIN)
        assert known is not None
        for wrong in (None, Cosigned(origin=ORIGIN, size=4, root=at(4).root, note="")):
            assert state.swap(wrong, at(9), "two", lambda: TIME) is None
        branch = Cosigned(origin=ORIGIN, size=5, root=at(5, root=77).root, note="one")
        assert state.swap(branch, at(9), "two", lambda: TIME) is None
        for new in (at(4), at(9, OTHER)):
            with pytest.raises(IntegrityError):
                state.swap(known, new, "two", lambda: TIME)
        assert state.all_cosigned() == [known]

    def test_an_error_in_a_swap_changes_nothing(self, state: WitnessState) -> None:
        def clock() -> int:
            raise OverflowError

        with pytest.raises(OverflowError):
            state.swap(None, at(5), "one", clock)
        assert state.cosigned(ORIGIN) is None
        assert state.swap(None, at(5), "one", lambda: TIME) == TIME

    def test_the_first_contradiction_of_a_log_is_kept_for_ever(self, state: WitnessState) -> None:
        assert (state.conflict(ORIGIN), state.conflicts()) == (None, [])
        first, with_proof = forked("first"), forked("proven", 1, 2, 3)
        assert state.keep_conflict(OTHER, with_proof) == with_proof
        assert state.keep_conflict(ORIGIN, first) == first
        assert state.keep_conflict(ORIGIN, forked("second")) == first
        assert (state.conflict(ORIGIN), state.conflict(OTHER)) == (first, with_proof)
        assert state.conflicts() == [ORIGIN, OTHER]

    def test_what_was_cosigned_is_there_after_a_crash_and_after_closing(self, tmp_path: Path) -> None:
        lone, node = tmp_path / "lone", tmp_path / "node"
        lone.mkdir()
        node.mkdir()
        lock = self.engine.make(node, ORIGIN)
        for state in (self.engine.make_state(lone), lock.witness_state()):
            state.swap(None, at(5), "one", lambda: TIME)
            state.keep_conflict(ORIGIN, forked("first"))
        found = self.engine.reopen(node)
        for again in (self.engine.reopen_state(lone), found.witness_state(), lock.witness_state()):
            for _ in range(2):  # the next use opens it again
                assert again.cosigned(ORIGIN) == Cosigned(origin=ORIGIN, size=5, root=at(5).root, note="one")
                assert again.conflicts() == [ORIGIN]
                again.close()
        assert lock.read(ORIGIN) == (0, EMPTY_ROOT)  # its own head is another thing
        found.close()
        lock.close()

    def test_views_of_one_lock_see_each_other_and_one_of_them_swaps(self, lock: Lock) -> None:
        one, two = lock.witness_state(), lock.witness_state()
        assert one.swap(None, at(5), "one", lambda: TIME) == TIME
        assert two.swap(None, at(6), "two", lambda: TIME) is None
        assert two.cosigned(ORIGIN) == one.cosigned(ORIGIN)
        one.close()
        two.close()
