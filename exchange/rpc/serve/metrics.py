"""A running node's numbers for a monitoring program, over HTTP on loopback (``exchange/status``)."""

from __future__ import annotations

from exchange.rpc.transport.runtime import Runtime
from exchange.status.http_listener import MetricsServer
from exchange.status.prometheus import to_text
from exchange.status.report import report_of


def listen(runtime: Runtime, address: str) -> MetricsServer:
    """Answer at an address on loopback from now on; UnavailableError where it cannot be had."""
    node, connections = runtime.node, runtime.connections
    reads = node.store.reader()  # goes from one request's thread to the next one's

    def tell() -> str:
        view, now_ms = node.view, runtime.now_ms()
        members = [each.agency for each in view.federation.roster.members]
        follows = {str(each): connections.of(each).follows_since_ms for each in members}
        return to_text(report_of(node.paths, view.agency, reads, view.federation, now_ms, follows), now_ms)

    server = MetricsServer(address, tell)
    server.start()
    return server
