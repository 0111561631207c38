"""What followers cost a node: memory with 32 of them, memory over many bulletins, CPU a bulletin for one more.

The followers are bare streams from this process: they say where their lanes stand, read, and give no receipts, so the
node's part is all there is.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from bench.federation import SENDER, Federation, bulletins, found
from bench.fleet import Fleet, running
from bench.machine import NAMED_US
from bench.recipients import fit
from bench.setting import Setting
from bench.table import LESS, Row
from exchange.rpc.transport.channel import peer_channel
from exchange.rules import packaged_catalogue
from exchange.v1 import node_pb2, node_pb2_grpc
from keys.certificate import node_name, private_pem

CROWD, ADDRESSED = 32, 13  # followers; agencies that a bulletin goes to, which are in the catalogue
STEPS, ROUNDS, NUMBER = (1, 5, 9, 13), 6, 96
SIZE, ROUTINE = 2048, 2
FLAT, FLAT_FULL = 2_000, 100_000  # bulletins over which memory is watched


def measure(setting: Setting) -> list[Row]:
    """Start a node in a federation of 33 and follow it 32 times."""
    known = sorted(set(packaged_catalogue().agencies) - {SENDER})[:ADDRESSED]
    crowd = (*known, *(f"XX-BENCH{place:02d}" for place in range(CROWD - len(known))))
    made = found(setting.scratch("crowd"), (SENDER, *crowd), homes=(SENDER,))
    with running(made, SENDER) as fleet:
        alone = fleet.sender.ask("stat")["mib"]
        crowded = asyncio.run(_crowded(fleet, made, crowd))
        slow = setting.machine.slowness()
        slope = asyncio.run(_slope(setting, fleet, made, known))
        first, last, number = asyncio.run(_flat(setting, fleet, known[:2]))
    asked: dict[str, Any] = {"unit": "MiB", "share_unit": "MiB", "must": 120, "aim": 80, "better": LESS}
    grown = f"from {first:.0f} to {last:.0f} MiB over {number:,} bulletins"
    if not setting.full:
        grown += f"; --full takes {FLAT_FULL:,}"
    return [
        Row(what="node memory after start", product=alone, share=alone, memory_mib=alone, **asked),
        Row(what=f"node memory with {CROWD} followers", product=crowded, share=crowded, memory_mib=crowded, **asked),
        Row(what="node memory after many bulletins", product=last, share=last, memory_mib=last, note=grown, **asked),
        Row(what="server CPU a further follower", unit="µs", product=slope, share=slope / slow, share_unit="µs", must=40,
            aim=25, better=LESS, cpu_us=slope, bound_cpu_us=NAMED_US * slow,
            note=f"{ADDRESSED} addressed, {STEPS[0]} to {STEPS[-1]} of them connected; least squares, best of {ROUNDS} each"),
    ]  # fmt: skip


async def _crowded(fleet: Fleet, made: Federation, crowd: tuple[str, ...]) -> float:
    async with AsyncExitStack() as stack:
        for agency in crowd:
            await _follow(stack, fleet, made, agency, {})
        await asyncio.sleep(1)
        stat = fleet.sender.ask("stat")
        assert stat["following"] == CROWD
        return float(stat["mib"])


async def _slope(setting: Setting, fleet: Fleet, made: Federation, known: list[str]) -> float:
    """Address all of them each time; connect more and more."""
    best: dict[int, float] = {}
    await _publish(setting, fleet, known, NUMBER)
    for count in STEPS * ROUNDS:
        async with AsyncExitStack() as stack:
            stat = fleet.sender.ask("stat")
            calls = [await _follow(stack, fleet, made, each, stat) for each in known[:count]]
            before = fleet.sender.ask("stat")["cpu"]
            reading = [asyncio.create_task(_read(call, NUMBER)) for call in calls]
            await _publish(setting, fleet, known, NUMBER)
            await asyncio.gather(*reading)
            cpu = (fleet.sender.ask("stat")["cpu"] - before) / NUMBER * 1e6
            best[count] = min(cpu, best.get(count, cpu))
    return fit(best)


async def _flat(setting: Setting, fleet: Fleet, to: list[str]) -> tuple[float, float, int]:
    number = FLAT_FULL if setting.full else FLAT
    first = 0.0
    for done in range(0, number, 500):
        await _publish(setting, fleet, to, 500)
        if done == 0:  # caches are filled now
            first = fleet.sender.ask("stat")["mib"]
    return first, fleet.sender.ask("stat")["mib"], number


async def _publish(setting: Setting, fleet: Fleet, to: list[str], number: int) -> None:
    await fleet.publish(bulletins(number, SIZE, *to, first=setting.serials(number)))


async def _follow(stack: AsyncExitStack, fleet: Fleet, made: Federation, agency: str, stat: dict[str, Any]) -> Any:
    """Open a stream as an agency's node would, from the lane's end on."""
    keys, server = made.keys[agency], made.keys[SENDER]
    pem = private_pem(keys.node.tls_private)
    name = node_name(server.agency, server.application.federation_name)
    address = f"127.0.0.1:{fleet.sender.ports['peers']}"
    channel = await stack.enter_async_context(peer_channel(address, server.authority.der, keys.tls_leaf, pem, name))
    call: Any = node_pb2_grpc.LaneStub(channel).Follow()
    start = node_pb2.FollowStart()
    if sequence := stat.get("sent", {}).get(agency, 0):
        lane = start.lanes.add(epoch=1, sequence=sequence, delivery_digest=bytes.fromhex(stat["tips"][agency]))
        setattr(lane, "class", ROUTINE)
    await call.write(node_pb2.FollowRequest(start=start))
    await call.read()
    stack.callback(call.cancel)
    return call


async def _read(call: Any, number: int) -> None:
    """Read so many deliveries."""
    while number > 0:
        response = await call.read()
        number -= len(response.batch.parcels)
