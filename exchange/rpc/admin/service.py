"""Admin: what an operator tells a running node, and asks it, without a passphrase (``exchange/rpc/admin/unix_socket``)."""

from __future__ import annotations

from typing import Protocol

from exchange.rpc.lane.records import RecordAdoption
from exchange.rpc.transport.connections import Connections
from exchange.rpc.transport.grpc_types import Context
from exchange.rpc.transport.runtime import Runtime
from exchange.rpc.transport.silence import silences
from exchange.v1 import admin_pb2, node_pb2
from keys.dsse import SignedPayload
from keys.errors import RefusedError, UnavailableError
from keys.renewal import is_renewal
from keys.v1 import signed_pb2

MAX_RECORDS = 64


class Root(Protocol):
    """What stands between a node and its agency's root."""

    async def request(self) -> SignedPayload:
        """Make what the root is asked for now."""

    async def take(self, signed: SignedPayload, adoption: RecordAdoption) -> bool:
        """Put what the root gave back in force; return whether it is new."""


class Admin:
    """The servicer of ``exchange.v1.Admin``."""

    def __init__(self, runtime: Runtime, adoption: RecordAdoption, root: Root) -> None:
        self._runtime, self._node = runtime, runtime.node
        self._adoption, self._root = adoption, root
        self._connections: Connections = runtime.connections

    async def Adopt(self, request: admin_pb2.AdoptRequest, context: Context) -> admin_pb2.AdoptResponse:
        """Adopt records one after the other, each wholly or not at all; RefusedError TOO_MANY."""
        if len(request.records) > MAX_RECORDS:
            raise RefusedError("TOO_MANY", f"{len(request.records)} records, at most {MAX_RECORDS}")
        return admin_pb2.AdoptResponse(results=[await self._adopt(each) for each in request.records])

    async def AskRoot(self, request: admin_pb2.AskRootRequest, context: Context) -> admin_pb2.AskRootResponse:
        """Return what the agency's root is asked for."""
        return admin_pb2.AskRootResponse(request=(await self._root.request()).to_message())

    async def Status(self, request: admin_pb2.StatusRequest, context: Context) -> admin_pb2.StatusResponse:
        """Return who is connected."""
        view = self._node.view
        peers = sorted(each.agency for each in view.federation.roster.members if each.agency != view.agency)
        known = {peer: self._connections.of(peer) for peer in peers}
        silent = silences(self._runtime)
        return admin_pb2.StatusResponse(
            started_ms=self._connections.started_ms,
            peers=[
                admin_pb2.PeerConnection(
                    agency=peer,
                    follows_since_ms=each.follows_since_ms,
                    follows_until_ms=each.follows_until_ms,
                    followed_since_ms=each.followed_since_ms,
                    followed_until_ms=each.followed_until_ms,
                    address=each.address,
                    refusal=each.refusal,
                    refused_ms=each.refused_ms,
                    silent_since_ms=silent[peer].since_ms if peer in silent else 0,
                    waiting=silent[peer].waiting if peer in silent else 0,
                )
                for peer, each in known.items()
            ],
        )

    async def _adopt(self, record: signed_pb2.SignedPayload) -> admin_pb2.AdoptResult:
        try:
            signed = SignedPayload.from_message(record)
            whole = is_renewal(signed)
            fresh = await (self._root.take(signed, self._adoption) if whole else self._adoption.take(signed))
        except (RefusedError, UnavailableError) as error:
            return admin_pb2.AdoptResult(refusal=node_pb2.Refusal(code=error.code, message=str(error)))
        return admin_pb2.AdoptResult(known=not fresh, told=self._connections.count if fresh else 0)
