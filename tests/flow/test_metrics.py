"""A running node serves its numbers over HTTP on loopback; what waits for a peer that is away is among them."""

from __future__ import annotations

import asyncio
import urllib.request
from pathlib import Path

from exchange.rpc.serve import running_node
from exchange.rpc.serve.options import ServeOptions
from tests.exchange.status.exposition import Samples, read_exposition
from tests.flow.world import QUICK, World, bulletin, until

A, B = "HK-IMMD", "TH-DSI"


async def scrape(port: int) -> Samples:
    def get() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            return str(answer.read().decode())

    return read_exposition(await asyncio.to_thread(get))


async def test_a_running_node_tells_who_follows_and_what_waits_for_whom(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))
    await world[B].serve(alone=True)
    options = ServeOptions(endpoints=world.endpoints, settings=QUICK, log=world[A].log, metrics_address="127.0.0.1:0")
    world[A].running = running = await running_node.serve(world[A].open(), world[A].keys.node, options)
    world.endpoints[A] = [f"127.0.0.1:{running.peers_port}"]
    try:
        await running.ready()
        port = running.metrics_port
        while not (await scrape(port))["exchange_peer_follows", f'agency="{B}"']:
            await asyncio.sleep(0.05)
        await world[B].stop()
        await world[A].publish(bulletin(A, B))
        await until(lambda: running.following == 0)
        await asyncio.sleep(1.1)
        told = await scrape(port)
        assert told["exchange_peer_follows", f'agency="{B}"'] == 0
        assert told["exchange_peer_follows_since_seconds", f'agency="{B}"'] == 0
        assert told["exchange_peer_waiting", f'agency="{B}"'] == told["exchange_deliveries_waiting", ""] == 1
        assert told["exchange_peer_oldest_waiting_seconds", f'agency="{B}"'] >= 1
        assert told["exchange_windows_days", ""] > 10
    finally:
        await world[A].stop()
        await world[B].stop()
