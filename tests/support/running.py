"""A small federation that runs: real keys, real homes, real mutual TLS; founded once for a module's tests."""

from __future__ import annotations

import io
import os
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from exchange.cli.main import run
from exchange.client import Client, Published, Received, Surroundings
from exchange.demo.nodes import Nodes
from exchange.demo.world import OFFICER, PASSPHRASE_FILE, DemoAgency, World, found_world
from exchange.rpc.transport.limits import Settings
from exchange.store.rows import DeliveryState

SMALL = ("HK-IMMD", "HK-SB", "TH-DSI")
EXAMPLES = Path(__file__).resolve().parents[2] / "exchange/examples"
SECONDS = 240.0  # for what must come, on a machine that does much else


@dataclass(frozen=True)
class Typed:
    """What a typed line came to."""

    code: int
    out: str
    err: str
    both: str  # in the order in which it was written


class Federation:
    """A world whose nodes run."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.nodes = Nodes(world, Settings(retry_most_seconds=2.0, hand_back_seconds=1.0))

    def agency(self, name: str) -> DemoAgency:
        return next(each for each in self.world.agencies if each.id == name)

    def home(self, name: str) -> Path:
        return self.agency(name).home

    def client(self, name: str) -> Client:
        each = self.agency(name)
        return Client.connect(
            each.home, OFFICER, keys=each.officer_keys, surroundings=Surroundings(deadline_seconds=SECONDS)
        )

    def type(self, line: str, agency: str = "") -> Typed:
        """Type a command; with an agency its officer's home, name and passphrase are added."""
        words = shlex.split(line)
        if not agency:
            return type_line(words)
        home = self.home(agency)
        handle = os.open(home / PASSPHRASE_FILE, os.O_RDONLY)
        try:
            return type_line([*words, "--home", str(home), "--as", OFFICER, "--passphrase-fd", str(handle)])
        finally:
            os.close(handle)

    def await_received(self, client: Client, published: Published) -> None:
        """Wait until every recipient's receipt is there."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            sent = client.find(published.bulletin_id)
            states = [each for item in client.outbox(sent.cursor - 1) for each in item.recipients]
            if states and all(each.state == DeliveryState.RECEIVED for each in states):
                return
            time.sleep(0.05)
        raise AssertionError(f"no receipts for {published.number}")

    def await_item(self, client: Client, bulletin_id: str) -> Received:
        """Wait until a bulletin has come."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            for item in client.inbox():
                if item.bulletin_id == bulletin_id:
                    return item
            time.sleep(0.05)
        raise AssertionError(f"{bulletin_id} did not come")


def type_line(words: list[str], program: Callable[[list[str]], int] = run) -> Typed:
    """Type a line of a program, ``exchange`` or another one, in this process."""
    out, err, both = io.StringIO(), io.StringIO(), io.StringIO()
    with redirect_stdout(_Tee(out, both)), redirect_stderr(_Tee(err, both)):
        code = program(words)
    return Typed(code, out.getvalue(), err.getvalue(), both.getvalue())


class _Tee(io.StringIO):
    """Writes to two."""

    def __init__(self, *targets: io.StringIO) -> None:
        super().__init__()
        self._targets = targets

    def write(self, text: str) -> int:
        for each in self._targets:
            each.write(text)
        return len(text)


@contextmanager
def running(folder: Path, names: tuple[str, ...] = SMALL) -> Iterator[Federation]:
    """Found a federation and run its nodes."""
    world = found_world(folder, now_us=time.time_ns() // 1000, random_bytes=os.urandom, names=names)
    federation = Federation(world)
    try:
        yield federation
    finally:
        federation.nodes.stop()


def two_that_begin_alike(client: Client, *addressees: str) -> tuple[Published, Published]:
    """Publish until two ids have their first eight digits in common: those change every 66 s."""
    one = client.publish(note("One of two", *addressees or ("TH-DSI",)))
    while True:
        two = client.publish(note("The other of two", *addressees or ("TH-DSI",)))
        if one.bulletin_id[:8] == two.bulletin_id[:8]:
            return one, two
        one = two


def note(text: str, *addressees: str, originator: str = "HK-SB", more: str = "") -> bytes:
    """Write a short cooperation note, as an officer would."""
    to = "".join(f"    - agency: {each}\n      role: action\n" for each in addressees)
    return f"""header:
  originator: {originator}
  status: exercise
  addressees:
{to}  lang: en
  subject:
    - lang: en
      text: {text}
{more}cooperation_note:
  type: meeting
  date: '2026-11-20'
  participants:
    - agency: {originator}
""".encode()
