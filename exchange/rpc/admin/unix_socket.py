"""The Unix socket in a node's home over which its operator speaks to it while it runs.

Whoever may open the file is the operator. It is reached through a descriptor of the home, because a home's path may be
longer than the address of a socket.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc.aio

from exchange.rpc.transport.caller import Caller
from exchange.rpc.transport.grpc_types import Context
from keys.errors import RefusedError, UnavailableError
from keys.files import PRIVATE
from keys.identity import AgencyId

SOCKET = "admin.sock"
_OPEN_FILES = "/proc/self/fd"
_CREDENTIALS = struct.Struct("3i")  # process, user, group


def open_home(home: Path) -> int:
    """Open a home for ``address_in``; whoever does so closes it."""
    return os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def address_in(home: int) -> str:
    """Return the socket's address in an open home, however long the home's path is."""
    return f"unix:{_path_in(home)}"


def _path_in(home: int) -> str:
    return f"{_OPEN_FILES}/{home}/{SOCKET}"


class AdminSocket:
    """The socket of one running node."""

    def __init__(self, home: Path) -> None:
        self._home = open_home(home)

    def bind(self, server: grpc.aio.Server) -> None:
        """Have a server answer here; what a node that was killed has left is replaced.

        Raises:
            UnavailableError: The socket cannot be made.
        """
        self._remove()
        try:
            server.add_insecure_port(address_in(self._home))
            os.chmod(SOCKET, PRIVATE, dir_fd=self._home)
        except (RuntimeError, OSError) as error:
            raise UnavailableError(f"the operator's socket {SOCKET} cannot be made in the home: {error}", 5) from error

    def close(self) -> None:
        """Remove the socket; its server has stopped."""
        if self._home >= 0:
            self._remove()
            os.close(self._home)
            self._home = -1

    def check_callers(self, user: int) -> None:
        """Refuse as long as another user is connected: RefusedError PEER_UNTRUSTED.

        gRPC does not tell whose a call is, the kernel tells whose each connection is; those of this socket are counted.
        """
        for found in self._callers():
            if found != user:
                raise RefusedError("PEER_UNTRUSTED", f"user {found} is connected; this node is operated by user {user}")

    def _callers(self) -> Iterator[int]:
        path = _path_in(self._home)
        for name in os.listdir(_OPEN_FILES):
            with suppress(OSError):  # it was closed meanwhile
                yield from self._caller_at(int(name), path)

    def _caller_at(self, number: int, path: str) -> Iterator[int]:
        if not stat.S_ISSOCK(os.fstat(number).st_mode):
            return
        with socket.socket(fileno=os.dup(number)) as opened:
            if opened.family != socket.AF_UNIX or opened.getsockname() != path:
                return
            if not opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                told = opened.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
                yield _CREDENTIALS.unpack(told)[1]

    def _remove(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(SOCKET, dir_fd=self._home)


class Operators:
    """Who calls over the socket: the user whose node this is."""

    def __init__(self, made: AdminSocket, agency: AgencyId, number: int) -> None:
        self._socket, self._user = made, os.geteuid()
        self._operator = Caller(agency, f"{agency}/operator", number)

    def of(self, context: Context, *, pinned: bool = True) -> Caller:
        """Return whom a call is from; RefusedError PEER_UNTRUSTED while another user is connected."""
        self._socket.check_callers(self._user)
        return self._operator
