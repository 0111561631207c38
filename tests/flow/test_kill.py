"""Kill -9 at any moment and at every named place: nothing acknowledged is lost, nothing is there twice, no log forks.

Both nodes are processes on their own files; the test is the wire between them and the only one that remembers what
was acknowledged. Each kind of loss that these tests look for is shown to be seen: the control loses on purpose.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from audit.entry.entry import Kind
from exchange.node.failpoint import NAMES
from tests.flow.side import CANARY, RECEIVER, SENDER, Report, serve
from tests.support.home_files import DATABASE, LOCK
from tests.support.scale import SCALE, SLOW
from tests.support.world import NOW_MS, advisory

ROOT = Path(__file__).resolve().parents[2]
_head_times = itertools.count(NOW_MS)


@pytest.fixture(scope="module", autouse=True)
def _forkserver() -> Iterator[None]:
    """Have one process import everything and make the keys; each side is forked from it."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(ROOT)
    multiprocessing.set_forkserver_preload(["tests.flow.side", "tests.flow.served"])
    yield
    os.environ.pop("PYTHONPATH")
    if before is not None:
        os.environ["PYTHONPATH"] = before


class DiedError(Exception):
    """The process was killed before it answered."""


@dataclass
class Child:
    """One side, started again whenever it has died."""

    agency: str
    home: Path
    hasty: bool = False
    target: Callable[..., None] = serve
    deaths: int = 0
    process: Any = None
    pipe: Connection | None = None

    def start(self) -> Connection:
        if self.pipe is None:
            context = multiprocessing.get_context("forkserver")
            self.pipe, theirs = context.Pipe()
            self.process = context.Process(
                target=self.target, args=(theirs, self.agency, str(self.home), self.hasty), daemon=True
            )
            self.process.start()
            theirs.close()
            assert self.pipe.recv() == "ready"
        return self.pipe

    def call(self, name: str, *args: object, kill_after: float | None = None) -> Any:
        """Ask once; DiedError if no answer came before the end."""
        pipe = self.start()
        try:
            pipe.send((name, *args))
            if kill_after is None:
                return pipe.recv()
        except (EOFError, ConnectionError):
            self.gone()
            raise DiedError(name) from None
        return self._killed(pipe, name, kill_after)

    def _killed(self, pipe: Connection, name: str, kill_after: float) -> Any:
        pipe.poll(kill_after)
        self.kill()
        try:
            return pipe.recv()  # an answer that came before is kept: it was acknowledged
        except (EOFError, ConnectionError):
            raise DiedError(name) from None
        finally:
            self.gone()

    def insist(self, name: str, *args: object, kill_after: float | None = None) -> Any:
        """Ask until there is an answer, as a client does."""
        try:
            return self.call(name, *args, kill_after=kill_after)
        except DiedError:
            return self.call(name, *args)

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)

    def gone(self) -> None:
        self.process.join(60)
        assert self.process.exitcode == -signal.SIGKILL, self.process.exitcode
        self.deaths += 1
        assert self.pipe is not None
        self.pipe.close()
        self.pipe = self.process = None

    def end(self) -> None:
        if self.pipe is not None:
            self.kill()
            self.gone()


@dataclass
class Wire:
    """Two sides and what each has acknowledged."""

    sender: Child
    receiver: Child
    published: dict[bytes, int] = field(default_factory=dict)  # signed statement -> PUBLISHED
    receipts: dict[int, tuple[int, bytes]] = field(default_factory=dict)  # sequence -> answer and its receipt
    notes: list[str] = field(default_factory=list)
    taken: int = 0

    def publish(self, signed: bytes, kill_after: float | None = None) -> None:
        index, note = self.sender.insist("publish", signed, kill_after=kill_after)
        assert self.published.setdefault(signed, index) == index
        self.notes.append(note)

    def carry(self, kill_sender: float | None = None, kill_receiver: float | None = None) -> None:
        """Carry one message over and its receipts back."""
        after = self.receiver.insist("position")
        message = self.sender.insist("message", self.taken, next(_head_times), kill_after=kill_sender)
        assert after >= self.taken
        answers = self.receiver.insist("receive", message, kill_after=kill_receiver)
        for sequence, index, receipt in answers:
            assert self.receipts.setdefault(sequence, (index, receipt))[0] == index
        if answers:
            back = [(sequence, self.receipts[sequence][1]) for sequence, _, _ in answers]
            self.taken = self.sender.insist("settle", back)

    def verify(self) -> tuple[Report, Report]:
        """Start both anew and hold their logs against everything that was acknowledged, and against each other."""
        for side in (self.sender, self.receiver):
            side.end()
        sent, got = self.sender.call("report", self.notes), self.receiver.call("report", [])
        assert sent.agreed, "a checkpoint that was signed is not of this log: a fork"
        for index in self.published.values():
            assert index < sent.size, "lost: an acknowledged publication"
            assert sent.kinds[index] == Kind.PUBLISHED, "lost: an acknowledged publication"
        assert len(set(self.published.values())) == len(self.published)
        assert sent.kinds.count(Kind.PUBLISHED) == len(self.published), "twice: a publication"
        for index, _ in self.receipts.values():
            assert index < got.size, "lost: an acknowledged receipt"
            assert got.kinds[index] == Kind.RECEIVED, "lost: an acknowledged receipt"
        pair(sent, got)
        return sent, got


def rows(report: Report, kind: Kind) -> list[int]:
    return [index for index, found in enumerate(report.kinds) if found == kind]


def pair(sent: Report, got: Report) -> None:
    """Entry by entry: QUEUED with RECEIVED, RECEIVED with RECEIPT_RECORDED, once each."""
    queued, received = rows(sent, Kind.QUEUED), rows(got, Kind.RECEIVED)
    recorded = rows(sent, Kind.RECEIPT_RECORDED)
    assert [sent.deliveries[index] for index in queued] == [got.deliveries[index] for index in received]
    assert [sent.bulletins[index] for index in queued] == [got.bulletins[index] for index in received]
    assert [got.leaves[index] for index in received] == [sent.peer_leaves[index] for index in recorded]
    assert [sent.refers[index] for index in recorded] == queued
    assert len({got.bulletins[index] for index in received}) == len(received)
    assert not set(got.kinds) & {Kind.DUPLICATE, Kind.REFUSED, Kind.WITHDRAWN}


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    made = Wire(Child(SENDER, tmp_path / SENDER), Child(RECEIVER, tmp_path / RECEIVER))
    yield made
    made.sender.end()
    made.receiver.end()


def test_without_a_kill_everything_crosses_once(wire: Wire) -> None:
    for signed in wire.sender.call("sign", range(1, 6)):
        wire.publish(signed)
    wire.carry()
    sent, got = wire.verify()
    assert len(rows(sent, Kind.RECEIPT_RECORDED)) == len(rows(got, Kind.RECEIVED)) == 5
    assert wire.sender.deaths == wire.receiver.deaths == 1  # the one of verify


@SLOW  # tests/flow/test_kill_served.py kills at random, too
def test_each_side_killed_twenty_times_during_five_hundred_bulletins_at_random(wire: Wire) -> None:
    chance = random.Random(20)
    total, batch, kills = 500 * SCALE, 5, 20 * SCALE
    statements = wire.sender.call("sign", range(1, total + 1))
    rounds = total // batch
    kill_sender = set(chance.sample(range(rounds - 1), kills))
    kill_receiver = set(chance.sample(range(rounds - 1), kills))
    for number in range(rounds):
        doomed = chance.randrange(batch) if number in kill_sender else -1
        for place, signed in enumerate(statements[number * batch : (number + 1) * batch]):
            wire.publish(signed, kill_after=chance.uniform(0, 0.006) if place == doomed else None)
        wire.carry(kill_receiver=chance.uniform(0, 0.012) if number in kill_receiver else None)
    died = wire.sender.deaths, wire.receiver.deaths
    while wire.taken < total:
        wire.carry()
    sent, got = wire.verify()
    assert len(rows(sent, Kind.QUEUED)) == len(rows(got, Kind.RECEIVED)) == total
    assert died == (kills, kills)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("peer-acknowledged", "opened-committed")])
@pytest.mark.parametrize("side", ["sender", "receiver"])
def test_killed_at_a_named_place_of_the_writing_order(wire: Wire, name: str, side: str) -> None:
    statements = wire.sender.call("sign", range(1, 7))
    for signed in statements[:2]:
        wire.publish(signed)
    wire.carry()
    doomed: Child = getattr(wire, side)
    doomed.call("arm", name)
    for signed in statements[2:4]:
        wire.publish(signed)
    wire.carry()
    assert doomed.deaths == 1
    for signed in statements[4:]:
        wire.publish(signed)
    wire.carry()
    wire.verify()


def test_killed_at_the_peers_acknowledgement(wire: Wire) -> None:
    for signed in wire.sender.call("sign", range(1, 4)):
        wire.publish(signed)
    wire.sender.call("arm", "peer-acknowledged")
    wire.carry()
    assert wire.sender.deaths == 1
    sent, _ = wire.verify()
    assert len(rows(sent, Kind.RECEIPT_RECORDED)) == 3


def test_killed_between_the_opened_entry_and_the_opening(wire: Wire) -> None:
    wire.publish(wire.sender.call("sign", range(1, 2))[0])
    wire.carry()
    bulletin_id = advisory(SENDER, RECEIVER, serial=1).header.bulletin_id
    wire.receiver.call("arm", "opened-committed")
    with pytest.raises(DiedError):
        wire.receiver.call("read", bulletin_id)
    assert not in_the_clear(wire.receiver.home)
    _, got = wire.verify()
    assert len(rows(got, Kind.OPENED)) == 1
    assert wire.receiver.call("read", bulletin_id) == CANARY
    assert not in_the_clear(wire.receiver.home)
    assert not in_the_clear(wire.sender.home)
    (wire.receiver.home / "left-behind").write_text(f"plaintext {CANARY}")  # control: the search finds what is there
    assert in_the_clear(wire.receiver.home)


def in_the_clear(home: Path) -> bool:
    """Search every file of a home for the words of a bulletin."""
    forms = (CANARY.encode(), CANARY.encode("utf-16-le"), CANARY.encode().hex().encode())
    return any(form in data for data in contents(home) for form in forms)


def contents(home: Path) -> Iterator[bytes]:
    """Read every file; what a living node removes meanwhile is passed over."""
    for folder, _, names in os.walk(home):
        for path in (Path(folder) / name for name in names):
            with suppress(FileNotFoundError):
                if path.is_file():  # and no socket
                    yield path.read_bytes()


def test_control_a_node_that_acknowledges_before_it_commits_is_seen_to_lose(tmp_path: Path) -> None:
    wire = Wire(Child(SENDER, tmp_path / SENDER), Child(RECEIVER, tmp_path / RECEIVER))
    try:
        first, second = wire.sender.call("sign", range(1, 3))
        wire.publish(first)
        wire.carry()
        wire.sender.end()
        wire.sender.hasty = True
        wire.publish(second)  # acknowledged, and killed before the commit
        wire.sender.end()
        wire.sender.hasty = False
        with pytest.raises(AssertionError, match="lost: an acknowledged publication"):
            wire.verify()
    finally:
        wire.sender.end()
        wire.receiver.end()


def test_control_a_receiver_that_came_back_from_an_older_copy_is_seen(tmp_path: Path, wire: Wire) -> None:
    statements = wire.sender.call("sign", range(1, 5))
    wire.publish(statements[0])
    wire.carry()
    wire.receiver.end()
    shutil.copytree(wire.receiver.home, tmp_path / "copy")
    for signed in statements[1:]:
        wire.publish(signed)
    wire.carry()
    wire.receiver.end()
    shutil.rmtree(wire.receiver.home)
    shutil.copytree(tmp_path / "copy", wire.receiver.home)  # database and lock alike: only others can tell
    with pytest.raises(AssertionError, match="lost: an acknowledged receipt"):
        wire.verify()


def test_the_environment_arms_a_failpoint() -> None:
    program = "from exchange.node.failpoint import failpoint; failpoint('inside-transaction'); print('first'); failpoint('inside-transaction')"
    for wanted, code, output in (
        ("inside-transaction:2", -signal.SIGKILL, b"first\n"),
        ("inside-transaction", -signal.SIGKILL, b""),
        ("before-transaction", 0, b"first\n"),
        ("", 0, b"first\n"),
    ):
        done = subprocess.run(
            [sys.executable, "-u", "-c", program],
            cwd=ROOT,
            env={**os.environ, "EXCHANGE_FAILPOINT": wanted},
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (code, output)


# what a start refuses, with real files


@pytest.mark.parametrize(
    ("damage", "words"),
    [("older", "older copy"), ("no-lock", "is missing"), ("no-database", "no database here")],
)
def test_a_start_from_files_that_do_not_belong_together_is_refused(
    tmp_path: Path, wire: Wire, damage: str, words: str
) -> None:
    from audit.log.lock import check_start
    from audit.log.log import Log
    from audit.log.sqlite_lock import SqliteLock
    from exchange.store.sqlite import SqliteStore
    from keys.errors import IntegrityError
    from tests.support.world import FEDERATION

    home = wire.sender.home
    first, second = wire.sender.call("sign", range(1, 3))
    wire.publish(first)
    wire.sender.call("stop")
    wire.sender.pipe = None
    shutil.copytree(home, tmp_path / "copy")
    wire.publish(second)
    wire.sender.call("stop")
    wire.sender.pipe = None
    if damage == "older":
        for name in ("", "-wal", "-shm"):
            path = home / f"{DATABASE}{name}"
            path.unlink(missing_ok=True)
            if (tmp_path / "copy" / path.name).exists():
                shutil.copy(tmp_path / "copy" / path.name, path)
    else:
        (home / (LOCK if damage == "no-lock" else DATABASE)).unlink()

    def start() -> None:
        store = SqliteStore(home / DATABASE)
        log = Log.open(f"hk-immd.{FEDERATION}/log/1", store.reader())
        check_start(log, SqliteLock.open(home / LOCK), store.reader(), str(home / DATABASE))

    with pytest.raises(IntegrityError, match=words) as raised:
        start()
    assert str(home) in str(raised.value)
