"""Two engines keep the contract of locks; a lock is named by a URI, and a missing one is never made anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.log.lock import Lock, WitnessState
from audit.log.lock_factory import (
    copy_lock,
    create_lock,
    create_witness_state,
    lock_exists,
    lock_files,
    lock_in,
    open_lock,
    open_witness_state,
    remove_lock,
    witness_state_in,
)
from keys.errors import IntegrityError, RefusedError
from tests.audit.log.dict_lock import DictLock, DictWitnessState, KeptLock
from tests.audit.log.lock_contract import ORIGIN, LockContract, at


class SqliteLocksByUri:
    """One file in a folder."""

    def make(self, folder: Path, origin: str) -> Lock:
        return create_lock(lock_in(folder), origin)

    def reopen(self, folder: Path) -> Lock:
        return open_lock(lock_in(folder))

    def make_state(self, folder: Path) -> WitnessState:
        return create_witness_state(witness_state_in(folder))

    def reopen_state(self, folder: Path) -> WitnessState:
        return open_witness_state(witness_state_in(folder))


class DictLocks:
    """Dictionaries by their folders."""

    def __init__(self) -> None:
        self._kept: dict[Path, KeptLock] = {}

    def make(self, folder: Path, origin: str) -> Lock:
        self._kept[folder] = KeptLock()
        made = self.reopen(folder)
        made.begin_epoch(origin)
        return made

    def reopen(self, folder: Path) -> Lock:
        return DictLock(str(folder), self._kept[folder])

    def make_state(self, folder: Path) -> WitnessState:
        self._kept[folder] = KeptLock()
        return self.reopen_state(folder)

    def reopen_state(self, folder: Path) -> WitnessState:
        return DictWitnessState(self._kept[folder])


class TestSqliteLock(LockContract):
    """SQLite through apsw, opened by its URI."""

    engine = SqliteLocksByUri()


class TestDictLock(LockContract):
    """Dictionaries."""

    engine = DictLocks()


@pytest.mark.parametrize("named", ["lock.db", "etcd:lock", "", ":lock.db"])
def test_a_uri_without_an_engine_of_ours_is_refused_with_those_that_there_are(named: str) -> None:
    for use in (open_lock, open_witness_state, create_witness_state, lock_exists, lock_files, remove_lock):
        with pytest.raises(RefusedError, match="names no engine of a lock; known: sqlite:"):
            use(named)


def test_what_is_missing_is_not_made_and_what_is_there_is_not_made_anew(tmp_path: Path) -> None:
    lock, state = lock_in(tmp_path), witness_state_in(tmp_path)
    for use, uri in ((open_lock, lock), (open_witness_state, state)):
        with pytest.raises(IntegrityError, match="is missing"):
            use(uri)
    assert not list(tmp_path.iterdir())
    create_lock(lock, ORIGIN).close()
    create_witness_state(state).close()
    assert lock_exists(lock)
    with pytest.raises(IntegrityError, match="exists already"):
        create_lock(lock, ORIGIN)
    with pytest.raises(IntegrityError, match="exists already"):
        create_witness_state(state)


def test_a_copy_has_what_the_lock_has_and_can_be_removed(tmp_path: Path) -> None:
    lock, aside = create_lock(lock_in(tmp_path), ORIGIN), lock_in(tmp_path / "aside")
    (tmp_path / "aside").mkdir()
    lock.compare_and_swap(ORIGIN, 0, at(5))
    copy_lock(lock_in(tmp_path), aside)  # its write-ahead log is copied, too
    copied = open_lock(aside)
    assert copied.read(ORIGIN) == (5, at(5).root)
    copied.close()
    remove_lock(aside)
    assert not list((tmp_path / "aside").iterdir())
    assert lock.read(ORIGIN) == (5, at(5).root)
    lock.close()
