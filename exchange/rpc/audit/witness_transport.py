"""How a witness is asked: a peer's over the channel on which we follow it, one without a node over HTTP.

Both carry the bytes of C2SP tlog-witness and nothing else. An answer that does not come is UnavailableError; one that
refuses is WitnessRefusal, with the protocol's status.
"""

from __future__ import annotations

import asyncio
import http.client
import re
from collections.abc import Awaitable, Callable
from typing import Protocol
from urllib.parse import urlsplit

import grpc
import grpc.aio

from audit.witness.witness import WitnessRefusal
from exchange.rpc.transport import status
from exchange.v1 import node_pb2, node_pb2_grpc
from keys.bounds import MAX_NOTE_BYTES
from keys.errors import UnavailableError

ASK_SECONDS = 10.0  # for one question; a cosignature takes milliseconds, on a machine that has nothing else to do
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n?")
_REFUSALS = (400, 403, 404, 409, 422)

Ask = Callable[[bytes], Awaitable[str]]


class NoChannelError(UnavailableError):
    """The witness's node is not followed at this moment, so nothing was asked."""


class SlowError(UnavailableError):
    """No answer came in time. It may still have cosigned, and will say so when it is asked again."""


class Dialled(Protocol):
    """Whoever keeps a channel open: a follower."""

    @property
    def channel(self) -> grpc.aio.Channel | None:
        """The open channel; None while there is none."""


def ask_peer(peer: Dialled) -> Ask:
    """Ask over a follower's channel, as it is at that moment."""

    async def ask(body: bytes) -> str:
        opened = peer.channel
        if opened is None:
            raise NoChannelError("no channel to the witness is open")
        request = node_pb2.AddCheckpointRequest(body=body)
        try:
            answer = await node_pb2_grpc.AuditLogStub(opened).AddCheckpoint(request, timeout=ASK_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise SlowError(f"the witness has not answered within {ASK_SECONDS:g} s") from error
            raise status.error_of(error) from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise UnavailableError("the channel was closed") from error  # gRPC raises the same for both
        return _text(answer.signature_lines)

    return ask


def ask_http(prefix: str) -> Ask:
    """Ask a witness over HTTP.

    Args:
        prefix: Its submission prefix, ``http://host:port`` or ``https://…``; ``/add-checkpoint`` is added.
    """

    async def ask(body: bytes) -> str:
        return await asyncio.to_thread(_post, prefix, body)

    return ask


def _post(prefix: str, body: bytes) -> str:
    url = urlsplit(prefix)
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    line = kind(url.hostname or "", url.port, timeout=ASK_SECONDS)
    try:
        line.request("POST", f"{url.path.rstrip('/')}/add-checkpoint", body, {"Content-Type": "text/plain"})
        answer = line.getresponse()
        content = answer.read(MAX_NOTE_BYTES + 1)
    except TimeoutError as error:
        raise SlowError(f"the witness has not answered within {ASK_SECONDS:g} s") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UnavailableError(f"the witness does not answer: {type(error).__name__}") from error
    finally:
        line.close()
    if answer.status == 200:
        return _text(content)
    if answer.status not in _REFUSALS:
        raise UnavailableError(f"the witness answers with HTTP status {answer.status}")
    size = _SIZE.fullmatch(content) if answer.status == status.ELSEWHERE else None
    raise WitnessRefusal(answer.status, f"HTTP status {answer.status}", size=int(size[1]) if size else None)


def _text(lines: bytes) -> str:
    if len(lines) > MAX_NOTE_BYTES:
        raise UnavailableError(f"the witness answers with {len(lines)} bytes")
    try:
        return lines.decode()
    except UnicodeDecodeError as error:
        raise UnavailableError("the witness answers with what is no text") from error
