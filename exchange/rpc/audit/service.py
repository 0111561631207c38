"""AuditLog: what a peer may see of our log, which is hashes. Entries are for the agency's own auditors (row 65)."""

from __future__ import annotations

from audit.note.checkpoint import parse_note
from audit.note.epochs import split_origin
from audit.tiles.tile_names import parse_tile_name
from audit.tiles.tiles import MissingError, TileFolder
from exchange.node.job import no_act
from exchange.node.node import Node, now_ms
from exchange.node.writer import Group
from exchange.rpc.audit.be_witness import WitnessService
from exchange.rpc.transport.grpc_types import Context
from exchange.rpc.transport.interceptor import caller
from exchange.v1 import node_pb2
from keys.errors import RefusedError
from keys.roster import Member

ENTRIES = "entries"
MAX_TILE_BYTES = 256 * 32


class AuditLog:
    """The servicer of ``exchange.v1.AuditLog``."""

    def __init__(self, node: Node, witness: WitnessService) -> None:
        self._node, self._witness = node, witness
        self._cosigned = node.lock.witness_state()
        node.at_stop.append(self._cosigned.close)

    async def Checkpoint(self, request: node_pb2.CheckpointRequest, context: Context) -> node_pb2.CheckpointResponse:
        """Return our newest checkpoint, or the newest that we hold of the caller's own log; empty if none.

        The second needs neither a signature of ours nor the caller's pin, and is answered before our own start is
        done: it is what a member asks that starts, or that was restored and has an old leaf.

        Raises:
            RefusedError: NOT_ALLOWED, the log of a third agency; PEER_UNTRUSTED.
        """
        view, found = self._node.view, caller()
        if request.origin in ("", view.origin):
            if not found.pinned:
                raise RefusedError("PEER_UNTRUSTED", f"this key is not pinned as the node of {found.agency}")
            witnessed = self._node.witnessed[1]
            return node_pb2.CheckpointResponse(note=self._node.note, witnessed=witnessed, time_ms=now_ms())
        member = view.federation.roster.member(found.agency)
        if member is None or split_origin(request.origin)[0] != member.log_name:
            raise RefusedError("NOT_ALLOWED", "a checkpoint of a third agency's log is that agency's to give")
        cosigned = max(self._cosigned_of(member), key=_age, default="")
        return node_pb2.CheckpointResponse(note=self._newest_of(member), witnessed=cosigned, time_ms=now_ms())

    def _newest_of(self, member: Member) -> str:
        """Return the newest checkpoint of a member's log that we verified or cosigned, of whatever epoch."""
        view, reads = self._node.view, self._node.reads
        known = [reads.peer_checkpoint(member.agency, each.epoch) for each in view.epochs(member.agency)]
        notes = [note for _, note in filter(None, known)]
        return max(notes + self._cosigned_of(member), key=_age, default="")

    def _cosigned_of(self, member: Member) -> list[str]:
        """Return what our witness holds of a member's log: of two live copies it may be the other's."""
        return [each.note for each in self._cosigned.all_cosigned() if split_origin(each.origin)[0] == member.log_name]

    async def Tile(self, request: node_pb2.TileRequest, context: Context) -> node_pb2.TileResponse:
        """Return a hash tile as it is published.

        Raises:
            RefusedError: NOT_ALLOWED for entry bundles, NO_SUCH_BULLETIN for what is not published.
        """
        parsed = parse_tile_name(request.path)
        if parsed is None:
            raise RefusedError("MALFORMED", "not the path of a tile")
        if parsed[0] == ENTRIES:
            raise RefusedError("NOT_ALLOWED", "entry bundles are for the agency's own auditors")
        try:
            content = TileFolder(self._node.paths.log).read(request.path, MAX_TILE_BYTES)
        except MissingError as error:
            raise RefusedError("NO_SUCH_BULLETIN", "this tile is not published") from error
        return node_pb2.TileResponse(content=content)

    async def Consistency(self, request: node_pb2.ConsistencyRequest, context: Context) -> node_pb2.ConsistencyResponse:
        """Prove that one size of our log extends another.

        Raises:
            RefusedError: NOT_ALLOWED for another log, MALFORMED for sizes that our log does not have.
        """
        if request.origin not in ("", self._node.view.origin):
            raise RefusedError("NOT_ALLOWED", "only this node's own log is proven here")
        hashes = await self._node.writer.submit(
            no_act, lambda _, group: _prove(group, request.old_size, request.new_size)
        )
        if hashes is None:
            raise RefusedError("MALFORMED", f"no sizes {request.old_size} to {request.new_size} in this log")
        return node_pb2.ConsistencyResponse(hashes=hashes)

    async def AddCheckpoint(
        self, request: node_pb2.AddCheckpointRequest, context: Context
    ) -> node_pb2.AddCheckpointResponse:
        """Cosign a checkpoint of another member's log; errors as ``WitnessService.add_checkpoint``."""
        return node_pb2.AddCheckpointResponse(signature_lines=await self._witness.add_checkpoint(request.body))


def _age(note: str) -> tuple[int, int]:
    checkpoint = parse_note(note).checkpoint
    return split_origin(checkpoint.origin)[1], checkpoint.size


def _prove(group: Group, old: int, new: int) -> list[bytes] | None:
    try:
        return group.log.consistency(old, new)
    except LookupError:
        return None
