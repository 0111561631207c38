"""One node in a process of its own, as a benchmark's parent drives it: a JSON object a line in, one a line out.

Commands: ``endpoints`` (where the others are), ``stat``, ``owed`` (receipts that named peers owe; asked often, so cheap),
``count`` (begin to count primitive calls), ``counts`` (end, and give them), ``stop``.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import counting
from bench.federation import PASSPHRASE
from exchange.node.garbage import collect_rarely
from exchange.node.home import open_node
from exchange.rpc.serve.options import ServeOptions
from exchange.rpc.serve.running_node import RunningNode, serve
from exchange.rpc.transport.limits import Settings

# Quotas keep strangers from flooding a node; here the flood is what is measured.
SETTINGS = Settings(calls_per_second=1e6, calls_burst=1e6, bytes_per_second=1e12, bytes_burst=1e12)


async def run(home: Path) -> None:
    """Serve until told to stop."""
    node, keys = open_node(home, PASSPHRASE)
    node.start()
    collect_rarely()
    endpoints: dict[str, list[str]] = {}
    running = await serve(node, keys, ServeOptions(endpoints=endpoints, settings=SETTINGS))
    _say({"peers": running.peers_port, "desk": running.desk_port})
    with ExitStack() as stack:
        calls: counting.Calls | None = None
        while line := await asyncio.to_thread(sys.stdin.readline):
            command: dict[str, Any] = json.loads(line)
            if "endpoints" in command:
                endpoints.update(command["endpoints"])
                _say({})
            elif "stat" in command:
                _say(_stat(running))
            elif "owed" in command:
                _say({"receipts": _owed(running, command["owed"])})
            elif "count" in command:
                calls = stack.enter_context(counting.counting())
                _say({})
            elif "counts" in command:
                stack.close()
                _say({"counts": [[name, size, number] for (name, size), number in (calls or {}).items()]})
            else:
                break
    await running.drain()
    _say({})


def _stat(running: RunningNode) -> dict[str, Any]:
    node = running.node
    status = Path("/proc/self/status").read_text("ascii")
    memory = next(int(row.split()[1]) for row in status.splitlines() if row.startswith("VmRSS:"))
    lanes = node.reads.lanes()
    return {
        "cpu": time.process_time(),
        "mib": memory / 1024,
        "groups": node.writer.groups,
        "size": node.reads.size(),
        "witnessed": node.witnessed[0],
        "followed": running.followed,
        "following": running.following,
        "taken": {each.peer: each.taken for each in lanes if each.outgoing},
        "sent": {each.peer: each.sequence for each in lanes if each.outgoing},
        "tips": {each.peer: each.digest.hex() for each in lanes if each.outgoing},
    }


def _owed(running: RunningNode, peers: list[str]) -> int:
    lanes = running.node.reads.lanes()
    return sum(each.sequence - each.taken for each in lanes if each.outgoing and each.peer in peers)


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1])))
