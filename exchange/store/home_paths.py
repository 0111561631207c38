"""The paths of what lies in a node's home."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from audit.log.lock_factory import lock_in
from exchange.store.factory import DEFAULT_STORE, store_in

LOG_FOLDER, PEERS_FOLDER = "log", "peers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Where a home keeps what."""

    home: Path
    engine: str = DEFAULT_STORE  # and the store's name, as the home's settings have them

    @property
    def store(self) -> str:
        """The store's URI."""
        return store_in(self.home, self.engine)

    def store_before(self, epoch: int) -> str:
        """The URI of the store of the epoch before this one."""
        return store_in(self.before(epoch), self.engine)

    @property
    def lock(self) -> str:
        """The lock's URI."""
        return lock_in(self.home)

    @property
    def log(self) -> Path:
        return self.home / LOG_FOLDER

    def before(self, epoch: int) -> Path:
        """Where everything of the epoch before this one lies, as it was found."""
        return self.home / f"before-epoch-{epoch}"

    def peer_checkpoint(self, peer: str) -> Path:
        return self.home / PEERS_FOLDER / peer / "checkpoint"
