"""Homes as an auditor finds them after a loss: one member goes on in epoch 2, and what it lost lies beside it."""

from __future__ import annotations

from pathlib import Path

from exchange.v1.bulletin_pb2 import Bulletin
from keys.roster import save_signed
from tests.flow.recovering import backup, recover, restore
from tests.flow.test_recover import A, B, C
from tests.flow.world import World, bulletin, until

STAMPED = ("7.note", "7.tsr")
LONG = 120.0  # seconds; hundreds of deliveries on a slow machine


class Homes:
    """Three stopped members; A was restored from a backup and is in epoch 2."""

    def __init__(self, folder: Path, world: World | None = None) -> None:
        self.folder, self._world = folder, world
        self.sent: list[Bulletin] = []  # in epoch 1, by A
        self.got: list[Bulletin] = []  # in epoch 1, by A
        self.crossing = bulletin(A, B, C)  # queued in epoch 1, B's receipt recorded in epoch 2
        self.later: list[Bulletin] = []  # in epoch 2, by A

    @property
    def world(self) -> World:
        """The members themselves, where they were made in this test."""
        assert self._world is not None
        return self._world

    @property
    def roster(self) -> Path:
        return self.folder / "roster"

    @property
    def home(self) -> Path:
        return self.folder / A

    @property
    def before(self) -> Path:
        return self.home / "before-epoch-2"


async def make(folder: Path, count: int = 1) -> Homes:
    """Let A lose what followed a backup; *count* bulletins go each way in either epoch."""
    world = World(folder, (A, B, C))
    homes = Homes(folder, world)
    async with world.serving():
        await world.connected(LONG)
        homes.sent += [bulletin(A, B, C) for _ in range(count)]
        homes.got += [bulletin(B, A) for _ in range(count)]
        await world[A].publish(*homes.sent)
        await world[B].publish(*homes.got)
        await _receipted(world, A, B)
        await world[B].stop()
        await world[A].publish(homes.crossing)
        await until(lambda: _taken(world, C) == count + 1, LONG)
        await world[A].stop()
        backup(world[A], folder.parent / "backup")
        await world[B].start()
        await world[A].start()
        await world.connected(LONG)
        await _receipted(world, A)
        await _witnessed(world)
        await world[A].stop()
        await world[B].publish(bulletin(B, C))  # what B proves anew to A, it proves by a larger size
        await _receipted(world, B)
        restore(world[A], folder.parent / "backup")
        (homes.home / "timestamps").mkdir()
        for name in STAMPED:  # of a size that the next epoch reaches, too
            (homes.home / "timestamps" / name).write_bytes(b"a token of epoch 1")
        await recover(world, A)
        await world[A].start()
        await world.connected(LONG)
        homes.later += [bulletin(A, B, C) for _ in range(count)]
        await world[A].publish(*homes.later)
        await world[B].publish(bulletin(B, A))
        await _receipted(world, A, B)
        await _witnessed(world)
        await world[A].stop()
        await world[B].stop()
    save_signed(homes.roster, world[A].records.roster)
    return homes


def _taken(world: World, peer: str) -> int:
    state = world[A].node.reads.lane(outgoing=True, peer=peer, lane_class=2, epoch=1)
    return state.taken if state is not None else 0


async def _receipted(world: World, *agencies: str) -> None:
    """Wait until all that these have sent is receipted, in their newest epochs."""

    def met() -> bool:
        nodes = [world[each].node for each in agencies]
        lanes = [(node.view.epoch, lane) for node in nodes for lane in node.reads.lanes() if lane.outgoing]
        return all(lane.taken == lane.sequence for epoch, lane in lanes if lane.epoch == epoch)

    await until(met, LONG)


async def _witnessed(world: World) -> None:
    """Wait until A's whole log is cosigned by its quorum."""
    await until(lambda: world[A].node.witnessed[0] == world[A].node.reads.size(), LONG)
