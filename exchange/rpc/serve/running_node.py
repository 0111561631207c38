"""A node with its sockets: started, running, drained. Everything hangs on one ``RunningNode``; there are no globals,
so a whole federation runs in one process and one event loop.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

import grpc.aio

from exchange.node.home import say_signing
from exchange.node.maintenance import Upkeep
from exchange.node.node import Node, now_ms
from exchange.node.timestamping import TimestampAuthority
from exchange.rpc import check_transport
from exchange.rpc.audit.ask_witnesses import Cosigning
from exchange.rpc.audit.be_witness import Witnessing
from exchange.rpc.audit.heartbeat import Heartbeat
from exchange.rpc.audit.peer_checkpoints import Checkpoints
from exchange.rpc.audit.service import AuditLog
from exchange.rpc.audit.witness_transport import ask_http, ask_peer
from exchange.rpc.desk.service import Desk
from exchange.rpc.lane.directory_service import Directory
from exchange.rpc.lane.inflight_marker import count_deaths
from exchange.rpc.lane.records import Adopting
from exchange.rpc.lane.service import LaneService
from exchange.rpc.lane.session import Endpoints, Follower
from exchange.rpc.serve import listeners as server
from exchange.rpc.serve.daily import keep_up
from exchange.rpc.serve.hourly import stamp_forever
from exchange.rpc.serve.startup_check import Asking
from exchange.rpc.transport.caller import Identities
from exchange.rpc.transport.channel import Identity
from exchange.rpc.transport.fanout import Fanout
from exchange.rpc.transport.interceptor import Gate
from exchange.rpc.transport.limits import MAX_DESK_STREAMS, Quota, Settings
from exchange.rpc.transport.program_log import ProgramLog
from exchange.rpc.transport.refusal_counts import FLUSH_SECONDS, Refusals
from keys.agency import TLS_FILE
from keys.certificate import private_pem
from keys.errors import IntegrityError, UnavailableError
from keys.key_files import NodeKeys

DRAIN_SECONDS = 5.0
LAST_SECONDS = 3.0  # for the last round of cosigning; who has not answered by then is not waited for
WATCH_SECONDS = 0.2  # so soon a node that may sign nothing more begins to leave
CLOCK_SECONDS = 1.0  # a clock that is in doubt at the start is read again so soon
LOOPBACK = ("127.0.0.1", "[::1]", "localhost")


@dataclass(kw_only=True)
class RunningNode:
    """A node that serves."""

    node: Node
    peers_port: int
    desk_port: int
    admin_port: int = 0
    _servers: list[grpc.aio.Server] = field(default_factory=list)
    _health: list[server.Health] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _followers: list[Follower] = field(default_factory=list)
    _lanes: LaneService
    _desk: Desk
    _refusals: Refusals
    _checkpoints: Checkpoints
    _log: ProgramLog
    _cosigning: Cosigning | None = None
    _told: asyncio.Event = field(default_factory=asyncio.Event)  # to stop
    _ready: asyncio.Event = field(default_factory=asyncio.Event)  # it signs
    _quiet: bool = False
    _drained: bool = False

    @property
    def followed(self) -> int:
        """Count the peers that we follow now."""
        return sum(follower.connected for follower in self._followers)

    @property
    def following(self) -> int:
        """Count the peers that follow us now."""
        return self._lanes.following

    @property
    def drained(self) -> bool:
        """Tell whether it has stopped."""
        return self._drained

    async def ready(self) -> None:
        """Wait until the node signs.

        Raises:
            Exception: What stopped it for good; RolledBackError says who holds what.
        """
        waits = [asyncio.create_task(each.wait()) for each in (self._ready, self._told)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        if self.node.writer.failure is not None:
            raise self.node.writer.failure

    def leave(self) -> None:
        """Follow nobody anew; a whole federation that stops keeps its channels so for the last round of cosigning."""
        for each in self._followers:
            each.leave()

    async def quiesce(self, grace_seconds: float = DRAIN_SECONDS) -> None:
        """Enter nothing more: 1 health says so, 2 streams end where they stand, 3 the desk's calls finish.

        Peers are still answered, also as a witness.
        """
        if self._quiet:
            return
        self._quiet = True
        self._log.write("stopping")
        self.leave()
        for each in self._health:
            await each.leave()  # 1
        self._lanes.stop()  # 2
        self._desk.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._servers[1].stop(grace_seconds)  # 3
        await self._refusals.flush()

    async def witness_last(self, seconds: float = LAST_SECONDS) -> None:
        """Have the last checkpoint cosigned by whoever answers within so many seconds."""
        if self._cosigning is not None:
            try:
                await self._cosigning.finish(seconds)
            except Exception as error:  # noqa: BLE001 - a full disk here must not keep the node from ending in order
                self._log.fault("cosigning", error)
        await asyncio.gather(*(each.close() for each in self._followers))

    async def drain(self, grace_seconds: float = DRAIN_SECONDS) -> None:
        """Stop in order: 1 nothing more is entered, 2 the last checkpoint is cosigned, 3 all calls finish, 4 the node
        commits, publishes its last checkpoint and lets its files go.
        """
        if self._drained:
            return
        self._drained = True
        await self.quiesce(grace_seconds)  # 1
        await self.witness_last(min(grace_seconds, LAST_SECONDS))  # 2
        await asyncio.gather(*(each.stop(grace_seconds) for each in self._servers))  # 3
        await self._refusals.flush()
        self._checkpoints.flush()
        await asyncio.to_thread(self.node.stop)  # 4
        self._log.write("stopped")

    async def run_until_signal(self) -> None:
        """Serve until SIGTERM or SIGINT, or until nothing may be signed any more; then drain.

        Raises:
            Exception: What stopped the signing; an IntegrityError says which file and what to do.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told.set)
        try:
            await self._told.wait()
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
            await self.drain()
        if self.node.writer.failure is not None:
            raise self.node.writer.failure

    async def watch(self) -> None:
        """Leave once the writer has failed: nobody must take this for a node that serves."""
        doubted = ""
        while (failure := self.node.writer.failure) is None:
            if self._ready.is_set() and self.node.writer.held != doubted:
                doubted = self.node.writer.held
                self._log.alarm("clock-in-doubt" if doubted else "clock-agrees-again")
            await asyncio.sleep(WATCH_SECONDS)
        self._log.alarm("signs-nothing-more", kind=type(failure).__name__)
        for each in self._health:
            await each.leave()
        self._lanes.stop()
        self._desk.stop()
        self._told.set()


async def serve(
    node: Node,
    keys: NodeKeys,
    *,
    peers_address: str = "127.0.0.1:0",
    desk_address: str = "127.0.0.1:0",
    admin_address: str | None = None,
    endpoints: Endpoints | None = None,
    settings: Settings | None = None,
    log: TextIO | None = None,
    alone: bool = False,
    witnesses: Mapping[str, str] | None = None,
    authority: TimestampAuthority | None = None,
    stamp_seconds: float = 3600.0,
) -> RunningNode:
    """Put sockets in front of a node, ask every other member what it holds of it, then sign and follow them.

    Returns as soon as the sockets answer; ``RunningNode.ready`` waits for the rest.

    Args:
        node: As opened. One that was started already, by ``node.start()``, asks nobody.
        keys: Its keys; the leaf is read from its home.
        peers_address: host:port for peers; port 0 takes a free one.
        desk_address: host:port for the own officers and systems.
        admin_address: host:port on loopback, without TLS, for health and reflection; none if not given.
        endpoints: Where members are, by agency; what is not in it is taken from their manifests. It is looked up
            at each attempt, so that it may be filled later.
        settings: Limits; the published ones if not given.
        log: Where the program's log goes, one JSON object a line; nowhere if not given.
        witnesses: Where witnesses without a node answer over HTTP: submission prefix by name.
        authority: Who stamps our checkpoints; nobody if not given.
        stamp_seconds: How often.
        alone: An operator lets the node go on although nobody has answered for ``settings.alone_seconds``.

    Raises:
        IntegrityError: grpc was imported too early, or the home has no leaf.
        UnavailableError: An address cannot be had.
        ValueError: The admin address is not on loopback.
    """
    check_transport()
    settings = settings or Settings()
    identity = _identity(node, keys)
    parts = _Parts(node, settings, ProgramLog(log, node.view.agency), keys, witnesses or {})
    if not node.begun:
        node.open()
    peers = server.new_server(settings, parts.peers_gate)
    server.add_peer_services(peers, parts.lanes, Directory(node), AuditLog(node, Witnessing(node, keys, parts.log)))
    desk = server.new_server(settings, parts.desk_gate, MAX_DESK_STREAMS)
    server.add_desk_services(desk, parts.desk)
    running = RunningNode(
        node=node,
        peers_port=server.bind(peers, peers_address, server.credentials(_view(node), identity, server.peers_roots)),
        desk_port=server.bind(desk, desk_address, server.credentials(_view(node), identity, server.desk_roots)),
        _servers=[peers, desk],
        _lanes=parts.lanes,
        _desk=parts.desk,
        _refusals=parts.refusals,
        _checkpoints=parts.checkpoints,
        _log=parts.log,
    )
    running._health += [await server.add_health(peers, server.PEER_SERVICES)]
    running._health += [await server.add_health(desk, server.DESK_SERVICES)]
    if admin_address is not None:
        running.admin_port = await _admin(running, admin_address, settings)
    for each in running._servers:
        await each.start()
    places = {} if endpoints is None else endpoints
    running._tasks.append(asyncio.create_task(running.watch()))
    if authority is not None:
        running._tasks.append(asyncio.create_task(stamp_forever(node, authority, parts.log, stamp_seconds)))
    parts.log.write("listening", port=running.peers_port, desk_port=running.desk_port, size=node.reads.size())
    if node.begun:
        await _begin(running, parts, identity, places)
    else:
        running._tasks.append(asyncio.create_task(_start(running, parts, identity, places, alone)))
    return running


async def _start(running: RunningNode, parts: _Parts, identity: Identity, endpoints: Endpoints, alone: bool) -> None:
    """Sign only once another member has said what it holds of us; refuse for good where it is more than we have."""
    node, settings = running.node, parts.settings
    dials = asyncio.Semaphore(settings.dials)
    try:
        asking = Asking(node, identity, endpoints, dials, settings, now_ms, parts.log, parts.witnesses)
        went_alone = await asking.until_answered(alone=alone)
        while not node.begun:
            try:
                await asyncio.to_thread(node.begin, alone=went_alone)
            except UnavailableError:
                if node.writer.failure is not None:
                    return  # whoever watches says what it was
                parts.log.alarm("clock-in-doubt")
                await asyncio.sleep(CLOCK_SECONDS)
        await _begin(running, parts, identity, endpoints)
    except IntegrityError as error:
        node.writer.fail(error)
    except Exception as error:  # noqa: BLE001 - a node that could not start must not stand there as if it had
        parts.log.fault("start", error)
        node.writer.fail(error)


async def _begin(running: RunningNode, parts: _Parts, identity: Identity, endpoints: Endpoints) -> None:
    """Follow every other member, and be followed."""
    await asyncio.to_thread(count_deaths, running.node)
    running.node.on_group.append(parts.fanout.on_group)
    _follow_all(running, parts, identity, endpoints)
    _have_witnessed(running, parts)
    for each in running._health:
        await each.serving(True)
    say_signing(running.node.paths.home)
    running._ready.set()
    derived = parts.keys.derived if parts.keys.derived.reveal() else None  # none where keys were made in memory
    upkeep = Upkeep(running.node, derived, now_ms, running.node.random_bytes)
    running._tasks.append(asyncio.create_task(keep_up(upkeep, parts.log, running.node.writer.fail)))
    parts.log.write("started", port=running.peers_port, desk_port=running.desk_port, size=running.node.reads.size())


class _Parts:
    """What the pieces share."""

    def __init__(
        self, node: Node, settings: Settings, log: ProgramLog, keys: NodeKeys, witnesses: Mapping[str, str]
    ) -> None:
        self.node, self.settings, self.log, self.keys, self.witnesses = node, settings, log, keys, witnesses
        self.refusals = Refusals(node)
        self.fanout = Fanout()
        self.checkpoints = Checkpoints(node, log, settings)
        self.adopting = Adopting(node, log)
        view = _view(node)
        self.peers_gate = Gate(Identities(view, now_ms, desk=False), self.refusals, Quota(settings), log)
        self.desk_gate = Gate(Identities(view, now_ms, desk=True), self.refusals, None, log)
        self.lanes = LaneService(node, self.fanout, self.peers_gate, self.checkpoints, settings, now_ms, log)
        self.desk = Desk(node, self.fanout, self.refusals, now_ms)


def _follow_all(running: RunningNode, parts: _Parts, identity: Identity, endpoints: Endpoints) -> None:
    node = running.node
    dials = asyncio.Semaphore(parts.settings.dials)
    for member in node.view.federation.roster.members:
        if member.agency == node.view.agency:
            continue
        follower = Follower(
            node,
            member.agency,
            identity,
            endpoints,
            dials,
            parts.adopting,
            parts.checkpoints,
            parts.refusals,
            parts.settings,
            now_ms,
            parts.log,
        )
        running._followers.append(follower)
        running._tasks.append(asyncio.create_task(follower.run()))
    running._tasks.append(asyncio.create_task(_flush_forever(parts.refusals)))


def _have_witnessed(running: RunningNode, parts: _Parts) -> None:
    """Show what is published to the witnesses, and say that we live."""
    node, names = running.node, {}
    for member in node.view.federation.roster.members:
        names[member.agency] = member.witness_name
    asks = {names[each.peer]: ask_peer(each) for each in running._followers}
    looks = {names[each.peer]: each.see_own for each in running._followers}
    asks |= {name: ask_http(prefix) for name, prefix in parts.witnesses.items()}
    running._cosigning = Cosigning(node, asks, parts.settings, now_ms, parts.log, looks)
    running._cosigning.start()
    beat = Heartbeat(node, now_ms, parts.settings.heartbeat_seconds, parts.log)
    running._tasks.append(asyncio.create_task(beat.run()))


async def _flush_forever(refusals: Refusals) -> None:
    while True:
        await asyncio.sleep(FLUSH_SECONDS)
        await refusals.flush()


async def _admin(running: RunningNode, address: str, settings: Settings) -> int:
    if address.rpartition(":")[0] not in LOOPBACK:
        raise ValueError(f"{address}: reflection and health without TLS are for loopback alone")
    admin = server.new_server(settings, None)
    running._health.append(await server.add_health(admin, (*server.PEER_SERVICES, *server.DESK_SERVICES)))
    server.add_reflection(admin)
    running._servers.append(admin)
    return int(admin.add_insecure_port(address))


def _identity(node: Node, keys: NodeKeys) -> Identity:
    try:
        leaf = (node.paths.home / TLS_FILE).read_bytes()
    except FileNotFoundError as error:
        raise IntegrityError(f"{node.paths.home / TLS_FILE}: the node has no TLS leaf") from error
    return Identity(leaf=leaf, private_pem=private_pem(keys.tls_private))


def _view(node: Node) -> Any:
    return lambda: node.view
