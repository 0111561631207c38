"""How far a log is witnessed, as its node last wrote it down in ``HOME/witnessing.json``.

For whoever looks while the node runs or not, and for the node itself after a restart: since when something waits for
its quorum is not forgotten, and where each witness stands need not be asked again. It is a hint and proves nothing;
what is witnessed stands in ``log/witnessed``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from keys.files import PUBLIC, write_file

STATE_FILE = "witnessing.json"
ALARM_MS = 600_000  # pending for more than ten minutes: docs/log.md, "Witnesses"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """What a node knows of its witnesses."""

    origin: str  # of the log
    quorum: int  # 0 where the roster names no witness
    size: int  # of the newest checkpoint that the quorum has cosigned
    since_ms: int  # since when something published waits for its quorum, milliseconds UTC; 0 where nothing does
    witnesses: Mapping[str, int]  # those that are asked, by name: the size that each cosigned last

    def is_alarming(self, now_ms: int) -> bool:
        """Return whether something has waited too long."""
        return bool(self.since_ms) and now_ms - self.since_ms >= ALARM_MS


def load_pending(home: Path) -> Pending | None:
    """Read the file; None where there is none, or none that we understand."""
    try:
        read = json.loads((home / STATE_FILE).read_text("utf-8"))
        pending = Pending(**read)
        numbers = [pending.quorum, pending.size, pending.since_ms, *pending.witnesses.values()]
    except (FileNotFoundError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    good = isinstance(pending.origin, str) and all(type(each) is int and each >= 0 for each in numbers)
    return pending if good else None


def save_pending(home: Path, state: Pending) -> None:
    """Write the file, whole."""
    text = json.dumps(asdict(state), indent=1) + "\n"
    # Written again with each round; a lost one is as good as none, and the next round makes it.
    write_file(home / STATE_FILE, text.encode(), mode=PUBLIC, replace=True, durable=False)
