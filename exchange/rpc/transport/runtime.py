"""What every part of a running node's edge is given: the node, the settings, the clock, the program's log, the counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from exchange.node.node import Node
from exchange.rpc.transport.connections import Connections
from exchange.rpc.transport.limits import Settings
from exchange.rpc.transport.program_log import ProgramLog
from exchange.rpc.transport.refusal_counts import Refusals


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """One node's edge; made once, by ``exchange.rpc.serve.running_node``."""

    node: Node
    settings: Settings
    now_ms: Callable[[], int]  # milliseconds UTC
    log: ProgramLog
    refusals: Refusals
    connections: Connections
