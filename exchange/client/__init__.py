"""The typed library behind the commands and for an agency's own systems; begin at ``exchange.client.client``.

All names that others may use are these. Each is loaded when it is asked for, so that a command which needs the agent
alone starts without gRPC.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # "as" makes it a name of this module's own
    from audit.record.statement import ReadPurpose as ReadPurpose
    from exchange.client.client import Client as Client
    from exchange.client.session import Surroundings as Surroundings
    from exchange.client.values import Composed as Composed
    from exchange.client.values import Exported as Exported
    from exchange.client.values import Hold as Hold
    from exchange.client.values import Opened as Opened
    from exchange.client.values import OwnReading as OwnReading
    from exchange.client.values import Published as Published
    from exchange.client.values import Received as Received
    from exchange.client.values import Sent as Sent
    from exchange.client.values import SentState as SentState
    from exchange.client.values import UnverifiedError as UnverifiedError
    from exchange.rules.complaint import RulesError as RulesError
    from keys.errors import IntegrityError as IntegrityError
    from keys.errors import RefusedError as RefusedError
    from keys.errors import UnavailableError as UnavailableError

_NAMES = {
    "audit.record.statement": ["ReadPurpose"],
    "exchange.client.client": ["Client"],
    "exchange.client.session": ["Surroundings"],
    "exchange.client.values": [
        *("Composed", "Exported", "Hold", "Opened", "OwnReading", "Published", "Received", "Sent", "SentState"),
        "UnverifiedError",
    ],
    "exchange.rules.complaint": ["RulesError"],
    "keys.errors": ["IntegrityError", "RefusedError", "UnavailableError"],
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_MODULES)
