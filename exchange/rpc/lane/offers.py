"""What came into force here, offered to a peer over a connection that we have dialled: it may not be able to dial us."""

from __future__ import annotations

import asyncio

import grpc.aio

from exchange.acts import directory
from exchange.node.node import Node
from exchange.rpc.lane.records import Known, Told, known_records, record_messages, told_records
from exchange.rpc.transport import status
from exchange.rpc.transport.program_log import ProgramLog
from exchange.v1 import node_pb2, node_pb2_grpc
from keys.errors import RefusedError
from keys.identity import AgencyId

CALL_SECONDS = 15.0  # for one call to a peer


class Offers:
    """What one peer lacks, as far as it has told us."""

    def __init__(self, node: Node, peer: AgencyId, log: ProgramLog) -> None:
        self._node, self._peer, self._log = node, peer, log
        self._told: Known = {}
        self._news = asyncio.Event()

    def begin(self, told: Told) -> None:
        """Begin a connection: this is what the peer has."""
        self._told = told_records(told)

    def heard(self, told: Told) -> None:
        """Note what else the peer has."""
        self._told |= told_records(told)

    def wake(self) -> None:
        """Note that something came into force here."""
        self._news.set()

    async def news(self) -> None:
        """Wait until something has come into force here."""
        await self._news.wait()
        self._news.clear()

    async def send(self, opened: grpc.aio.Channel) -> None:
        """Name what the peer lacks, then give it what it wants of that; a record that it refuses parts nobody.

        Raises:
            grpc.RpcError: What else a call ended with; all is offered again on the next connection.
        """
        known = known_records(self._node.view)
        fresh = {key: each for key, each in known.items() if each.adds_to(self._told.get(key))}
        if not fresh:
            return
        stub = node_pb2_grpc.DirectoryStub(opened)
        try:
            offered = node_pb2.OfferRequest(records=record_messages(fresh))
            for each in (await stub.Offer(offered, timeout=CALL_SECONDS)).wanted:
                await self._give(stub, each)
        except grpc.aio.AioRpcError as error:
            made = status.error_of(error)
            if not isinstance(made, RefusedError):
                raise
            # A node of before does not understand; it fetches what it lacks when it dials us.
            self._log.write("refused", peer=self._peer, code=made.code, kind="OFFER")
        self._told |= fresh

    async def _give(self, stub: node_pb2_grpc.DirectoryAsyncStub, wanted: node_pb2.AdoptedRecord) -> None:
        """Give one record, in a message of its own: it may fill half of it."""
        for kind, adopted in directory.in_force(self._node.view.federation).items():
            known = adopted.get(AgencyId(wanted.agency))
            if int(wanted.kind) == kind and known is not None:
                given = node_pb2.OfferRequest(given=[known.signed.to_message()])
                await stub.Offer(given, timeout=CALL_SECONDS)
