"""Members that are found by their manifests alone, so that a test can move one, or make one that nobody can dial."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exchange.demo.federation import NOWHERE, found_federation
from exchange.node.node import Node
from exchange.rpc.serve import running_node
from exchange.rpc.serve.running_node import RunningNode
from keys.ceremony import RecordHead, make_manifest
from keys.dsse import SignedPayload
from keys.identity import federation_id
from keys.manifest import parse_manifest
from tests.flow.world import _RUNNING, MADE_MS, QUICK, Member, World, keys_of


@dataclass
class MovingMember(Member):
    """One agency whose node listens where it is told to."""

    address: str = ""

    async def serve(self, *, alone: bool = False, node: Node | None = None) -> RunningNode:
        """Serve at the present address; nobody is told where that is, and nothing but manifests says where others are."""
        self.running = await running_node.serve(
            node or self.open(),
            self.keys.node,
            running_node.ServeOptions(
                peers_address=self.address, endpoints={}, settings=self.settings, log=self.log, alone=alone
            ),
        )
        _RUNNING.append(self.running)
        return self.running

    def move(self) -> None:
        """Take another address; in force with the next start."""
        self.address = free_address()


def free_address() -> str:
    """Return an address on loopback at which nobody listens now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{found.getsockname()[1]}"


def moving_world(folder: Path, agencies: Sequence[str], *, hidden: Sequence[str] = ()) -> World:
    """Found a federation whose manifests say where each node is, but for those that nobody can dial."""
    at = {agency: free_address() for agency in agencies}
    shown = {agency: NOWHERE if agency in hidden else address for agency, address in at.items()}
    founded = found_federation([keys_of(agency) for agency in agencies], now_ms=MADE_MS, endpoints=shown)
    world = World(folder, agencies, settings=QUICK, member=MovingMember, founded=founded)
    for agency, address in at.items():
        mover(world, agency).address = address
    return world


def mover(world: World, agency: str) -> MovingMember:
    """Return a member of such a world."""
    found = world[agency]
    assert isinstance(found, MovingMember)
    return found


def manifest(
    member: Member, version: int, *, endpoints: Sequence[str] = (), people: Sequence[str] | None = None, shift: int = 0
) -> SignedPayload:
    """Sign a further manifest of a member, with other endpoints or with some of its people."""
    first = parse_manifest(member.records.manifests[member.agency].payload)
    head = RecordHead(
        agency=member.agency,
        federation=federation_id(member.records.roster.payload),
        now_ms=time.time_ns() // 1_000_000 + shift,
        version=version,
    )
    return make_manifest(
        member.keys.root.root,
        head,
        operations=[member.keys.operations],
        officers=[each for each in first.officers if people is None or each.id in people],
        endpoints=endpoints or first.endpoints,
    )
