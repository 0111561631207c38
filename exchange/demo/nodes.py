"""The demo's nodes: eighteen in one process and one event loop, over real mutual TLS on loopback.

The event loop has a thread of its own, so that officers' programs, which wait, can run beside it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from exchange.demo.world import DemoAgency, World
from exchange.node.home import open_home
from exchange.node.node import Node
from exchange.rpc.serve.options import ServeOptions
from exchange.rpc.serve.running_node import RunningNode, serve
from exchange.rpc.transport.limits import Settings

START_SECONDS = 600.0  # a start or an end takes seconds; a machine that does much else takes minutes
WITNESS_SECONDS = 300.0  # for the last round; it takes a few
# Eighteen nodes in one process make 306 connections at once; who finds no room comes back soon.
# Every round of cosigning is 306 questions, so there is one at the start, hardly another before the last.
SETTINGS = Settings(retry_most_seconds=2.0, witness_seconds=30.0)
T = TypeVar("T")


class Nodes:
    """Every node of a world, running."""

    def __init__(self, world: World, settings: Settings = SETTINGS) -> None:
        """Open all homes, listen on the ports that were reserved for them, follow one another."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="nodes", daemon=True)
        self._thread.start()
        with ThreadPoolExecutor(2) as pool:
            opened = list(pool.map(_open, world.agencies))
        world.reserved_ports.close()
        self._settings = settings
        self._running = self._run(_serve_all(world.agencies, opened, settings))

    def add(self, agency: DemoAgency) -> None:
        """Run one more node, such as one that was rebuilt."""
        self._running += self._run(_serve_all((agency,), [_open(agency)], self._settings))

    def stop(self) -> None:
        """Drain them all: streams end, everything is committed, the last checkpoints are published and cosigned."""
        self._run(_drain_all(self._running))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def streams(self) -> int:
        """Count the lanes' streams that are open."""
        return sum(each.followed for each in self._running)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(START_SECONDS)


def _open(agency: DemoAgency) -> Node:
    return open_home(agency.home, agency.node_keys)


async def _serve_all(agencies: tuple[DemoAgency, ...], opened: list[Node], settings: Settings) -> list[RunningNode]:
    running = [
        await serve(
            node,
            agency.node_keys,
            ServeOptions(
                peers_address=agency.config.listen,
                desk_address=agency.config.desk,
                endpoints=agency.config.endpoints,
                settings=settings,
            ),
        )
        for agency, node in zip(agencies, opened, strict=True)
    ]
    await asyncio.gather(*(each.ready() for each in running))
    return running


async def _drain_all(running: list[RunningNode]) -> None:
    """Stop in step: as long as one enters or asks anything, all others still answer it."""
    for each in running:
        each.leave()
    await asyncio.gather(*(each.quiesce() for each in running))
    await asyncio.gather(*(each.witness_last(WITNESS_SECONDS) for each in running))
    await asyncio.gather(*(each.drain() for each in running))
