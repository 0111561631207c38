"""Who is connected, since when, and what it ended with: what only a running node knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from keys.identity import AgencyId


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The streams with one peer in both directions; milliseconds UTC, 0 where there is nothing to tell."""

    follows_since_ms: int = 0  # its stream to us is open since
    follows_until_ms: int = 0  # its last one ended
    followed_since_ms: int = 0  # the same of our stream to it
    followed_until_ms: int = 0
    address: str = ""  # where we dialled it last
    refusal: str = ""  # a code: what our last attempt to follow it ended with
    refused_ms: int = 0

    @property
    def is_open(self) -> bool:
        """Return whether there is a stream in either direction."""
        return bool(self.follows_since_ms or self.followed_since_ms)


NEVER = Connection()


class Connections:
    """One node's, of this run."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._known: dict[AgencyId, Connection] = {}
        self.started_ms = now_ms()
        self.on_follow: list[Callable[[AgencyId], None]] = []  # told who has begun to follow us

    def of(self, peer: AgencyId) -> Connection:
        """Return what is known of a peer."""
        return self._known.get(peer, NEVER)

    @property
    def count(self) -> int:
        """Count the peers with a stream in either direction."""
        return sum(each.is_open for each in self._known.values())

    def follows(self, peer: AgencyId) -> None:
        """Note that its stream to us has begun."""
        self._known[peer] = replace(self.of(peer), follows_since_ms=self._now_ms())
        for tell in self.on_follow:
            tell(peer)

    def left(self, peer: AgencyId) -> None:
        """Note that it has ended."""
        self._known[peer] = replace(self.of(peer), follows_since_ms=0, follows_until_ms=self._now_ms())

    def followed(self, peer: AgencyId) -> None:
        """Note that our stream to it has begun."""
        self._known[peer] = replace(self.of(peer), followed_since_ms=self._now_ms(), refusal="", refused_ms=0)

    def parted(self, peer: AgencyId) -> None:
        """Note that it has ended; nothing where there was none."""
        known = self.of(peer)
        if known.followed_since_ms:
            self._known[peer] = replace(known, followed_since_ms=0, followed_until_ms=self._now_ms())

    def dialled(self, peer: AgencyId, address: str) -> None:
        """Note where we dial it."""
        self._known[peer] = replace(self.of(peer), address=address)

    def refused(self, peer: AgencyId, code: str) -> None:
        """Note what an attempt to follow it ended with."""
        self._known[peer] = replace(self.of(peer), refusal=code, refused_ms=self._now_ms())

    def silent_since_ms(self, peer: AgencyId) -> int:
        """Return since when the peer has not followed us, at the earliest since this run began; 0 while it does."""
        known = self.of(peer)
        return 0 if known.follows_since_ms else known.follows_until_ms or self.started_ms
