"""How a node is put behind sockets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TextIO

from exchange.node.timestamp_authority import TimestampAuthority
from exchange.rpc.transport.channel import Endpoints
from exchange.rpc.transport.limits import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """How a node is put behind sockets.

    Attributes:
        peers_address: host:port for peers; port 0 takes a free one.
        desk_address: host:port for the own officers and systems.
        admin_address: host:port on loopback, without TLS, for health and reflection; none if not given.
        metrics_address: host:port on loopback, for the node's numbers over HTTP; none if not given.
        endpoints: Where members are, by agency; what is not in it is taken from their manifests. It is looked up
            at each attempt, so that it may be filled later.
        settings: Limits; the published ones if not given.
        log: Where the program's log goes, one JSON object a line; nowhere if not given.
        alone: An operator lets the node go on although nobody has answered for ``settings.alone_seconds``.
        witnesses: Where witnesses without a node answer over HTTP: submission prefix by name.
        authority: Who stamps our checkpoints; nobody if not given.
        stamp_seconds: How often.
        desk_classical_tls: The desk takes connections without ML-KEM too; peers' are never taken.
    """

    peers_address: str = "127.0.0.1:0"
    desk_address: str = "127.0.0.1:0"
    admin_address: str | None = None
    metrics_address: str | None = None
    endpoints: Endpoints = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    log: TextIO | None = None
    alone: bool = False
    witnesses: Mapping[str, str] = field(default_factory=dict)
    authority: TimestampAuthority | None = None
    stamp_seconds: float = 3600.0
    desk_classical_tls: bool = False
