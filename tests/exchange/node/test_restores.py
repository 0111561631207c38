"""Row 18: a home restored at any age is refused before its first signature, as long as one honest peer answers.

Real copies of a running node's database (SQLite's own backup), its lock with it or not; what the peer holds is what
the node itself signed. Over sockets the same is in ``tests/flow/test_start.py``; here every age is tried.
"""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import apsw
import pytest

from audit.entry.entry import Body, Kind
from audit.log.sqlite_lock import SqliteLock
from audit.note.checkpoint import Checkpoint, parse_note, sign_checkpoint
from exchange.acts.node_view import NodeView
from exchange.acts.unit_of_work import UnitOfWork
from exchange.node.node import Node, write_unsigned
from exchange.node.rollback_check import RolledBackError, check_answer, read_answer
from exchange.store.sqlite import SqliteStore
from keys.errors import IntegrityError, RefusedError
from keys.signer import PublicKey, Signer
from tests.support.home_files import DATABASE, LOCK
from tests.support.scale import SCALE, lengths
from tests.support.world import NOW_MS, Desk, clock_at, view_of

AGENCY, PEER = "HK-IMMD", "TH-DSI"
ENTRIES = 600


@cache
def own_view() -> NodeView:
    return view_of(AGENCY)


class CountingSigner:
    """A log's real key, and how often it has signed."""

    def __init__(self, inner: Signer) -> None:
        self._inner, self.signed = inner, 0

    @property
    def key(self) -> PublicKey:
        return self._inner.key

    def sign(self, message: bytes) -> bytes:
        self.signed += 1
        return self._inner.sign(message)


def beat(work: UnitOfWork) -> int:
    return work.log.add(Body(kind=Kind.HEARTBEAT))


def backup(source: Path, target: Path) -> None:
    """Copy a database as it stands, while it is written, as a backup program does."""
    target.parent.mkdir(exist_ok=True)
    reading, work = apsw.Connection(str(source)), apsw.Connection(str(target))
    with work.backup("main", reading, "main") as copying:
        copying.step(-1)
    reading.close()
    work.close()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a folder with backups of one node at random ages, named by size, and its newest checkpoint."""
    folder = tmp_path_factory.mktemp("restores")
    desk = Desk(AGENCY, folder / "home")
    dice = random.Random(18)
    ages = sorted(dice.sample(range(desk.node.log.size, ENTRIES), min(200 * SCALE, ENTRIES - 50)))
    while desk.node.log.size < ENTRIES:
        desk.node.writer.run(beat)
        if desk.node.log.size in ages:
            for name in (DATABASE, LOCK):
                backup(folder / "home" / name, folder / str(desk.node.log.size) / name)
    note = desk.node.note
    desk.close()
    shutil.copy(folder / "home" / LOCK, folder / "newest.lock")
    return folder, note


def opened(home: Path, signer: CountingSigner) -> Node:
    view = replace(own_view(), log_signer=signer)
    store = SqliteStore(home / DATABASE)
    try:
        lock = SqliteLock.open(home / LOCK)
        return Node(home, view, store, lock, os.urandom, clock_at(NOW_MS))
    except BaseException:
        store.close()
        raise


def ask(node: Node, note: str) -> None:
    """Hold a peer's answer against a node's log, as ``exchange.rpc.serve.startup_check`` does with each."""
    shown = read_answer(note, node.view)
    if shown is not None:
        root = node.log.root(shown.size) if shown.size <= node.log.size else b""
        check_answer(PEER, shown, node.log.checkpoint(), root)


def restored(kept: tuple[Path, str], tmp_path: Path, count: int) -> list[Path]:
    folder, _ = kept
    homes = sorted((each for each in folder.iterdir() if each.name.isdigit()), key=lambda each: int(each.name))
    dice = random.Random(81)
    chosen = [homes[dice.randrange(len(homes))] for _ in range(count)]
    return [shutil.copytree(each, tmp_path / f"{index}-{each.name}") for index, each in enumerate(chosen)]


@pytest.mark.parametrize("count", lengths(25, 200))
def test_restores_of_any_age_are_refused_before_the_first_signature_row_18(
    kept: tuple[Path, str], tmp_path: Path, count: int
) -> None:
    refused = 0
    for home in restored(kept, tmp_path, count):
        signer = CountingSigner(own_view().log_signer)
        old = home / "old.lock"
        (home / LOCK).rename(old)
        with pytest.raises(IntegrityError, match="is missing"):  # the database alone came back
            SqliteLock.open(home / LOCK)
        shutil.copy(kept[0] / "newest.lock", home / LOCK)
        with pytest.raises(IntegrityError, match="is an older copy"):  # it came back beside the present lock
            opened(home, signer)
        old.replace(home / LOCK)
        node = opened(home, signer)  # everything came back, sound in itself: only a peer can tell
        node.open()
        with pytest.raises(RolledBackError, match=f"{PEER} holds our checkpoint of size {ENTRIES}, and this log ends"):
            ask(node, kept[1])
        node.stop()
        assert signer.signed == 0
        refused += 1
    assert refused == count


def test_with_the_question_switched_off_a_restored_copy_forks_row_18(kept: tuple[Path, str], tmp_path: Path) -> None:
    """Control: what was refused above does sign another history where nobody is asked."""
    known = parse_note(kept[1]).checkpoint
    for home in restored(kept, tmp_path, 3):
        signer = CountingSigner(own_view().log_signer)
        node = opened(home, signer)
        node.start()
        while node.log.size <= known.size:
            node.writer.run(beat)
        assert signer.signed > 0
        with pytest.raises(RolledBackError, match="another history"):
            ask(node, kept[1])
        node.stop()


def test_the_newest_copy_is_not_refused_row_18(kept: tuple[Path, str], tmp_path: Path) -> None:
    """Control: the question lets an honest restart go on, and an answer that is older than the log."""
    home = shutil.copytree(kept[0] / "home", tmp_path / "home")
    node = opened(home, CountingSigner(own_view().log_signer))
    for note in (kept[1], ""):
        ask(node, note)
    node.start()
    node.stop()


def test_an_answer_that_is_not_signed_by_us_says_nothing_row_18(kept: tuple[Path, str]) -> None:
    """A peer cannot stop a node with a checkpoint of its own making."""
    mine, stranger = own_view(), view_of(PEER)
    forged = sign_checkpoint(Checkpoint(origin=mine.origin, size=10**6, root=bytes(32)), stranger.log_signer)
    for note in (forged, "no checkpoint", stranger.origin):
        with pytest.raises(RefusedError):
            read_answer(note, mine)


def test_what_a_stopped_node_adopts_is_signed_for_by_its_next_start(tmp_path: Path) -> None:
    desk = Desk(AGENCY, tmp_path)
    desk.close()
    signer = CountingSigner(own_view().log_signer)
    node = opened(tmp_path, signer)
    index = write_unsigned(node, beat)
    assert (node.log.size, signer.signed) == (index + 1, 0)
    with pytest.raises(RefusedError):
        write_unsigned(node, _refuse)
    assert node.log.size == index + 1
    node.stop()
    again = opened(tmp_path, signer)
    again.start()
    assert parse_note(again.note).checkpoint.size == index + 2
    again.stop()


def _refuse(work: UnitOfWork) -> None:
    beat(work)
    raise RefusedError("RULES", "no")
