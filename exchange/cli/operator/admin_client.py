"""How an operator's command speaks to the running node of a home."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from exchange.node.home import running_process
from keys.errors import RefusedError, UnavailableError

if TYPE_CHECKING:
    from exchange.v1.admin_pb2_grpc import AdminStub

SECONDS = 30.0  # for one call; a node that is only just starting has until then to open its socket


class NoAnswerError(UnavailableError):
    """A process has the home and does not answer its operator."""

    hint = "look at what it is; if it is a node, stop it and start it again"


ANSWER_SECONDS = 3.0  # a node that does not say by then who is connected is examined without that


def silent_peers(home: Path) -> list[tuple[str, str]]:
    """Ask the running node who stays away although something waits for it; nobody where none runs or answers yet.

    Returns:
        The agency, and a sentence about it.
    """
    from exchange.cli.officer.shown import clock_text
    from exchange.v1 import admin_pb2

    if running_process(home) is None:
        return []
    try:
        with admin(home) as stub:
            peers = stub.Status(admin_pb2.StatusRequest(), timeout=ANSWER_SECONDS).peers
    except (UnavailableError, RefusedError):
        return []
    return [
        (each.agency, f"has not connected since {clock_text(each.silent_since_ms)}; {_deliveries(each.waiting)} for it")
        for each in peers
        if each.silent_since_ms
    ]


def _deliveries(count: int) -> str:
    return "1 delivery waits" if count == 1 else f"{count} deliveries wait"


@contextmanager
def admin(home: Path) -> Iterator[AdminStub]:
    """Open the running node's socket; whatever a call ends with is raised as the node raised it.

    Raises:
        UnavailableError: No node runs here, or the process that has the home does not answer.
        RefusedError: What the node refuses.
    """
    import grpc

    from exchange.rpc.admin.unix_socket import address_in, open_home
    from exchange.rpc.transport.limits import message_options
    from exchange.rpc.transport.status import error_of
    from exchange.v1.admin_pb2_grpc import AdminStub

    process = running_process(home)
    if process is None:
        raise UnavailableError(f"{home}: no node is running here", 5)
    opened = open_home(home)
    try:
        # gRPC waits for a socket that is not there yet, as long as the call may take.
        # A descriptor's number comes again for another home, so no connection is shared by address.
        options = [*message_options(), ("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(address_in(opened), options=options) as channel:
            yield AdminStub(channel)
    except grpc.RpcError as error:
        if isinstance(error, grpc.Call) and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise NoAnswerError(f"{home}: process {process} does not answer within {SECONDS:g} s", 30) from error
        raise error_of(error) from error
    finally:
        os.close(opened)
