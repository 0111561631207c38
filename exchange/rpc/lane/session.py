"""Dialling a peer and following its lanes, for as long as the node runs.

One task for each member. It resumes from the store whichever side was restarted, so nothing about a stream has to
survive it; between attempts it waits longer each time, with jitter, and never longer than a bound.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import grpc
import grpc.aio

from audit.note.checkpoint import parse_note
from exchange.node.rollback_check import KeyMisuseError
from exchange.rpc.audit.gossip import Prove, third_notes
from exchange.rpc.audit.peer_checkpoints import Checkpoints
from exchange.rpc.audit.peer_witnessed import PeerWitnessed
from exchange.rpc.lane.offers import Offers
from exchange.rpc.lane.receiver import LaneReceiver, converse
from exchange.rpc.lane.records import RecordAdoption, Told
from exchange.rpc.transport import channel, status
from exchange.rpc.transport.addresses import Dialling
from exchange.rpc.transport.caller import check_pin
from exchange.rpc.transport.grpc_types import FollowCall
from exchange.rpc.transport.runtime import Runtime
from exchange.v1 import node_pb2, node_pb2_grpc
from keys.certificate import node_name
from keys.dsse import SignedPayload
from keys.errors import IntegrityError, RefusedError, UnavailableError
from keys.identity import AgencyId
from keys.roster import Member

CALL_SECONDS = 15.0  # for one question to a peer
SILENT_HEADS = 4  # a stream on which so many lane heads are missing is dead,
SILENT_SECONDS = 5.0  # but never sooner: a busy machine is not a silent peer
STEADY_SECONDS = 5.0  # a stream that lived so long was a success: the next pause is short again


class Follower:
    """Follows one peer."""

    def __init__(
        self,
        runtime: Runtime,
        peer: AgencyId,
        dialling: Dialling,
        adoption: RecordAdoption,
        checkpoints: Checkpoints,
    ) -> None:
        self._node, self._peer = runtime.node, peer
        self._dial_settings, self._addresses = dialling.settings, dialling.addresses
        self._adoption, self._checkpoints, self._refusals = adoption, checkpoints, runtime.refusals
        self._settings, self._now_ms, self._log = runtime.settings, runtime.now_ms, runtime.log
        self._connections = runtime.connections
        self._receiver = LaneReceiver(runtime, peer)
        self._proven = PeerWitnessed(runtime.node, peer)
        self._offers = Offers(runtime.node, peer, runtime.log)
        self._hurry = asyncio.Event()
        self.connected = False
        self.channel: grpc.aio.Channel | None = None  # while we follow: the peer is asked as a witness over it
        self._leaving = self._followed = False
        self._tried: list[str] = []
        self._ended = ""  # with what the last attempt ended

    async def run(self) -> None:
        """Follow until cancelled."""
        pause = self._settings.retry_seconds
        try:
            while not self._leaving:
                began = time.monotonic()
                self._hurry.clear()
                code = self._ended = await self._attempt_once()
                if time.monotonic() - began > STEADY_SECONDS:
                    pause = self._settings.retry_seconds
                if code:
                    self._connections.refused(self._peer, code)
                    self._log.write("follow-ended", peer=self._peer, code=code)
                await self._pause(pause * (0.5 + self._node.random_bytes(1)[0] / 256))
                pause = min(2 * pause, self._settings.retry_most_seconds)
        finally:
            self._receiver.close()

    @property
    def peer(self) -> AgencyId:
        """Whom we follow."""
        return self._peer

    def hurry(self) -> None:
        """Dial without waiting for the end of a pause, because the peer has dialled us.

        Only where it could not be reached: one that refuses us, or whom we refuse, is dialled no sooner for it.
        """
        if self._ended == status.UNAVAILABLE:
            self._hurry.set()

    def adopted(self) -> None:
        """Offer the peer what has come into force here; a peer that has said where it is now is dialled there."""
        self._offers.wake()
        if set(self._addresses.of(self._peer)) != set(self._tried):
            self._hurry.set()

    def leave(self) -> None:
        """Follow no more from the end of this stream on, and keep the channel for the last question to the witness."""
        self._leaving = True

    async def see_own(self) -> None:
        """Hold what the peer has of our own log against it, where its witness refuses to cosign it.

        Raises:
            RolledBackError: We may be a copy; nothing more is signed.
            RefusedError, UnavailableError: No answer, or our key's misuse.
        """
        if self.channel is None:
            return
        stub = node_pb2_grpc.AuditLogStub(self.channel)
        asked = node_pb2.CheckpointRequest(origin=self._node.view.origin)
        try:
            answer = await stub.Checkpoint(asked, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise status.error_of(error) from error
        except grpc.aio.UsageError as error:
            raise UnavailableError("the stream to it has ended") from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise UnavailableError("the channel was closed") from error  # gRPC raises the same for both
        for note in (answer.note, answer.witnessed):
            await self._checkpoints.check_echo(self._peer, note)

    async def close(self) -> None:
        """Close a channel that was kept."""
        kept, self.channel = self.channel, None
        if kept is not None:
            await kept.close()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), seconds)

    async def _attempt_once(self) -> str:
        """Follow once, at the first address that answers; say why it ended, or nothing where nobody could be dialled."""
        code = ""
        self._tried = self._addresses.of(self._peer)
        for address in self._tried:
            self._followed = False
            self._connections.dialled(self._peer, address)
            ended = await self._attempt_at(address)
            code = ended if code in ("", status.UNAVAILABLE) else code  # what somebody said tells more than silence
            if self._followed or self._leaving or self._node.writer.failure is not None:
                return ended
        return code

    async def _attempt_at(self, address: str) -> str:
        """Follow at one address; say why it ended."""
        try:
            await self._session(address)
        except RefusedError as refusal:
            self._refusals.count(self._member().number, refusal.code)
            return refusal.code
        except grpc.RpcError as error:
            made = status.error_of(error)
            return made.code if isinstance(made, RefusedError) else status.UNAVAILABLE
        except UnavailableError:
            return status.UNAVAILABLE
        except IntegrityError as error:
            self._node.writer.fail(error)
            if not isinstance(error, KeyMisuseError):  # whoever found that has said so
                self._log.alarm("own-log-contradicted", peer=self._peer)
            return status.INTEGRITY
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return "CANCELLED"  # a call was, not we: gRPC raises the same for both
        except Exception as error:  # noqa: BLE001 - one peer's stream must not end the others'
            self._log.fault("follower", error)
            return "FAULT"
        return "ENDED"

    def _member(self) -> Member:
        member = self._node.view.federation.roster.member(self._peer)
        if member is None:
            raise IntegrityError(f"{self._peer} was in the roster and is not")
        return member

    async def _session(self, address: str) -> None:
        member = self._node.view.federation.member(self._peer, self._now_ms())
        name = node_name(self._peer, self._node.view.federation.name)
        opened, identity = None, self._dial_settings.identity
        try:
            async with self._dial_settings.turns:
                await self._probe(address, member, name)
                opened = channel.peer_channel(address, member.tls_ca, identity.leaf, identity.private_pem, name)
                await self._learn(opened)
                call = node_pb2_grpc.LaneStub(opened).Follow()
                started = await self._begin(call)
            await self._follow(call, opened, started, address)
        finally:
            self.connected = False
            self._connections.parted(self._peer)
            if not self._leaving or self.channel is None:
                self.channel = None
                if opened is not None:
                    await opened.close()

    async def _probe(self, address: str, member: Member, name: str) -> None:
        """Check the server's pin before anything is said to it; one that we have no key sheet of is learnt first."""
        federation = self._node.view.federation
        context, identity = channel.probe_context(member.tls_ca), self._dial_settings.identity
        known = self._peer in federation.key_sheets

        def check(leaf: bytes) -> None:
            if known:
                check_pin(leaf, self._peer, federation, self._now_ms())

        try:
            await channel.probe(address, context, name, check)
        except RefusedError:
            # The sheet that we hold may be older than the leaf: Directory answers without the pin, and is asked first.
            opened = channel.peer_channel(address, member.tls_ca, identity.leaf, identity.private_pem, name)
            try:
                await self._learn(opened)
            finally:
                await opened.close()
            federation = self._node.view.federation
            await channel.probe(address, context, name, check)

    async def _learn(self, opened: grpc.aio.Channel) -> None:
        """Adopt what the peer has and we lack, before anything of it is judged."""
        told = await node_pb2_grpc.DirectoryStub(opened).Adopted(node_pb2.AdoptedRequest(), timeout=CALL_SECONDS)
        await self._adoption.compare(told.records, partial(_fetch, opened), self._peer)
        self._offers.begin(told.records)
        await self._offers.send(opened)

    async def _hear(self, opened: grpc.aio.Channel, told: Told) -> None:
        """Adopt what the peer says has come into force there."""
        self._offers.heard(told)
        await self._adoption.compare(told, partial(_fetch, opened), self._peer)

    async def _tell(self, opened: grpc.aio.Channel) -> None:
        """Offer the peer what comes into force here while we follow it."""
        while True:
            await self._offers.news()
            try:
                await self._offers.send(opened)
            except grpc.RpcError:
                await asyncio.sleep(self._settings.retry_most_seconds)
                self._offers.wake()  # the stream says whether the peer is there
            except Exception as error:  # noqa: BLE001 - a fault of ours must not end the stream
                self._log.fault("offers", error)

    async def _begin(self, call: FollowCall) -> node_pb2.FollowStarted:
        async with asyncio.timeout(CALL_SECONDS):
            request = self._receiver.start()
            request.start.seen.extend(third_notes(self._node, self._peer))
            await call.write(request)
            first = await call.read()
        if not isinstance(first, node_pb2.FollowResponse) or not first.HasField("started"):
            raise RefusedError("MALFORMED", f"the stream of {self._peer} does not begin with its start")
        return first.started

    async def _follow(
        self, call: FollowCall, opened: grpc.aio.Channel, started: node_pb2.FollowStarted, address: str
    ) -> None:
        """Take the stream's start and go on until it ends."""
        await self._checkpoints.check_echo(self._peer, started.echo)
        await self._checkpoints.gossip.hear(self._peer, started.seen)
        await self._adoption.compare(started.records, partial(_fetch, opened), self._peer)
        await self._see_checkpoint(opened)
        peer_size = _size_of(started.echo, self._node.view.origin)
        giver = self._receiver.giver(started, peer_size)
        self.connected, self.channel = True, opened
        self._followed = True
        self._addresses.worked(self._peer, address)
        self._connections.followed(self._peer)
        self._receiver.heard = time.monotonic()
        self._log.write("following", peer=self._peer)
        duties = (self._watch(call), self._recheck(call, address), self._see_proven(opened), self._tell(opened))
        watches = [asyncio.create_task(each) for each in duties]
        try:
            await converse(call, self._receiver, giver, partial(self._hear, opened))
        finally:
            for watch in watches:
                watch.cancel()
            call.cancel()

    async def _recheck(self, call: FollowCall, address: str) -> None:
        """End a stream whose server is no member any more, or whose pin was withdrawn."""
        while True:
            await asyncio.sleep(self._settings.recheck_seconds)
            federation = self._node.view.federation
            try:
                member = federation.member(self._peer, self._now_ms())
                await self._probe(address, member, node_name(self._peer, federation.name))
            except RefusedError as refusal:
                self._refusals.count(self._member().number, refusal.code)
                call.cancel()
                return
            except UnavailableError:
                continue  # a second handshake did not come about; the open stream says whether the peer is there

    async def _watch(self, call: FollowCall) -> None:
        """End a stream that says nothing: lane heads are due, and silence is not allowed."""
        limit = max(SILENT_HEADS * self._settings.head_seconds, SILENT_SECONDS)
        while time.monotonic() - self._receiver.heard < limit:
            await asyncio.sleep(self._settings.head_seconds)
        call.cancel()

    async def _see_proven(self, opened: grpc.aio.Channel) -> None:
        """Take the peer's newest cosigned checkpoint, as long as what we hold of its log goes beyond ours."""
        while True:
            await asyncio.sleep(self._settings.proven_seconds)
            try:
                if self._proven.is_behind():
                    await self._see_checkpoint(opened)
            except RefusedError as refusal:
                self._refusals.count(self._member().number, refusal.code)
            except grpc.RpcError:
                continue  # the stream says whether the peer is there
            except Exception as error:  # noqa: BLE001 - a fault of ours must not end the stream
                self._log.fault("proven", error)

    async def _see_checkpoint(self, opened: grpc.aio.Channel) -> None:
        """Take the peer's newest checkpoints, so that its log can be compared with an external word."""
        stub = node_pb2_grpc.AuditLogStub(opened)
        origin = self._member().origin(self._node.view.newest_epoch(self._peer))
        answer = await stub.Checkpoint(node_pb2.CheckpointRequest(origin=origin), timeout=CALL_SECONDS)
        prove = prover(opened, origin)
        await self._checkpoints.take(self._peer, answer.note, prove)
        self._checkpoints.gossip.provers[self._peer] = prove
        try:
            if await self._proven.take(answer.witnessed, prove):
                self._checkpoints.seen(self._peer)
        except RefusedError as refusal:  # nothing is proven by it, and bulletins go on
            self._log.alarm("cosigned-checkpoint-refused", peer=self._peer, code=refusal.code)


def prover(opened: grpc.aio.Channel, origin: str) -> Prove:
    """Return what asks a peer for proofs that join two sizes of its log; it may outlive the channel.

    It raises UnavailableError where the channel was closed meanwhile, and grpc.RpcError as the peer answers.
    """
    stub = node_pb2_grpc.AuditLogStub(opened)

    async def prove(old: int, new: int) -> Sequence[bytes]:
        asked = node_pb2.ConsistencyRequest(origin=origin, old_size=old, new_size=new)
        try:
            proof = await stub.Consistency(asked, timeout=CALL_SECONDS)
        except grpc.aio.UsageError as error:
            raise UnavailableError("the stream to it has ended") from error
        return list(proof.hashes)

    return prove


def _size_of(echo: str, origin: str) -> int:
    """Return how much of our log's present epoch the peer holds."""
    shown = parse_note(echo).checkpoint if echo else None
    return shown.size if shown is not None and shown.origin == origin else 0


async def _fetch(opened: grpc.aio.Channel, told: node_pb2.AdoptedRecord) -> SignedPayload:
    wanted = node_pb2.RecordRequest(kind=told.kind, agency=told.agency, version=told.version, digest=told.digest)
    answer = await node_pb2_grpc.DirectoryStub(opened).Record(wanted, timeout=CALL_SECONDS)
    return SignedPayload.from_message(answer.record)
