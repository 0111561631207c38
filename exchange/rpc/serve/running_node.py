"""A node with its sockets: started, running, drained. Everything hangs on one ``RunningNode``; there are no globals,
so a whole federation runs in one process and one event loop.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import grpc.aio

from exchange.acts.node_view import NodeView
from exchange.node.home import say_signing
from exchange.node.maintenance import Upkeep
from exchange.node.node import Node, now_ms
from exchange.rpc.admin.service import Admin
from exchange.rpc.admin.unix_socket import AdminSocket, Operators
from exchange.rpc.audit.ask_witnesses import WitnessRounds
from exchange.rpc.audit.be_witness import WitnessService
from exchange.rpc.audit.heartbeat import Heartbeat
from exchange.rpc.audit.peer_checkpoints import Checkpoints
from exchange.rpc.audit.service import AuditLog
from exchange.rpc.audit.witness_transport import ask_http, ask_peer
from exchange.rpc.desk.service import Desk
from exchange.rpc.lane.directory_service import Directory
from exchange.rpc.lane.inflight_marker import count_deaths
from exchange.rpc.lane.records import RecordAdoption
from exchange.rpc.lane.service import LaneService
from exchange.rpc.lane.session import Follower
from exchange.rpc.recovery.hand_back import ask_back
from exchange.rpc.serve import listeners, metrics
from exchange.rpc.serve.daily import keep_up
from exchange.rpc.serve.hourly import stamp_forever
from exchange.rpc.serve.options import ServeOptions
from exchange.rpc.serve.own_certificates import OwnCertificates
from exchange.rpc.serve.renewals import Renewals
from exchange.rpc.serve.startup_check import StartupCheck
from exchange.rpc.transport.addresses import Addresses, Dialling
from exchange.rpc.transport.caller import Identities
from exchange.rpc.transport.channel import DialSettings
from exchange.rpc.transport.connections import Connections
from exchange.rpc.transport.fanout import Fanout
from exchange.rpc.transport.interceptor import Gate
from exchange.rpc.transport.limits import MAX_DESK_STREAMS, Quota
from exchange.rpc.transport.program_log import ProgramLog
from exchange.rpc.transport.refusal_counts import Refusals
from exchange.rpc.transport.runtime import Runtime
from exchange.rpc.transport.silence import SilenceWatch
from exchange.status.http_listener import MetricsServer
from keys.errors import IntegrityError, UnavailableError
from keys.key_files import NodeKeys

DRAIN_SECONDS = 5.0
LAST_SECONDS = 3.0  # for the last round of cosigning; who has not answered by then is not waited for
WATCH_SECONDS = 0.2  # so soon a node that may sign nothing more begins to leave
CLOCK_SECONDS = 1.0  # a clock that is in doubt at the start is read again so soon
LOOPBACK = ("127.0.0.1", "[::1]", "localhost")


async def serve(node: Node, keys: NodeKeys, options: ServeOptions | None = None) -> RunningNode:
    """Put sockets in front of a node, ask every other member what it holds of it, then sign and follow them.

    Returns as soon as the sockets answer; ``RunningNode.ready`` waits for the rest.

    Args:
        node: As opened. One that was started already, by ``node.start()``, asks nobody.
        keys: Its keys; the leaf is read from its home.
        options: As ``ServeOptions`` says.

    Raises:
        IntegrityError: grpc was imported too early, or the home has no leaf.
        UnavailableError: An address cannot be had.
        ValueError: The admin address is not on loopback.
    """
    running = RunningNode(node, keys, options or ServeOptions())
    await running.listen()
    return running


class RunningNode:
    """A node that serves."""

    def __init__(self, node: Node, keys: NodeKeys, options: ServeOptions) -> None:
        """Make the parts; nothing is listened on yet. ``serve`` does both."""
        self.node, self._keys, self._options = node, keys, options
        self.peers_port = self.desk_port = self.admin_port = 0
        settings, self._log = options.settings, ProgramLog(options.log, node.view.agency)
        self._refusals = Refusals(node)
        self._runtime = Runtime(
            node=node,
            settings=settings,
            now_ms=now_ms,
            log=self._log,
            refusals=self._refusals,
            connections=Connections(now_ms),
        )
        self._dial_settings = DialSettings(
            identity=listeners.identity_of(node, keys),
            endpoints=options.endpoints,
            turns=asyncio.Semaphore(settings.dials),
        )
        self._dialling = Dialling(self._dial_settings, Addresses(node, options.endpoints))
        self._certificates = OwnCertificates(node, keys, self._dial_settings.identity, now_ms, self._log)
        self._fanout, self._checkpoints = Fanout(), Checkpoints(self._runtime)
        self._adoption = RecordAdoption(node, self._log, now_ms)
        self._adoption.on_heard.append(self._dialling.addresses.heard)
        self._peers_gate = Gate(Identities(self._view, now_ms, desk=False), self._refusals, Quota(settings), self._log)
        people = Identities(self._view, now_ms, desk=True, classical=options.desk_classical_tls)
        self._desk_gate = Gate(people, self._refusals, None, self._log)
        self._lanes = LaneService(self._runtime, self._fanout, self._peers_gate, self._checkpoints)
        self._desk = Desk(self._runtime, self._fanout)
        self._socket: AdminSocket | None = None
        self._metrics: MetricsServer | None = None
        self._servers: list[grpc.aio.Server] = []
        self._health: list[listeners.Health] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._followers: list[Follower] = []
        self._witness_rounds: WitnessRounds | None = None
        self._loop = asyncio.get_running_loop()
        self._told = asyncio.Event()  # to stop
        self._ready = asyncio.Event()  # it signs
        self._quiet = self._drained = False

    @property
    def followed(self) -> int:
        """Count the peers that we follow now."""
        return sum(follower.connected for follower in self._followers)

    @property
    def following(self) -> int:
        """Count the peers that follow us now."""
        return self._lanes.following

    @property
    def metrics_port(self) -> int:
        """Return where a monitoring program asks; 0 where none may."""
        return self._metrics.port if self._metrics is not None else 0

    @property
    def drained(self) -> bool:
        """Return whether it has stopped."""
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
        """Follow nobody again; a whole federation that stops keeps its channels so for the last round of cosigning."""
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
        if self._witness_rounds is not None:
            try:
                await self._witness_rounds.finish(seconds)
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
        if self._socket is not None:
            self._socket.close()
        if self._metrics is not None:
            await asyncio.to_thread(self._metrics.stop)
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
            if self._ready.is_set() and self.node.writer.suspended != doubted:
                doubted = self.node.writer.suspended
                self._log.alarm("clock-in-doubt" if doubted else "clock-agrees-again")
            await asyncio.sleep(WATCH_SECONDS)
        self._log.alarm("signs-nothing-more", kind=type(failure).__name__)
        for each in self._health:
            await each.leave()
        self._lanes.stop()
        self._desk.stop()
        self._told.set()

    async def listen(self) -> None:
        """Answer on every socket, and begin to ask the other members; errors as ``serve``."""
        options, node = self._options, self.node
        if not node.begun:
            node.open()
        peers = listeners.new_server(options.settings, self._peers_gate)
        auditlog = AuditLog(node, WitnessService(node, self._keys, self._log))
        listeners.add_peer_services(peers, self._lanes, Directory(node, self._adoption), auditlog)
        desk = listeners.new_server(options.settings, self._desk_gate, MAX_DESK_STREAMS)
        listeners.add_desk_services(desk, self._desk)
        self._servers = [peers, desk]
        self.peers_port = self._bind(peers, options.peers_address, listeners.peers_roots)
        self.desk_port = self._bind(desk, options.desk_address, listeners.desk_roots)
        self._health = [
            await listeners.add_health(peers, listeners.PEER_SERVICES),
            await listeners.add_health(desk, listeners.DESK_SERVICES),
        ]
        if options.admin_address is not None:
            self.admin_port = await self._admin(options.admin_address)
        if options.metrics_address is not None:
            self._metrics = metrics.listen(self._runtime, options.metrics_address)
        self._operate()
        for each in self._servers:
            await each.start()
        self._go(self.watch())
        if options.authority is not None:
            self._go(stamp_forever(node, options.authority, self._log, options.stamp_seconds))
        self._log.write("listening", port=self.peers_port, desk_port=self.desk_port, size=node.reads.size())
        if node.begun:
            await self._begin()
        else:
            self._go(self._start())

    def _view(self) -> NodeView:
        return self.node.view

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    def _bind(self, server: grpc.aio.Server, address: str, roots: Callable[[NodeView], bytes]) -> int:
        return listeners.bind(server, address, listeners.credentials(self._view, self._dial_settings.identity, roots))

    def _operate(self) -> None:
        """Answer our operator on the socket in the home."""
        view = self.node.view
        self._socket = AdminSocket(self.node.paths.home)
        operators = Operators(self._socket, view.agency, view.number)
        server = listeners.new_server(self._options.settings, Gate(operators, self._refusals, None, self._log))
        listeners.add_admin_service(server, Admin(self._runtime, self._adoption, self._certificates))
        self._socket.bind(server)
        self._servers.append(server)

    async def _admin(self, address: str) -> int:
        if address.rpartition(":")[0] not in LOOPBACK:
            raise ValueError(f"{address}: reflection and health without TLS are for loopback alone")
        admin = listeners.new_server(self._options.settings, None)
        services = (*listeners.PEER_SERVICES, *listeners.DESK_SERVICES)
        self._health.append(await listeners.add_health(admin, services))
        listeners.add_reflection(admin)
        self._servers.append(admin)
        return int(admin.add_insecure_port(address))

    async def _start(self) -> None:
        """Sign only once another member has said what it holds of us; refuse for good where it is more than we have."""
        node = self.node
        try:
            await self._certificates.revive()
            check = StartupCheck(self._runtime, self._dialling, self._options.witnesses)
            went_alone = await check.until_answered(alone=self._options.alone)
            while not node.begun:
                try:
                    await asyncio.to_thread(node.begin, alone=went_alone)
                except UnavailableError:
                    if node.writer.failure is not None:
                        return  # whoever watches says what it was
                    self._log.alarm("clock-in-doubt")
                    await asyncio.sleep(CLOCK_SECONDS)
            await self._begin()
        except IntegrityError as error:
            node.writer.fail(error)
        except Exception as error:  # noqa: BLE001 - a node that could not start must not stand there as if it had
            self._log.fault("start", error)
            node.writer.fail(error)

    async def _begin(self) -> None:
        """Follow every other member, and be followed."""
        node = self.node
        derived = self._keys.derived if self._keys.derived.reveal() else None  # none where keys were made in memory
        renewals = Renewals(node, derived, now_ms, self._log)
        await renewals.begin()
        self._go(renewals.follow())
        self._go(self._certificates.follow())
        await asyncio.to_thread(count_deaths, node)
        node.on_group.append(self._fanout.on_group)
        self._follow_all()
        self._have_witnessed()
        self._go(ask_back(self._runtime, self._followers))
        for each in self._health:
            await each.serving(True)
        say_signing(node.paths.home)
        self._ready.set()
        upkeep = Upkeep(node, derived, now_ms, node.random_bytes)
        self._go(keep_up(upkeep, self._log, node.writer.fail, renew=renewals.run))
        self._log.write("started", port=self.peers_port, desk_port=self.desk_port, size=node.reads.size())

    def _follow_all(self) -> None:
        view = self.node.view
        for member in view.federation.roster.members:
            if member.agency != view.agency:
                follower = Follower(self._runtime, member.agency, self._dialling, self._adoption, self._checkpoints)
                self._followers.append(follower)
                self._go(follower.run())
        self.node.on_view.append(self._adopted)
        hurry = {each.peer: each.hurry for each in self._followers}
        self._runtime.connections.on_follow.append(lambda peer: hurry[peer]())
        self._go(self._refusals.flush_forever())

    def _adopted(self, view: NodeView) -> None:
        """Tell those whom we follow what has come into force, in the loop, wherever it was adopted."""
        if not self._loop.is_closed():
            for each in self._followers:
                self._loop.call_soon_threadsafe(each.adopted)

    def _have_witnessed(self) -> None:
        """Show what is published to the witnesses, and say that we live."""
        names = {member.agency: member.witness_name for member in self.node.view.federation.roster.members}
        asks = {names[each.peer]: ask_peer(each) for each in self._followers}
        looks = {names[each.peer]: each.see_own for each in self._followers}
        asks |= {name: ask_http(prefix) for name, prefix in self._options.witnesses.items()}
        self._witness_rounds = WitnessRounds(self._runtime, asks, looks)
        self._witness_rounds.start()
        self._go(Heartbeat(self._runtime).run())
        self._go(SilenceWatch(self._runtime).run())
