"""A witness over HTTP: ``POST /add-checkpoint`` exactly as C2SP tlog-witness says, and nothing else.

Requests are authenticated by the log's signature in them alone, so whoever can connect can ask; TLS and the outside
address belong to a reverse proxy. A body has a limit, a request with its waiting has a time, and connections have a
number: a slow or greedy client costs itself its place and nobody else's.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TextIO

from audit.witness.request import MAX_REQUEST_BYTES
from audit.witness.witness import Witness, WitnessRefusal
from keys.errors import IntegrityError, UnavailableError

PATH = "/add-checkpoint"
SIZE_TYPE = "text/x.tlog.size"  # of the answer that says where the witness stands
TEXT_TYPE = "text/plain; charset=utf-8"
REQUEST_SECONDS = 20.0  # for one request, waiting for it included; then the connection is closed
MAX_CONNECTIONS = 64
_LENGTH = re.compile(r"[0-9]{1,9}", re.ASCII)


class WitnessServer(ThreadingHTTPServer):
    """Serves one witness, a thread a connection.

    Args:
        address: (host, port); port 0 takes a free one.
        witness: Whom it asks.
        log: Where one JSON line a request goes; None for nowhere.
        request_seconds, max_connections: The limits, for tests.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        witness: Witness,
        *,
        log: TextIO | None = None,
        request_seconds: float = REQUEST_SECONDS,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)
        self.witness, self._log = witness, log
        self._seconds, self._most = request_seconds, max_connections
        self._lock = threading.Lock()
        self._until: dict[socket.socket, float] = {}  # open connections, and when each must have moved on

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Take a connection only while there is a place."""
        with self._lock:
            if len(self._until) >= self._most:
                return False
            self._until[request] = time.monotonic() + self._seconds
            return True

    def shutdown_request(self, request: Any) -> None:
        """Free the place again."""
        with self._lock:
            self._until.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Close connections whose time is over; called twice a second."""
        now = time.monotonic()
        with self._lock:
            late = [each for each, until in self._until.items() if until < now]
        for each in late:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it ended by itself meanwhile

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log which error ended a connection, without its words; a client that went away is none."""
        error = sys.exception()
        if not isinstance(error, OSError):
            self.note(0, type(error).__name__)

    def begin(self, connection: socket.socket) -> None:
        """Let the time of the next request on a connection begin."""
        with self._lock:
            if connection in self._until:
                self._until[connection] = time.monotonic() + self._seconds

    def note(self, status: int, what: str) -> None:
        """Write one line of the program's log: JSON in ASCII, nothing that a stranger wrote."""
        if self._log is not None:
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            print(
                json.dumps({"time": at, "event": "answered", "code": status, "what": what}), file=self._log, flush=True
            )


class _Handler(BaseHTTPRequestHandler):
    server: WitnessServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "exchange-witness", ""
    timeout = REQUEST_SECONDS
    disable_nagle_algorithm = True  # an answer is head and body, written one after the other

    def handle_one_request(self) -> None:
        self.server.begin(self.connection)
        super().handle_one_request()

    def do_POST(self) -> None:
        if self.path != PATH:
            self._answer(404, f"only POST {PATH} is answered here", close=True)
            return
        body = self._body()
        if body is None:
            return
        try:
            lines = self.server.witness.add_checkpoint(body)
        except WitnessRefusal as refusal:
            if refusal.status == 409 and refusal.size is not None:
                self._answer(409, str(refusal.size), kind=SIZE_TYPE, what="conflict" if refusal.fork else "elsewhere")
            else:
                self._answer(refusal.status, str(refusal), what="conflict" if refusal.fork else "refused")
        except UnavailableError:
            self._answer(503, "busy; try again", close=True)
        except IntegrityError:
            self._answer(500, "this witness cannot write what it cosigns; it cosigns nothing", close=True)
        else:
            self._answer(200, lines.removesuffix("\n"), what="cosigned")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no such request, another method or no HTTP at all, in one line of our own."""
        self._answer(code, f"only POST {PATH} is answered here", close=True)

    def _body(self) -> bytes | None:
        """Read the body, or answer why not."""
        length = self.headers.get("Content-Length", "")
        if self.headers.get("Transfer-Encoding") or not _LENGTH.fullmatch(length):
            self._answer(411, "a Content-Length was expected", close=True)
            return None
        if int(length) > MAX_REQUEST_BYTES:
            self._answer(413, f"more than {MAX_REQUEST_BYTES} bytes", close=True)
            return None
        body = self.rfile.read(int(length))
        if len(body) != int(length):
            self.close_connection = True
            return None
        return body

    def _answer(
        self, status: int, text: str, *, kind: str = TEXT_TYPE, what: str = "refused", close: bool = False
    ) -> None:
        data = f"{text}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if close:  # what follows on the connection may be a body that was not read
            self.send_header("Connection", "close")
            self.close_connection = True
        if status == 503:
            self.send_header("Retry-After", "1")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        self.server.note(status, what)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Log nothing: ``note`` does, and without what strangers wrote."""
