"""Directory: what this node has adopted, for any member; each record carries its own maker's signature."""

from __future__ import annotations

from exchange.node.node import Node
from exchange.rpc.lane.records import MAX_GIVEN, RecordAdoption, known_records, record_messages
from exchange.rpc.transport.grpc_types import Context
from exchange.rpc.transport.interceptor import caller
from exchange.v1 import node_pb2
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.identity import short


class Directory:
    """The servicer of ``exchange.v1.Directory``."""

    def __init__(self, node: Node, adoption: RecordAdoption) -> None:
        self._node, self._adoption = node, adoption

    async def Adopted(self, request: node_pb2.AdoptedRequest, context: Context) -> node_pb2.AdoptedResponse:
        """List the newest version of every record."""
        return node_pb2.AdoptedResponse(records=record_messages(known_records(self._node.view)))

    async def Record(self, request: node_pb2.RecordRequest, context: Context) -> node_pb2.RecordResponse:
        """Return one record as its maker signed it; RefusedError ROSTER_UNKNOWN if it is not here."""
        reads = self._node.reads
        if request.digest:
            record = reads.record_by_digest(request.digest)
        else:
            record = reads.record(int(request.kind), request.agency, request.version)
        if record is None:
            raise RefusedError("ROSTER_UNKNOWN", f"no record of kind {request.kind}, version {request.version} is here")
        return node_pb2.RecordResponse(record=SignedPayload.decode(record.signed).to_message())

    async def Offer(self, request: node_pb2.OfferRequest, context: Context) -> node_pb2.OfferResponse:
        """Take what a peer gives us, and answer what we want of what it names.

        Raises:
            RefusedError: TOO_MANY; a record that does not verify.
        """
        peer = caller().agency
        if len(request.given) > MAX_GIVEN:
            raise RefusedError("TOO_MANY", f"{len(request.given)} records are given, at most {MAX_GIVEN}")
        for each in request.given:
            await self._adoption.hear(SignedPayload.from_message(each), peer)
        return node_pb2.OfferResponse(wanted=self._adoption.wanted(request.records))

    async def Catalogue(self, request: node_pb2.CatalogueRequest, context: Context) -> node_pb2.CatalogueResponse:
        """Return a catalogue's files by its digest; RefusedError ROSTER_UNKNOWN if it is not here."""
        files = self._node.reads.catalogue(request.digest)
        if not files:
            raise RefusedError("ROSTER_UNKNOWN", f"catalogue {short(request.digest)} is not here")
        return node_pb2.CatalogueResponse(
            files=[node_pb2.CatalogueFile(name=name, content=content) for name, content in sorted(files.items())]
        )
