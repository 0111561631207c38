"""Named places where a test kills the process, to prove what a crash there leaves behind.

``EXCHANGE_FAILPOINT=name:n`` kills at the n-th pass of *name*, without any clean-up, as a power cut would. Without
the variable this is one comparison.
"""

from __future__ import annotations

import os
import signal

NAMES = (
    "before-transaction",
    "inside-transaction",
    "committed-before-receipt",
    "locked-before-signing",
    "signed-before-tiles",
    "peer-acknowledged",
    "opened-committed",
)

_wanted, _left = "", 0


def arm(wanted: str) -> None:
    """Take ``name`` or ``name:n``, as the environment has it at the start; nothing disarms."""
    global _wanted, _left
    _wanted, _, count = wanted.partition(":")
    _left = int(count or 1)


def failpoint(name: str) -> None:
    """Die here if the environment says so."""
    global _left
    if name != _wanted:
        return
    _left -= 1
    if _left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)


arm(os.environ.get("EXCHANGE_FAILPOINT", ""))
