"""A federation over real mutual TLS on loopback: real keys, real SQLite, every node in this process and event loop.

Unlike ``tests/support/world.py`` it runs on the machine's clock, because TLS libraries judge the certificates. Making
keys is the slow part and is done once a session.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, TextIO

from audit.entry.entry import Body, Kind, Outcome, parse_body, parse_entry
from audit.log.lock import Lock
from audit.log.lock_factory import open_lock
from audit.record.statement import ReadPurpose, ReadRequest, Statement
from exchange.acts.node_view import NodeView
from exchange.demo.federation import FoundedFederation, found_federation
from exchange.node import home
from exchange.node.node import Node, check_not_closed, state_at
from exchange.records.bulletin import encode_bulletin, id_bytes, recipients_of
from exchange.rpc.serve import running_node
from exchange.rpc.serve.running_node import RunningNode
from exchange.rpc.transport import channel
from exchange.rpc.transport.connections import Connections
from exchange.rpc.transport.limits import Settings
from exchange.rpc.transport.program_log import ProgramLog
from exchange.rpc.transport.refusal_counts import Refusals
from exchange.rpc.transport.runtime import Runtime
from exchange.store.factory import open_store
from exchange.store.home_paths import Paths
from exchange.store.store import NodeStore
from exchange.v1 import node_pb2, node_pb2_grpc
from exchange.v1.bulletin_pb2 import Bulletin
from keys import dsse
from keys.agency import TLS_FILE, AgencyKeys, KeyPlan, MadeOfficer, Person, make_agency
from keys.certificate import node_name, private_pem
from keys.dsse import SignedPayload
from keys.identity import AgencyId
from tests.support.world import advisory

FEDERATION = "exercise.example"
AGENCIES = ("HK-IMMD", "HK-SB", "TH-DSI", "TW-NHRC")
PEOPLE = (
    Person(id="officer-1", roles=("author", "reader"), ceiling=4),
    Person(id="robot-1", roles=("author", "reader"), ceiling=4, system=True),
)
MADE_MS = time.time_ns() // 1_000_000
_SERIALS = itertools.count(1)
_RUNNING: list[RunningNode] = []  # drained after each test, whatever became of it
PATIENCE_SECONDS = 120.0  # for what must come; met at once where nothing else runs, and late on a busy machine
NEVER_SECONDS = 1e6  # in no test
# Quick enough for tests, and the same code. No entry is written for the time that a test takes: what is in a log is
# what the test did.
QUICK = Settings(
    head_seconds=0.3,
    recheck_seconds=0.5,
    retry_seconds=0.05,
    retry_most_seconds=0.4,
    alone_seconds=0.0,
    heartbeat_seconds=NEVER_SECONDS,
    hand_back_seconds=0.3,
)
# Where a test counts streams: none is given up as silent because the machine was busy for some seconds.
CALM = replace(QUICK, head_seconds=30.0, recheck_seconds=60.0)


@cache
def keys_of(agency: str) -> AgencyKeys:
    """Make an agency's keys, once a session."""
    plan = KeyPlan(issuing=True)
    return make_agency(AgencyId(agency), FEDERATION, PEOPLE, now_ms=MADE_MS, random_bytes=os.urandom, plan=plan)


@cache
def records(agencies: tuple[str, ...]) -> FoundedFederation:
    """Hold the ceremony, once a session."""
    return found_federation([keys_of(agency) for agency in agencies], now_ms=MADE_MS)


@dataclass
class Member:
    """One agency: its home, its node while it runs, its people."""

    agency: AgencyId
    home: Path
    records: FoundedFederation
    endpoints: dict[str, list[str]]
    settings: Settings
    running: RunningNode | None = None
    desk_classical_tls: bool = False
    log: io.StringIO = field(default_factory=io.StringIO)

    @property
    def keys(self) -> AgencyKeys:
        return self.records.keys[self.agency]

    @property
    def node(self) -> Node:
        assert self.running is not None
        return self.running.node

    def make(self, *, introduced: bool = True) -> None:
        """Make the home: database, lock, the first entries, the leaf; others' records adopted from files."""
        self.home.mkdir(parents=True)
        self.records.create_home(
            self.home,
            self.agency,
            now_us=time.time_ns() // 1000,
            introduced=introduced,
            make_state=self.make_state,
        )
        (self.home / TLS_FILE).write_bytes(self.keys.tls_leaf)

    def make_state(self, origin: str) -> NodeStore:
        """Make the node's lock and its empty store."""
        return state_at(Paths(home=self.home))(origin)

    def open_store(self) -> NodeStore:
        """Open what the node keeps."""
        return open_store(Paths(home=self.home).store)

    def open_lock(self) -> Lock:
        """Open the node's lock."""
        return open_lock(Paths(home=self.home).lock)

    def open(self) -> Node:
        """Open the node from its files, with keys from memory."""
        store = self.open_store()
        view = home.restore_view(store, self.keys.node)
        check_not_closed(store)
        return Node(self.home, view, store, self.open_lock(), os.urandom)

    async def start(self) -> RunningNode:
        """Serve, tell the others where, and wait until the node signs: alone, where no other one runs here."""
        running = await self.serve(alone=not any(_is_up(each) for each in self.endpoints.values()))
        await running.ready()
        return running

    async def serve(self, *, alone: bool = False, node: Node | None = None) -> RunningNode:
        """Serve and tell the others where; whether the node may sign is still to be found out."""
        self.running = await running_node.serve(
            node or self.open(),
            self.keys.node,
            running_node.ServeOptions(
                endpoints=self.endpoints,
                settings=self.settings,
                log=self.log,
                alone=alone,
                desk_classical_tls=self.desk_classical_tls,
            ),
        )
        _RUNNING.append(self.running)
        self.endpoints[self.agency] = [f"127.0.0.1:{self.running.peers_port}"]
        return self.running

    async def stop(self) -> None:
        """Drain; the home stays."""
        if self.running is not None:
            await self.running.drain(0.5)
            self.running = None

    @property
    def ca(self) -> bytes:
        return self.keys.authority.der

    def person(self, name: str = "officer-1") -> MadeOfficer:
        return next(each for each in self.keys.officers if each.entry.id == name)

    @asynccontextmanager
    async def desk(self, name: str = "officer-1") -> AsyncIterator[node_pb2_grpc.DeskAsyncStub]:
        """Open Desk as one of our people."""
        assert self.running is not None
        person = self.person(name)
        opened = channel.desk_channel(
            f"127.0.0.1:{self.running.desk_port}",
            self.ca,
            person.tls_leaf,
            private_pem(person.keys.tls_private),
            node_name(self.agency, FEDERATION),
        )
        async with opened:
            yield node_pb2_grpc.DeskStub(opened)

    @asynccontextmanager
    async def dial(self, other: Member, *, leaf: bytes = b"", pem: bytes = b"") -> AsyncIterator[channel.Channel]:
        """Open a channel to another member's peers' listener, as our node or with another leaf."""
        assert other.running is not None
        opened = channel.peer_channel(
            f"127.0.0.1:{other.running.peers_port}",
            other.ca,
            leaf or self.keys.tls_leaf,
            pem or private_pem(self.keys.node.tls_private),
            node_name(other.agency, FEDERATION),
        )
        async with opened:
            yield opened

    def statement(self, message: Bulletin) -> SignedPayload:
        """Sign as officer-1's client does."""
        return self.sign_statement(message, self.node.view)

    def sign_statement(self, message: Bulletin, view: NodeView) -> SignedPayload:
        """Sign as officer-1's client does, told what is in force."""
        message.header.author = "officer-1"
        statement = Statement(
            federation_id=view.federation.federation_id,
            salt=os.urandom(32),
            bulletin=encode_bulletin(message),
            roster_digest=view.federation.roster_digest,
            recipients=recipients_of(message.header.addressees, self.agency),
        )
        return dsse.sign(statement.encode(), ("statement", self.person().keys.signer))

    def read_request(self, item: node_pb2.InboxItem, **changes: Any) -> SignedPayload:
        """Sign a request to read as officer-1's client does."""
        fields: dict[str, Any] = {
            "federation_id": self.node.view.federation.federation_id,
            "agency": self.agency,
            "officer": "officer-1",
            "purpose": ReadPurpose.CASE_WORK,
            "case": "case-1",
            "reason": "named in the report",
            "nonce": os.urandom(16),
            "time_ms": time.time_ns() // 1_000_000,
            "sender": item.sender,
            "bulletin_id": item.bulletin_id,
            "statement_digest": item.statement_digest,
        }
        request = ReadRequest(**(fields | changes))
        return dsse.sign(request.encode(), ("read", self.person().keys.signer))

    async def publish(self, *messages: Bulletin) -> list[node_pb2.PublishResult]:
        """Publish by one stream."""
        async with self.desk() as desk:
            call = desk.Publish()
            results: list[node_pb2.PublishResult] = []
            for first in range(0, len(messages), 16):
                statements = [self.statement(each).to_message() for each in messages[first : first + 16]]
                await call.write(node_pb2.PublishRequest(statements=statements))
                answer = await call.read()  # who writes and never reads comes to a stop: the node holds few answers
                assert isinstance(answer, node_pb2.PublishResponse)
                results.extend(answer.results)
            await call.done_writing()
            return results

    def bodies(self, *kinds: Kind) -> list[Body]:
        """Read the log, all of it or these kinds."""
        reads = self.node.reads
        found = [parse_body(parse_entry(entry).body) for entry in reads.read_entries(0, reads.size())]
        return [body for body in found if not kinds or body.kind in kinds]

    def refused(self) -> dict[tuple[int, Outcome], int]:
        """Count the refusals that are no answers, by peer and outcome; a minute's end may have parted their entries."""
        counted: Counter[tuple[int, Outcome]] = Counter()
        for body in self.bodies(Kind.REFUSED):
            if not body.delivery_digest:
                counted[body.peer, Outcome(body.outcome)] += body.count
        return dict(counted)

    def entered(self) -> int:
        """Count the entries, but for refusals counted beside: those are written when a minute ends."""
        return sum(body.kind != Kind.REFUSED or bool(body.delivery_digest) for body in self.bodies())


class World:
    """Some agencies, made but not started."""

    def __init__(
        self,
        folder: Path,
        agencies: Sequence[str] = AGENCIES,
        *,
        settings: Settings = QUICK,
        introduced: bool = True,
        member: type[Member] = Member,
        founded: FoundedFederation | None = None,
    ) -> None:
        self.endpoints: dict[str, list[str]] = {}
        made = founded or records(tuple(agencies))
        self.members = {
            agency: member(AgencyId(agency), folder / agency, made, self.endpoints, settings) for agency in agencies
        }
        for each in self.members.values():
            each.make(introduced=introduced)

    def __getitem__(self, agency: str) -> Member:
        return self.members[agency]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[World]:
        """Start every node, and drain them at the end."""
        try:
            for member in self.members.values():
                await member.serve()
            await asyncio.gather(*(member.running.ready() for member in self.members.values() if member.running))
            yield self
        finally:
            await asyncio.gather(*(member.stop() for member in self.members.values()))

    async def connected(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until everybody follows everybody who runs."""
        running = [member.running for member in self.members.values() if member.running is not None]
        await until(lambda: all(each.followed == len(running) - 1 for each in running), seconds)


def _is_up(endpoints: list[str]) -> bool:
    """Return whether a node of ours listens there."""
    ports = {f"127.0.0.1:{each.peers_port}" for each in _RUNNING if not each.drained}
    return any(each in ports for each in endpoints)


async def drain_all() -> None:
    """Drain what a test left running."""
    while _RUNNING:
        await _RUNNING.pop().drain(0.2)


async def until(met: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until something holds; fail if it does not."""
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, "what was waited for did not come"
        await asyncio.sleep(0.01)


def bulletin(sender: str, *recipients: str, urgency: int = 4) -> Bulletin:
    """Make a new small bulletin; urgency 4 is routine, 2 urgent."""
    return advisory(sender, *recipients, serial=next(_SERIALS), urgency=urgency)


def bulletin_id(message: Bulletin) -> bytes:
    """Return the 16 bytes of a bulletin's id."""
    return id_bytes(message.header.bulletin_id)


DEFAULTS = Settings()


def runtime(
    node: Node,
    now_ms: Callable[[], int] = lambda: 1,
    settings: Settings = DEFAULTS,
    log: TextIO | None = None,
) -> Runtime:
    """Make what one part of a node's edge is given, for a test that runs that part alone."""
    log_of = ProgramLog(log, node.view.agency)
    return Runtime(
        node=node,
        settings=settings,
        now_ms=now_ms,
        log=log_of,
        refusals=Refusals(node),
        connections=Connections(now_ms),
    )
