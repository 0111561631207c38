"""Client channels: to a peer, and to the own node's Desk. Each trusts exactly one agency's CA and one name.

gRPC does not show a client the server's leaf. So before a channel to a peer is made, one TLS handshake fetches the
leaf, its pin is checked against the key sheet (``probe``), and only then is the channel opened; what is trusted of
the peer afterwards is signed by itself in any case.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from exchange.rpc.transport.limits import KEEPALIVE_MS, KEEPALIVE_TIMEOUT_MS, check_transport, message_options
from keys.certificate import to_pem
from keys.errors import UnavailableError

PROBE_SECONDS = 5.0
Channel = grpc.aio.Channel


def channel_options(node_name: str) -> list[tuple[str, Any]]:
    """Return a client channel's options; *node_name* is the one dNSName that the server must have."""
    return [
        ("grpc.ssl_target_name_override", node_name),
        ("grpc.default_authority", node_name),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        ("grpc.enable_retries", 0),  # who repeats a call decides so itself
        ("grpc.use_local_subchannel_pool", 1),
        *message_options(),
    ]


def _credentials(ca_der: bytes, leaf_der: bytes, private_pem: bytes) -> grpc.ChannelCredentials:
    check_transport()
    return grpc.ssl_channel_credentials(
        root_certificates=to_pem(ca_der), private_key=private_pem, certificate_chain=to_pem(leaf_der)
    )


def peer_channel(address: str, ca_der: bytes, leaf_der: bytes, private_pem: bytes, node_name: str) -> grpc.aio.Channel:
    """Open a channel to a peer's node; it connects when it is first used.

    Args:
        address: host:port.
        ca_der: That peer's CA from the roster, alone.
        leaf_der: Our leaf, or PEM with the certificate of whoever issued it.
        private_pem: Its key.
        node_name: The peer's dNSName.
    """
    return grpc.aio.secure_channel(
        address,
        _credentials(ca_der, leaf_der, private_pem),
        options=channel_options(node_name),
        compression=grpc.Compression.NoCompression,
    )


def desk_channel(address: str, ca_der: bytes, leaf_der: bytes, private_pem: bytes, node_name: str) -> grpc.aio.Channel:
    """Open a channel of an officer or a system to the own node's Desk; arguments as ``peer_channel``."""
    return peer_channel(address, ca_der, leaf_der, private_pem, node_name)


def blocking_desk_channel(
    address: str, ca_der: bytes, leaf_der: bytes, private_pem: bytes, node_name: str
) -> grpc.Channel:
    """As ``desk_channel``, for programs without an event loop."""
    return grpc.secure_channel(
        address,
        _credentials(ca_der, leaf_der, private_pem),
        options=channel_options(node_name),
        compression=grpc.Compression.NoCompression,
    )


def probe_context(ca_der: bytes) -> ssl.SSLContext:
    """Make the context of a probe: TLS 1.3 only, one CA, and the name checked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=to_pem(ca_der).decode("ascii"))
    context.set_alpn_protocols(["h2"])
    return context


async def probe(address: str, context: ssl.SSLContext, node_name: str, check: Callable[[bytes], None]) -> None:
    """Fetch a server's leaf by one handshake and have it checked.

    Args:
        address: host:port.
        context: From ``probe_context``.
        node_name: The peer's dNSName.
        check: Raises unless the DER leaf is pinned.

    Raises:
        UnavailableError: Nobody answers there, or not with a leaf that the peer's CA vouches for.
    """
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            _, writer = await asyncio.open_connection(
                host.strip("[]"), int(port), ssl=context, server_hostname=node_name
            )
    except TimeoutError as error:
        raise UnavailableError(f"nobody answers within {PROBE_SECONDS:g} s") from error
    except ssl.SSLCertVerificationError as error:
        raise UnavailableError(f"it does not show a certificate of {node_name}: {error.verify_message}") from error
    except socket.gaierror as error:
        raise UnavailableError("this machine does not know that name") from error
    except ConnectionRefusedError as error:
        raise UnavailableError("nobody listens there") from error
    except (OSError, ValueError) as error:
        raise UnavailableError(f"no handshake with it: {type(error).__name__}") from error
    try:
        leaf = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.transport.abort()
    check(leaf)


def server_fault(address: str, ca_der: bytes, node_name: str) -> str:
    """Return what is wrong with the certificate that a server shows, in OpenSSL's words; empty where nothing is.

    For programs without an event loop. Where nobody answers nothing is wrong with it.
    """
    host, _, port = address.rpartition(":")
    try:
        with (
            socket.create_connection((host.strip("[]"), int(port)), PROBE_SECONDS) as line,
            probe_context(ca_der).wrap_socket(line, server_hostname=node_name),
        ):
            return ""
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except (OSError, ValueError):
        return ""


@dataclass(slots=True, kw_only=True)
class Identity:
    """What we show when we shake hands; a renewed leaf takes the old one's place in it."""

    leaf: bytes  # DER, or PEM with the certificate of whoever issued it
    private_pem: bytes


Endpoints = Mapping[str, list[str] | tuple[str, ...]]  # addresses by agency, beside those of its manifests


@dataclass(frozen=True, slots=True, kw_only=True)
class DialSettings:
    """How members are dialled."""

    identity: Identity
    endpoints: Endpoints  # looked up at each attempt, so that it may be filled later
    turns: asyncio.Semaphore  # of connections being made at once
