"""``GET /metrics`` on loopback, and nothing else: for a monitoring program on the node's own machine.

Whoever can connect reads it, so it tells numbers alone. A connection serves one request, within some seconds; a client
that takes longer costs itself its place, and there are few places.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from exchange.status.prometheus import CONTENT_TYPE
from keys.errors import UnavailableError

PATH = "/metrics"
REQUEST_SECONDS = 5.0
MAX_CONNECTIONS = 8
TEXT_TYPE = "text/plain; charset=utf-8"
CHECK_SECONDS = 0.5  # so often connections that are over time are closed


class MetricsServer(ThreadingHTTPServer):
    """The listener of one node, in threads of its own.

    Args:
        address: host:port on loopback, port 0 for a free one.
        tell: Returns the text; asked by one request at a time.
        seconds: For one request.

    Raises:
        UnavailableError: The address cannot be had.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, address: str, tell: Callable[[], str], seconds: float = REQUEST_SECONDS) -> None:
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, int(port)), _MetricsHandler)
        except OSError as error:
            why = "another program has it, or this machine has no such address"
            raise UnavailableError(f"cannot listen on {address} (metrics): {why}", 5) from error
        self._tell, self._seconds = tell, seconds
        self._turn, self._lock = threading.Lock(), threading.Lock()
        self._until: dict[Any, float] = {}  # open connections, and when each must have ended
        self._thread = threading.Thread(target=self.serve_forever, args=(CHECK_SECONDS,), name="metrics", daemon=True)

    @property
    def port(self) -> int:
        """Return where it listens."""
        return int(self.server_address[1])

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer nobody any more."""
        self.shutdown()
        self.server_close()
        self._thread.join()

    def text(self) -> str:
        """Return what is told now; requests wait for each other."""
        with self._turn:
            return self._tell()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Take a connection only while there is a place."""
        with self._lock:
            if len(self._until) >= MAX_CONNECTIONS:
                return False
            self._until[request] = time.monotonic() + self._seconds
            return True

    def shutdown_request(self, request: Any) -> None:
        """Free the place again."""
        with self._lock:
            self._until.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Close connections whose time is over."""
        now = time.monotonic()
        with self._lock:
            late = [each for each, until in self._until.items() if until < now]
        for each in late:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it ended by itself meanwhile

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep silent: a client that went away is none of ours, and what was wrong with us was answered with 500."""


class _MetricsHandler(BaseHTTPRequestHandler):
    server: MetricsServer
    protocol_version = "HTTP/1.0"  # one request a connection
    server_version, sys_version = "exchange", ""
    timeout = REQUEST_SECONDS

    def do_GET(self) -> None:
        if self.path != PATH:
            self._answer(404, f"only GET {PATH} is answered here\n")
            return
        try:
            told = self.server.text()
        except Exception:  # noqa: BLE001 - whatever it is, a program that asks must not take it for numbers
            self._answer(500, "the node cannot be read now\n")
        else:
            self._answer(200, told, CONTENT_TYPE)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is another method or no HTTP at all in one line of our own."""
        self._answer(405 if code == 501 else code, f"only GET {PATH} is answered here\n")

    def _answer(self, status: int, text: str, kind: str = TEXT_TYPE) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if status == 405:
            self.send_header("Allow", "GET")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Log nothing: a request a quarter of a minute tells nobody anything."""
