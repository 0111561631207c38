"""Where a peer may be: what its manifests have said, newest first, then what the operator wrote down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from exchange.acts.directory import endpoints_before
from exchange.node.node import Node
from exchange.rpc.transport.channel import DialSettings, Endpoints
from keys.identity import AgencyId

MAX_ADDRESSES = 16  # of one peer, tried one after the other; those of a manifest are at most 8


def in_turn(worked: str, *said: Iterable[str]) -> list[str]:
    """Return each address once, the one that worked last first."""
    every = dict.fromkeys(each for some in said for each in some)
    first = [worked] if worked in every else []
    return [*first, *(each for each in every if each != worked)][:MAX_ADDRESSES]


class Addresses:
    """One node's knowledge of the others' addresses."""

    def __init__(self, node: Node, endpoints: Endpoints) -> None:
        self._node, self._endpoints = node, endpoints
        self._worked: dict[AgencyId, str] = {}
        self._heard: dict[AgencyId, Sequence[str]] = {}
        self._before: dict[AgencyId, tuple[bytes, tuple[str, ...]]] = {}

    def of(self, peer: AgencyId) -> list[str]:
        """Return a peer's addresses in the order in which they are tried.

        The newest manifest's come first, because a peer that has moved says so there; those of manifests before may
        still be right where it has announced the new one ahead of its move.
        """
        given, heard = self._endpoints.get(peer, ()), self._heard.get(peer, ())
        newest = self._node.view.federation.manifests.get(peer)
        worked = self._worked.get(peer, "")
        if newest is None:
            return in_turn(worked, heard, given)
        known = self._before.get(peer)
        if known is None or known[0] != newest.digest:
            known = self._before[peer] = newest.digest, tuple(endpoints_before(self._node.reads, newest))
        return in_turn(worked, heard, newest.record.endpoints, known[1], given)

    def heard(self, peer: AgencyId, endpoints: Sequence[str]) -> None:
        """Note what a manifest says that could not be adopted yet."""
        self._heard[peer] = endpoints

    def worked(self, peer: AgencyId, address: str) -> None:
        """Note where a peer has answered."""
        self._worked[peer] = address


@dataclass(frozen=True, slots=True)
class Dialling:
    """How this node dials the others, and where."""

    settings: DialSettings
    addresses: Addresses
