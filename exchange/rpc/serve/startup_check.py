"""What every other member holds of our log, asked before this node signs anything (docs/log.md, "Start").

A member has answered when the node that its newest key sheet pins, expired or not, has told the newest checkpoint that
it holds of us, "none" included. The question needs no signature of ours and none of theirs, so that a whole federation
can start at once; a key sheet that we lack is learnt for the question alone, because adopting it would be an entry.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import grpc
import grpc.aio

from audit.note.checkpoint import Checkpoint
from exchange.acts.directory import RecordKind
from exchange.node.job import no_act
from exchange.node.node import Node
from exchange.node.rollback_check import EVIDENCE_FOLDER, RolledBackError, check_answer, read_answer, save_evidence
from exchange.node.writer import Group
from exchange.rpc.audit.external_witness import WitnessAheadError, check_sizes, known_sizes
from exchange.rpc.transport import channel, status
from exchange.rpc.transport.addresses import Dialling
from exchange.rpc.transport.caller import check_newest_pin
from exchange.rpc.transport.runtime import Runtime
from exchange.v1 import node_pb2, node_pb2_grpc
from keys.certificate import node_name
from keys.dsse import SignedPayload
from keys.errors import RefusedError, UnavailableError
from keys.federation import Federation
from keys.identity import AgencyId
from keys.roster import Member

ASK_SECONDS = 10.0  # for one member's answer; the slowest decides how long a start takes


class StartupCheck:
    """The question of one start."""

    def __init__(self, runtime: Runtime, dialling: Dialling, witnesses: Mapping[str, str]) -> None:
        self._node, self._settings, self._now_ms = runtime.node, runtime.settings, runtime.now_ms
        self._log, self._dial_settings, self._addresses = runtime.log, dialling.settings, dialling.addresses
        self._witnesses = witnesses  # that have no node

    async def until_answered(self, *, alone: bool) -> bool:
        """Ask all others, again and again, until one has answered.

        Args:
            alone: An operator lets the node go on if nobody has answered for ``alone_seconds``.

        Returns:
            Whether it goes on although nobody has.

        Raises:
            RolledBackError: Somebody holds what this node does not have.
            WitnessAheadError: A witness without a node says that it does.
        """
        await self._ask_external_witnesses()
        began, pause = time.monotonic(), self._settings.retry_seconds
        view = self._node.view
        others = [each for each in view.federation.roster.members if each.agency != view.agency]
        while others:
            answers = await asyncio.gather(*(self._ask_within(member) for member in others))
            if any(answers):
                self._log.write("answered", count=sum(answers))
                return False
            if alone and time.monotonic() - began >= self._settings.alone_seconds:
                self._log.alarm("started-alone", count=len(others))
                return True
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._settings.retry_most_seconds)
        return False

    async def _ask_external_witnesses(self) -> None:
        """Ask each witness without a node once; its silence holds nobody up, and its answer replaces no member's."""
        if not self._witnesses:
            return
        view = self._node.view
        found = await known_sizes(self._witnesses, view.origin, view.log_signer)
        try:
            check_sizes(found, view.origin, self._node.log.size)
        except WitnessAheadError as error:
            self._log.alarm("rolled-back", peer=error.name, size=error.size)
            raise

    async def _ask_within(self, member: Member) -> bool:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                return await self._ask_anywhere(member)
        except TimeoutError:
            return False

    async def _ask_anywhere(self, member: Member) -> bool:
        """Ask one member at all its addresses at once: one that nobody answers at holds up no other."""
        asking = [asyncio.create_task(self._ask_at(member, each)) for each in self._addresses.of(member.agency)]
        try:
            for answered in asyncio.as_completed(asking):
                if await answered:
                    return True
        finally:
            for each in asking:
                each.cancel()
        return False

    async def _ask_at(self, member: Member, address: str) -> bool:
        try:
            async with self._dial_settings.turns:
                answer = await self._ask(member, address)
            await self._check(member, answer)
        except (RefusedError, UnavailableError):
            return False
        except grpc.RpcError as error:
            made = status.error_of(error)
            if isinstance(made, RefusedError):
                self._log.write("refused", peer=member.agency, code=made.code)
            return False
        self._addresses.worked(member.agency, address)
        return True

    async def _ask(self, member: Member, address: str) -> node_pb2.CheckpointResponse:
        view = self._node.view
        name = node_name(member.agency, view.federation.name)
        view.federation.member(member.agency, self._now_ms())
        leaves: list[bytes] = []
        await channel.probe(address, channel.probe_context(member.tls_ca), name, leaves.append)
        identity = self._dial_settings.identity
        async with channel.peer_channel(address, member.tls_ca, identity.leaf, identity.private_pem, name) as opened:
            try:
                check_newest_pin(leaves[0], member.agency, view.federation, self._now_ms())
            except RefusedError:
                learnt = await self._learnt(opened, member.agency)
                check_newest_pin(leaves[0], member.agency, learnt, self._now_ms())
            stub = node_pb2_grpc.AuditLogStub(opened)
            return await stub.Checkpoint(node_pb2.CheckpointRequest(origin=view.origin), timeout=ASK_SECONDS)

    async def _learnt(self, opened: grpc.aio.Channel, peer: AgencyId) -> Federation:
        """Return the federation as it will be once the peer's own newest records are adopted; nothing is kept."""
        federation = self._node.view.federation
        directory = node_pb2_grpc.DirectoryStub(opened)
        told = await directory.Adopted(node_pb2.AdoptedRequest(), timeout=ASK_SECONDS)
        for kind in (RecordKind.MANIFEST, RecordKind.KEY_SHEET):
            for each in told.records:
                if each.agency != peer or int(each.kind) != kind:
                    continue
                wanted = node_pb2.RecordRequest(
                    kind=node_pb2.RecordKind.ValueType(kind), agency=peer, version=each.version, digest=each.digest
                )
                answer = await directory.Record(wanted, timeout=ASK_SECONDS)
                signed = SignedPayload.from_message(answer.record)
                is_manifest = kind is RecordKind.MANIFEST
                add = federation.with_manifest_of_before if is_manifest else federation.with_key_sheet_of_before
                try:
                    federation = add(signed)  # expired ones too: so is the sheet whose pin we know already
                except RefusedError as refusal:
                    if refusal.code != "REPLAYED":
                        raise
        return federation

    async def _check(self, member: Member, answer: node_pb2.CheckpointResponse) -> None:
        peer = member.agency
        if answer.time_ms:
            self._node.clock.heard(member.witness_name, answer.time_ms * 1000)  # one member has one voice
        for note in (answer.note, answer.witnessed):
            await self._check_note(peer, note)

    async def _check_note(self, peer: AgencyId, note: str) -> None:
        shown = read_answer(note, self._node.view)
        if shown is None:
            return
        own, root = await own_root(self._node, shown.size)
        try:
            check_answer(peer, shown, own, root)
        except RolledBackError:
            folder = self._node.paths.home / EVIDENCE_FOLDER
            save_evidence(folder, f"held-by-{peer}-{shown.size}.checkpoint", note)
            self._log.alarm("rolled-back", peer=peer, size=shown.size)
            raise


async def own_root(node: Node, size: int) -> tuple[Checkpoint, bytes]:
    """Return what our log commits to, and its root at an earlier size: empty where it is smaller."""
    return await node.writer.submit(no_act, lambda _, group: (group.checkpoint, _root(group, size)))


def _root(group: Group, size: int) -> bytes:
    try:
        return group.log.root(size)
    except LookupError:
        return b""
