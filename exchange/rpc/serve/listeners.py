"""The listeners: one for peers, one for the own officers and systems, and one on loopback for the operator."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from exchange.acts.node_view import NodeView
from exchange.node.node import Node
from exchange.rpc.admin.service import Admin
from exchange.rpc.audit.service import AuditLog
from exchange.rpc.desk.service import Desk
from exchange.rpc.lane import encode
from exchange.rpc.lane.directory_service import Directory
from exchange.rpc.lane.service import LaneService
from exchange.rpc.transport.channel import Identity
from exchange.rpc.transport.interceptor import Gate
from exchange.rpc.transport.limits import MAX_STREAMS, Settings, check_transport, server_options
from exchange.v1 import admin_pb2_grpc, node_pb2, node_pb2_grpc
from keys.certificate import private_pem, to_pem
from keys.errors import UnavailableError
from keys.key_files import NodeKeys
from keys.node_certificates import own_chain

HEALTH = "grpc.health.v1.Health"
PEER_SERVICES = ("exchange.v1.Lane", "exchange.v1.Directory", "exchange.v1.AuditLog")
_WHY = "cannot listen on {}: another program has it, or this machine has no such address"
DESK_SERVICES = ("exchange.v1.Desk",)


def new_server(settings: Settings, gate: Gate | None, streams: int = MAX_STREAMS) -> grpc.aio.Server:
    """Make a server with the limits of its listener, and the gate before its methods; errors as ``check_transport``."""
    check_transport()
    return grpc.aio.server(
        interceptors=(gate,) if gate is not None else (),
        options=server_options(settings, streams),
        compression=grpc.Compression.NoCompression,
    )


def identity_of(node: Node, keys: NodeKeys) -> Identity:
    """Return what a node shows when it dials and when it is dialled; IntegrityError where its home has no leaf."""
    return Identity(leaf=own_chain(node.paths.home, node.view), private_pem=private_pem(keys.tls_private))


def peers_roots(view: NodeView) -> bytes:
    """Return the CAs of all members: whoever has none of them does not finish the handshake."""
    return b"".join(to_pem(member.tls_ca) for member in view.federation.roster.members)


def desk_roots(view: NodeView) -> bytes:
    """Return the own CA alone."""
    own = view.federation.roster.member(view.agency)
    return to_pem(own.tls_ca) if own is not None else b""


def credentials(
    view: Callable[[], NodeView], identity: Identity, roots: Callable[[NodeView], bytes]
) -> grpc.ServerCredentials:
    """Make credentials whose roots follow the roster, and whose leaf is the identity's at each handshake.

    A peer without a certificate does not finish the handshake.
    """

    def present() -> tuple[object, bytes]:
        return view().federation.roster, identity.leaf

    def made() -> grpc.ServerCertificateConfiguration:
        pair = (identity.private_pem, to_pem(identity.leaf))
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=roots(view()))

    seen = [present()]

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        if (now := present()) == seen[0]:
            return None
        seen[0] = now
        return made()

    return grpc.dynamic_ssl_server_credentials(  # None from the fetcher means: as before
        made(),
        renewed,  # type: ignore[arg-type] # the stubs forbid None, which gRPC takes
        require_client_authentication=True,
    )


def check_free(address: str) -> None:
    """Refuse an address that cannot be had now, before anybody types a passphrase; UnavailableError as ``bind``."""
    host, _, port = address.rpartition(":")
    if port in ("", "0"):
        return
    try:
        family, kind, _, _, at = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            line.bind(at)
    except OSError as error:
        raise UnavailableError(_WHY.format(address), 5) from error


def bind(server: grpc.aio.Server, address: str, made: grpc.ServerCredentials) -> int:
    """Listen; give the port.

    Raises:
        UnavailableError: The address cannot be had.
    """
    why = _WHY.format(address)
    try:
        port = server.add_secure_port(address, made)
    except RuntimeError as error:
        raise UnavailableError(why, 5) from error
    if not port:
        raise UnavailableError(why, 5)
    return int(port)


def add_peer_services(server: grpc.aio.Server, lanes: LaneService, directory: Directory, auditlog: AuditLog) -> None:
    """Add what peers may call."""
    follow = grpc.stream_stream_rpc_method_handler(
        lanes.Follow,
        request_deserializer=node_pb2.FollowRequest.FromString,
        response_serializer=encode.serialize,  # batches are bytes already
    )
    recover = grpc.unary_stream_rpc_method_handler(
        lanes.Recover,
        request_deserializer=node_pb2.RecoverRequest.FromString,
        response_serializer=encode.serialize,
    )
    hand_back = grpc.unary_stream_rpc_method_handler(
        lanes.HandBack,
        request_deserializer=node_pb2.HandBackRequest.FromString,
        response_serializer=encode.serialize,
    )
    methods: dict[str, Any] = {"Follow": follow, "Recover": recover, "HandBack": hand_back}
    handler = grpc.method_handlers_generic_handler("exchange.v1.Lane", methods)
    server.add_generic_rpc_handlers((handler,))
    node_pb2_grpc.add_DirectoryServicer_to_server(directory, server)  # type: ignore[arg-type] # the stubs want their own context class
    node_pb2_grpc.add_AuditLogServicer_to_server(auditlog, server)  # type: ignore[arg-type] # the stubs want their own context class


def add_desk_services(server: grpc.aio.Server, desk: Desk) -> None:
    """Add what the own people may call."""
    node_pb2_grpc.add_DeskServicer_to_server(desk, server)  # type: ignore[arg-type] # the stubs want their own context class


def add_admin_service(server: grpc.aio.Server, admin: Admin) -> None:
    """Add what the operator may call."""
    admin_pb2_grpc.add_AdminServicer_to_server(admin, server)  # type: ignore[arg-type] # the stubs want their own context class


class Health:
    """What one listener says of its services: that none is there before the node may sign, and none once it leaves."""

    def __init__(self, servicer: Any, names: Sequence[str]) -> None:
        self._servicer, self._names = servicer, names

    async def serving(self, serving: bool) -> None:
        """Report that all serve, or that none does; nothing more is said once the node has left."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in self._names:
            await self._servicer.set(name, status)

    async def leave(self) -> None:
        """Report for good that none serves."""
        await self._servicer.enter_graceful_shutdown()


async def add_health(server: grpc.aio.Server, services: Sequence[str]) -> Health:
    """Add the health service, with nothing serving yet."""
    servicer = health_aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    health = Health(servicer, ("", *services))
    await health.serving(False)
    return health


def add_reflection(server: grpc.aio.Server) -> None:
    """Describe our services to tools; on the loopback port alone."""
    reflection.enable_server_reflection((*PEER_SERVICES, *DESK_SERVICES, HEALTH, reflection.SERVICE_NAME), server)
