"""Where nodes are, as an operator is told of it: an own address that nobody knows, the addresses of a peer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from exchange.acts.directory import endpoints_before
from exchange.node.config import NodeConfig
from exchange.rpc.transport.addresses import in_turn
from exchange.store.store import Reads
from keys.federation import Federation
from keys.identity import AgencyId


def own_address_misfit(home: Path, listen: str, endpoints: Sequence[str], version: int) -> tuple[str, str]:
    """Return what is wrong where no endpoint of our manifest has the port that we listen on, and what to do.

    Two empty texts where nothing is. Whether a name leads here only a peer can tell.

    Args:
        home: The node's.
        listen: host:port, as its settings have it; of port 0 nothing can be said.
        endpoints: Of our manifest.
        version: The manifest's.
    """
    port = _port(listen)
    if port == "0" or port in map(_port, endpoints):
        return "", ""
    told = ", ".join(endpoints) or "no address"
    return (
        f"manifest {version} tells peers {told}, and this node listens at {listen}",
        f"exchange keys make manifest --home {home} --roster ROSTER --manifest MANIFEST_{version} --endpoint HOST:{port}"
        f" --version {version + 1} -o FILE, then exchange node adopt --home {home} FILE",
    )


def addresses_of(peer: AgencyId, federation: Federation, reads: Reads, config: NodeConfig) -> list[str]:
    """Return where a peer is dialled, in the order in which the node does."""
    known, given = federation.manifests.get(peer), config.endpoints.get(peer, ())
    if known is None:
        return in_turn("", given)
    return in_turn("", known.record.endpoints, endpoints_before(reads, known), given)


def _port(address: str) -> str:
    return address.rpartition(":")[2]
