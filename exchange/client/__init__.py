"""The typed library behind the commands and for an agency's own systems: ``exchange.client.client``.

Names are loaded when they are asked for, so that a command which needs the agent alone starts without gRPC.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audit.record.statement import ReadPurpose
    from exchange.client.client import Client
    from exchange.client.session import Surroundings
    from exchange.client.values import Composed, Exported, Hold, Opened, Published, Received, Sent, SentState
    from exchange.rules.complaint import RulesError
    from keys.errors import IntegrityError, RefusedError, UnavailableError

__all__ = [
    "Client",
    "Composed",
    "Exported",
    "Hold",
    "IntegrityError",
    "Opened",
    "Published",
    "ReadPurpose",
    "Received",
    "RefusedError",
    "RulesError",
    "Sent",
    "SentState",
    "Surroundings",
    "UnavailableError",
]


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(import_module("exchange.client.client"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
