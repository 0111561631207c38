"""The limits of the edge (docs/design.md, "Limits"), each a constant with its unit and its reason."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import exchange
from exchange.rpc.transport.status import TooManyError
from keys.errors import IntegrityError

MAX_MESSAGE_BYTES = 2 << 20  # the largest bucket sealed, with dispatch, wrap and receipts' room
MAX_METADATA_BYTES = 8 << 10
HANDSHAKE_MS = 5000  # half-open handshakes are closed then
CONNECTION_AGE_S, CONNECTION_GRACE_S = 30 * 60, 30  # a removed peer's open stream ends then at the latest
MAX_STREAMS = 32  # at once, of a peer's connection
MAX_DESK_STREAMS = 128  # the same of our own systems: one that publishes by single calls keeps 64 in flight
KEEPALIVE_MS, KEEPALIVE_TIMEOUT_MS, PING_STRIKES = 30_000, 20_000, 2
MAX_STATEMENTS, MAX_STATEMENTS_BYTES = 64, 256 << 10  # of one Publish message; one statement may exceed the bytes alone
MAX_PAGE, PAGE = 500, 100  # rows of Inbox and Outbox
IDENTITY_ONLY = 1  # gRPC's bit set of compressions: none


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator or a test may set; the defaults are the published limits."""

    head_seconds: float = 30.0  # a lane's head is sent so often while nothing else is
    recheck_seconds: float = 60.0  # so often a peer is checked again while its stream is open
    credit_bytes: int = 2 << 20  # sent in one lane and not receipted yet
    queue_bytes: int = 1 << 20  # kept in memory for one follower's lane; beyond it the store is read
    retry_seconds: float = 0.25  # first pause before dialling again
    retry_most_seconds: float = 30.0
    silent_seconds: float = 120.0  # so long a peer may stay away while something waits for it,
    silent_urgent_seconds: float = 30.0  # and so long while something urgent does
    alone_seconds: float = 60.0  # nobody has answered for so long: then an operator may let the node go on alone
    gossip_seconds: float = 30.0  # of one third member's log a proof between two notes is asked for no more often
    dials: int = 4  # connections of one node being made at once
    calls_per_second: float = 50.0  # of one peer
    calls_burst: float = 200.0
    bytes_per_second: float = 32 << 20  # from one peer: receipts and questions, no bulletins
    bytes_burst: float = 128 << 20
    connection_age_seconds: float = CONNECTION_AGE_S
    witness_seconds: float = 1.0  # witnesses are shown a newer checkpoint at most so often
    proven_seconds: float = 30.0  # so often a peer is asked for its newest cosigned checkpoint, if ours is behind
    hand_back_seconds: float = 60.0  # so often contents that were lost are asked back
    heartbeat_seconds: float = 60.0  # a log in which nothing was entered for so long says that its node lives


def check_transport() -> None:
    """Refuse to open a socket where TLS 1.2 would be offered.

    Raises:
        IntegrityError: grpc was imported before this package, with another setting.
    """
    if exchange.TLS_12_IS_OPEN:
        raise IntegrityError("grpc was imported by another program part before exchange: TLS 1.2 is open")


def server_options(settings: Settings, streams: int = MAX_STREAMS) -> list[tuple[str, int]]:
    """Return the options of a listener that takes so many calls at once of one connection."""
    return [
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
        ("grpc.max_connection_age_ms", int(settings.connection_age_seconds * 1000)),
        ("grpc.max_connection_age_grace_ms", CONNECTION_GRACE_S * 1000),
        ("grpc.max_concurrent_streams", streams),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        ("grpc.http2.max_ping_strikes", PING_STRIKES),
        ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_MS // 2),
        ("grpc.so_reuseport", 0),
        *message_options(),
    ]


def message_options() -> list[tuple[str, int]]:
    """Return what servers and clients have in common."""
    return [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        # The soft limit is the hard one: between the two gRPC refuses at random.
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.compression_enabled_algorithms_bitset", IDENTITY_ONLY),
        ("grpc.http2.bdp_probe", 0),  # no pings of its own: windows stay small, and so does memory
    ]


class Bucket:
    """A token bucket: so much a second, so much at once."""

    __slots__ = ("_at", "_burst", "_clock", "_left", "_rate")

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._left, self._at = burst, clock()

    def take(self, amount: float, what: str) -> None:
        """Take so much; TooManyError says when it will be there again."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < amount:
            raise TooManyError(f"too many {what} for now", (amount - self._left) / self._rate)
        self._left -= amount


class Quota:
    """What each peer may ask: calls and bytes, counted apart from every other peer's."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._calls: dict[str, Bucket] = {}
        self._bytes: dict[str, Bucket] = {}

    def call(self, peer: str) -> None:
        """Count one call; TooManyError."""
        bucket = self._calls.get(peer)
        if bucket is None:
            bucket = self._calls[peer] = Bucket(self._settings.calls_per_second, self._settings.calls_burst)
        bucket.take(1, f"calls of {peer}")

    def bytes(self, peer: str, amount: int) -> None:
        """Count what a peer sent; TooManyError."""
        bucket = self._bytes.get(peer)
        if bucket is None:
            bucket = self._bytes[peer] = Bucket(self._settings.bytes_per_second, self._settings.bytes_burst)
        bucket.take(amount, f"bytes of {peer}")
