"""Several nodes, each in its own process, over mutual TLS on loopback; and an author's program in front of one.

The author's side is the plain generated stub, so that what is measured is the node.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.counting import Calls
from bench.federation import READERS, SENDER, Federation, sign
from exchange.rpc.transport.channel import desk_channel
from exchange.v1 import node_pb2, node_pb2_grpc
from exchange.v1.bulletin_pb2 import Bulletin
from keys.certificate import node_name, private_pem
from keys.v1 import signed_pb2

BATCH, BATCH_BYTES = 32, 255 << 10  # of a message, as the client library gathers
IN_FLIGHT = 6  # messages unanswered
ROOT = Path(__file__).resolve().parents[1]
PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.02  # between two questions to a node, which answers on its own account


class NodeProcess:
    """One node's process."""

    def __init__(self, home: Path) -> None:
        command = [sys.executable, "-m", "bench.node_process", str(home)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ports = self._hear()

    def ask(self, command: str, value: Any = True) -> dict[str, Any]:
        """Send a command and wait for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({command: value}) + "\n")
        self._process.stdin.flush()
        return self._hear()

    def pin(self, cores: Iterable[int]) -> None:
        """Run it on these cores only, all of its threads."""
        for thread in Path(f"/proc/{self._process.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores)

    def stop(self) -> None:
        """Let it drain."""
        self.ask("stop")
        self._process.wait()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a node's process ended with {self._process.wait()}")
        heard: dict[str, Any] = json.loads(line)
        return heard


class Fleet:
    """The sender's node, its readers', and the author."""

    def __init__(self, made: Federation, nodes: dict[str, NodeProcess]) -> None:
        self.made, self.nodes = made, nodes
        self.sender = nodes[SENDER]

    async def publish(self, messages: Sequence[Bulletin]) -> None:
        """Sign and publish in batches on one stream; return when every answer is there."""
        await self.publish_signed(sign(each, self.made).to_message() for each in messages)

    async def publish_signed(self, signed: Iterable[signed_pb2.SignedPayload]) -> list[float]:
        """Publish in batches on one stream; give the seconds from each message to its answer."""
        window, asked, took = asyncio.Semaphore(IN_FLIGHT), list[float](), list[float]()

        async def requests() -> AsyncIterator[node_pb2.PublishRequest]:
            for request in batches(signed):
                await window.acquire()
                asked.append(time.perf_counter())
                yield request

        async with self.channel() as channel:
            async for response in node_pb2_grpc.DeskStub(channel).Publish(requests()):
                took.append(time.perf_counter() - asked[len(took)])
                window.release()
                check(response.results)
        assert len(took) == len(asked)
        return took

    def channel(self) -> Any:
        """Dial the Desk as the author."""
        keys = self.made.keys[SENDER]
        author = keys.officers[0]
        address = f"127.0.0.1:{self.sender.ports['desk']}"
        name = node_name(keys.agency, keys.application.federation_name)
        return desk_channel(address, keys.authority.der, author.tls_leaf, private_pem(author.keys.tls_private), name)

    def whole_job(self, messages: Sequence[Bulletin]) -> float:
        """Publish, and wait until every reader's receipts are recorded; seconds."""
        began = time.perf_counter()
        asyncio.run(self.publish(messages))
        self.wait_receipted()
        return time.perf_counter() - began

    def wait_receipted(self) -> None:
        """Wait until nothing is owed by the readers."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        peers = [each for each in READERS if each in self.nodes]
        while owed := self.sender.ask("owed", peers)["receipts"]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{owed} receipts are missing")
            time.sleep(LOOK_SECONDS)

    def cpu(self) -> dict[str, float]:
        """Return CPU seconds by node."""
        return {agency: node.ask("stat")["cpu"] for agency, node in self.nodes.items()}

    def count(self) -> None:
        """Begin to count in every node."""
        for node in self.nodes.values():
            node.ask("count")

    def counts(self) -> Calls:
        """End counting; give the sum."""
        calls: Calls = Counter()
        for node in self.nodes.values():
            for name, size, number in node.ask("counts")["counts"]:
                calls[name, size] += number
        return calls


def batches(signed: Iterable[signed_pb2.SignedPayload]) -> Iterator[node_pb2.PublishRequest]:
    """Gather statements as the client library does."""
    request = node_pb2.PublishRequest()
    for each in signed:
        if len(request.statements) == BATCH or request.ByteSize() + each.ByteSize() > BATCH_BYTES:
            yield request
            request = node_pb2.PublishRequest()
        request.statements.append(each)
    yield request


def check(results: Sequence[node_pb2.PublishResult]) -> None:
    """Fail where one was refused: a refusal is cheap, and no figure."""
    for each in results:
        if each.HasField("refusal"):
            raise RuntimeError(f"{each.refusal.code}: {each.refusal.message}")


@contextmanager
def running(made: Federation, *agencies: str) -> Iterator[Fleet]:
    """Start the nodes, and let them find each other."""
    nodes = {agency: NodeProcess(made.home(agency)) for agency in agencies}
    try:
        endpoints = {agency: [f"127.0.0.1:{node.ports['peers']}"] for agency, node in nodes.items()}
        for node in nodes.values():
            node.ask("endpoints", endpoints)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while nodes[SENDER].ask("stat")["following"] < len(agencies) - 1:
            if time.monotonic() > deadline:
                raise TimeoutError("the readers do not follow the sender")
            time.sleep(0.05)
        yield Fleet(made, nodes)
    finally:
        for node in nodes.values():
            node.stop()
