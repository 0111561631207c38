"""AuditLog: what a peer may see of our log, which is hashes. Entries are for the agency's own auditors (row 65)."""

from __future__ import annotations

from audit.epochs import epoch_of_origin
from audit.tiles import MissingError, TileFolder, parse_tile_name
from exchange.node import Node
from exchange.rpc.calls import Context
from exchange.rpc.gate import caller
from exchange.v1 import node_pb2
from exchange.writer import Group
from exchange.writing import Writing
from keys.errors import RefusedError

ENTRIES = "entries"
MAX_TILE_BYTES = 256 * 32


class AuditLog:
    """The servicer of ``exchange.v1.AuditLog``."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def Checkpoint(self, request: node_pb2.CheckpointRequest, context: Context) -> node_pb2.CheckpointResponse:
        """Give our newest checkpoint, or the newest that we hold of the caller's own log; empty if none.

        Raises:
            RefusedError: NOT_ALLOWED, the log of a third agency.
        """
        house, asking = self._node.house, caller().agency
        if request.origin in ("", house.origin):
            return node_pb2.CheckpointResponse(note=self._node.note)
        member = house.federation.roster.member(asking)
        epoch = epoch_of_origin(request.origin)
        if member is None or request.origin != member.origin(epoch):
            raise RefusedError("NOT_ALLOWED", "a checkpoint of a third agency's log is that agency's to give")
        held = self._node.reads.peer_checkpoint(asking, epoch)
        return node_pb2.CheckpointResponse(note=held[1] if held is not None else "")

    async def Tile(self, request: node_pb2.TileRequest, context: Context) -> node_pb2.TileResponse:
        """Give a hash tile as it is published.

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
        if request.origin not in ("", self._node.house.origin):
            raise RefusedError("NOT_ALLOWED", "only this node's own log is proven here")
        hashes = await self._node.writer.submit(
            _nothing, lambda _, group: _prove(group, request.old_size, request.new_size)
        )
        if hashes is None:
            raise RefusedError("MALFORMED", f"no sizes {request.old_size} to {request.new_size} in this log")
        return node_pb2.ConsistencyResponse(hashes=hashes)


def _prove(group: Group, old: int, new: int) -> list[bytes] | None:
    try:
        return group.log.consistency(old, new)
    except LookupError:
        return None


def _nothing(writing: Writing) -> None:
    return None
