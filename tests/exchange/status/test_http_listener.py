"""The metrics' listener answers GET /metrics, one request a connection, within its time, and nothing else."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator

import pytest

from exchange.status.http_listener import MAX_CONNECTIONS, MetricsServer
from exchange.status.prometheus import CONTENT_TYPE
from keys.errors import UnavailableError

SECONDS = 0.5  # for one request


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    made = MetricsServer("127.0.0.1:0", lambda: "exchange_up 1\n", SECONDS)
    made.start()
    yield made
    made.stop()


def ask(server: MetricsServer, method: str, path: str) -> tuple[int, str, str]:
    line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    line.request(method, path)
    answer = line.getresponse()
    found = (answer.status, answer.getheader("Content-Type") or "", answer.read().decode())
    line.close()
    return found


def test_get_of_the_path_is_answered_with_the_text(server: MetricsServer) -> None:
    assert ask(server, "GET", "/metrics") == (200, CONTENT_TYPE, "exchange_up 1\n")


@pytest.mark.parametrize("path", ["/", "/metrics/", "/metrics?all=1", "/metrics/../etc/passwd"])
def test_no_other_path_is_answered(server: MetricsServer, path: str) -> None:
    status, _, text = ask(server, "GET", path)
    assert (status, text) == (404, "only GET /metrics is answered here\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD", "TRACE"])
def test_no_other_method_is_answered(server: MetricsServer, method: str) -> None:
    status, _, text = ask(server, method, "/metrics")
    assert status == 405
    assert text == ("" if method == "HEAD" else "only GET /metrics is answered here\n")


def test_what_is_no_http_is_refused_in_a_line_without_its_words(server: MetricsServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 10) as line:
        line.sendall(b"canary canary canary canary\r\n\r\n")
        answer = b"".join(iter(lambda: line.recv(4096), b""))
    assert b"canary" not in answer
    assert answer.endswith(b"only GET /metrics is answered here\n")


def test_whoever_is_slow_is_cut_off_and_keeps_no_place(server: MetricsServer) -> None:
    slow = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(MAX_CONNECTIONS)]
    for each in slow:
        each.sendall(b"GET /metrics HTTP/1.0\r\nX: ")
    with socket.create_connection(("127.0.0.1", server.port), 10) as one_more:
        assert one_more.recv(1) == b""  # no place: closed at once
    for each in slow:
        while each.recv(4096):
            pass  # to the end: the listener has closed it
        each.close()
    assert ask(server, "GET", "/metrics")[0] == 200


def test_a_node_that_cannot_be_read_is_no_number() -> None:
    def fail() -> str:
        raise UnavailableError("canary")

    made = MetricsServer("127.0.0.1:0", fail)
    made.start()
    assert ask(made, "GET", "/metrics") == (500, "text/plain; charset=utf-8", "the node cannot be read now\n")
    made.stop()


def test_an_address_that_somebody_has_is_named(server: MetricsServer) -> None:
    with pytest.raises(UnavailableError, match=f"cannot listen on 127.0.0.1:{server.port} \\(metrics\\)"):
        MetricsServer(f"127.0.0.1:{server.port}", str)
