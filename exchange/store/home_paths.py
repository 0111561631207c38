"""Where a node's home keeps what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DATABASE, LOCK, LOG_FOLDER, PEERS_FOLDER = "node.db", "lock.db", "log", "peers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Where a home keeps what."""

    home: Path

    @property
    def database(self) -> Path:
        return self.home / DATABASE

    @property
    def lock(self) -> Path:
        return self.home / LOCK

    @property
    def log(self) -> Path:
        return self.home / LOG_FOLDER

    def before(self, epoch: int) -> Path:
        """Where everything of the epoch before this one lies, as it was found."""
        return self.home / f"before-epoch-{epoch}"

    def peer_checkpoint(self, peer: str) -> Path:
        return self.home / PEERS_FOLDER / peer / "checkpoint"
