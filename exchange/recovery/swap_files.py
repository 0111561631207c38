"""A home's files in a recovery: a new database made beside the old one, then both changed places. Nothing is deleted.

The new epoch is built whole in ``epoch-N.part``, which is renamed to ``epoch-N.new`` once it is durable; then each file
of before moves to ``before-epoch-N`` and the new one takes its place. Every step may be the last before a crash: what
is in ``.part`` was never in force and is made again, what is in ``.new`` is moved on by the next call. No node starts
while there is a ``.new``, and nothing of the new epoch is signed before it starts.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from audit.log.lock_factory import copy_lock, create_lock, lock_exists, lock_files, lock_in, open_lock, remove_lock
from audit.log.log import Log
from audit.note.checkpoint import Checkpoint
from audit.verify.rfc3161 import STAMPS_FOLDER
from exchange.acts import directory
from exchange.acts.node_view import NodeView
from exchange.acts.unit_of_work import UnitOfWork
from exchange.recovery import first_group
from exchange.recovery.first_group import Entered
from exchange.recovery.proven_answers import Recovered
from exchange.store.factory import copy_store, create_store, open_store, store_files, store_in
from exchange.store.home_paths import LOG_FOLDER, Paths
from exchange.store.store import NodeStore
from keys.errors import IntegrityError
from keys.files import sync_folder
from keys.identity import AgencyId

OLD = "before"  # folder of the copy of the old store that the new one is filled from


class UnfinishedError(IntegrityError):
    """A recovery was interrupted between the old files and the new ones."""

    hint = "run exchange node recover --from-peers again: it goes on where it stopped"

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: a recovery did not come to its end")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A recovery, decided."""

    view: NodeView  # in the new epoch
    end: Checkpoint  # of the epoch before
    recovered: tuple[Recovered, ...]
    without: tuple[AgencyId, ...]
    catalogue: Mapping[str, bytes]  # the roster's, where the home has lost it


def unfinished(home: Path) -> Path | None:
    """Find what an interrupted recovery left, whole and not yet in its place."""
    folders = sorted(home.glob("epoch-*.new"))
    return folders[0] if folders else None


def check_finished(home: Path) -> None:
    """Refuse to start a node in a home whose recovery was interrupted.

    Raises:
        UnfinishedError: There is one.
    """
    folder = unfinished(home)
    if folder is not None:
        raise UnfinishedError(folder)


def copy_database(paths: Paths, folder: Path) -> NodeStore:
    """Open a copy of a home's store, so that the store itself stays as it was found.

    Args:
        paths: Of the home.
        folder: Where the copy goes; it exists.

    Raises:
        IntegrityError: There is none, or it is damaged or not ours.
    """
    (folder / OLD).mkdir(mode=0o700, exist_ok=True)
    copy_store(paths.store, copied_to(paths, folder))
    store = open_store(copied_to(paths, folder))
    store.drop_copies()  # the store itself stays as it was found
    return store


def copied_to(paths: Paths, folder: Path) -> str:
    """Return the URI of the store that ``copy_database`` makes in a folder."""
    return store_in(folder / OLD, paths.engine)


def part_of(home: Path, epoch: int) -> Path:
    """Make the folder in which an epoch is built, empty."""
    part = home / f"epoch-{epoch}.part"
    if part.exists():
        shutil.rmtree(part)
    part.mkdir(mode=0o700)
    return part


def build(
    paths: Paths, part: Path, plan: Plan, old: str | None, now_us: int, random_bytes: Callable[[int], bytes]
) -> Entered:
    """Make database and lock of the new epoch, whole and durable, in ``epoch-N.new``; nothing is signed.

    Args:
        paths: Of the node's home.
        part: From ``part_of``.
        plan: What goes in.
        old: URI of a copy of the home's store, which is taken over; None where there is none.
        now_us: Microseconds UTC.
        random_bytes: For a new key of pseudonyms, where the old one is lost.

    Raises:
        RefusedError: As ``reentry.enter``.
        IntegrityError: What was written is not what was hashed.
    """
    view = plan.view
    store = create_store(store_in(part, paths.engine))
    try:
        if old is not None:
            store.carry_from(old)
        log = Log.open(view.origin, store.reader(), plan.end.root)
        stage = log.begin(now_us)
        with store.transaction() as rows:
            work = UnitOfWork(rows, stage, now_us // 1000)
            if rows.meta("agency") is None:
                rows.set_meta("agency", view.agency.encode())
                rows.set_meta("pseudonym-key", random_bytes(32))
            rows.lose_keys(view.storage.secrets)
            directory.begin_again(work, view, plan.catalogue)
            entered = first_group.enter(work, plan.recovered, view, plan.end, plan.without)
            stage.write(rows)
        stage.verify_read_back(store.reader())
        log.commit(stage)
    finally:
        store.close()
    _lock(paths.home, part, view.origin)
    shutil.rmtree(part / OLD, ignore_errors=True)
    _sync(part)
    part.rename(part.with_suffix(".new"))
    sync_folder(paths.home)
    return entered


def _lock(home: Path, part: Path, origin: str) -> None:
    """Make the lock: the old one with the new origin, for it knows what was erased and cosigned; else a new one."""
    copy_lock(lock_in(home), lock_in(part))
    try:
        lock = open_lock(lock_in(part))
        lock.begin_epoch(origin)
    except IntegrityError:
        remove_lock(lock_in(part))
        lock = create_lock(lock_in(part), origin)
    lock.close()


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    sync_folder(folder)


def change_places(paths: Paths) -> Path:
    """Move the old files aside and the new ones in; goes on where an earlier call stopped.

    Returns:
        Where the old files are now.

    Raises:
        IntegrityError: There is nothing to move in.
    """
    home, fresh = paths.home, unfinished(paths.home)
    if fresh is None:
        raise IntegrityError(f"{home}: no recovery has been prepared")
    before = home / f"before-{fresh.stem}"
    before.mkdir(mode=0o700, exist_ok=True)
    # Whatever is in the home while its fresh counterpart is still in .new is old; what has gone in is new.
    if lock_exists(lock_in(fresh)):
        for name in _present(home, moved_names(paths)):
            if not (before / name).exists():
                (home / name).rename(before / name)
        sync_folder(before)
        sync_folder(home)
    for name in _present(fresh, fresh_names(paths)):
        (fresh / name).rename(home / name)
        sync_folder(home)
    for path in fresh.iterdir():
        path.unlink()
    fresh.rmdir()
    sync_folder(home)
    return before


def fresh_names(paths: Paths) -> list[str]:
    """Return the names of what goes in, in this order: a store without its lock signs nothing."""
    return [each.name for each in (*lock_files(paths.lock)[:1], *store_files(paths.store)[:1])]


def moved_names(paths: Paths) -> list[str]:
    """Return the names of all that is of one epoch of the log."""
    files = [each.name for each in (*store_files(paths.store), *lock_files(paths.lock))]
    # A time-stamp is named for a size of this log, which the next one reaches, too.
    return [*files, LOG_FOLDER, STAMPS_FOLDER]


def _present(folder: Path, names: Sequence[str]) -> list[str]:
    return [name for name in names if (folder / name).exists()]
