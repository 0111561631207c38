"""The drills of ``docs/drills.md`` that no other test types: a stolen node, a stolen laptop; and that all are tests."""

from __future__ import annotations

import ast
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import grpc.aio
import pytest

from exchange.acts.directory import RecordKind
from exchange.acts.stored_bulletin import open_content
from exchange.node.rollback_check import RolledBackError
from keys import dsse
from keys.dsse import SignedPayload
from keys.manifest import parse_manifest
from tests.flow.recovering import recover
from tests.flow.test_recover import A, B, C, all_receipted
from tests.flow.world import QUICK, Member, World, bulletin, bulletin_id, until

ROOT = Path(__file__).resolve().parents[2]
DRILLS = ROOT / "docs/drills.md"


def without(member: Member, person: str) -> SignedPayload:
    """Do what whoever keeps the root does: a new manifest in which somebody is not any more."""
    before = parse_manifest(member.records.manifests[member.agency].payload)
    officers = tuple(each for each in before.officers if each.id != person)
    made = replace(before, version=2, issued_ms=time.time_ns() // 1_000_000, officers=officers)
    return dsse.sign(made.encode(), ("manifest", member.keys.root.root))


async def test_a_stolen_node_that_is_started_signs_nothing_behind_the_new_epoch(tmp_path: Path) -> None:
    world = World(tmp_path / "world", (A, B, C))
    async with world.serving():
        await world.connected()
        sent = bulletin(A, B)
        await world[A].publish(sent)
        await all_receipted(world, A)
        await world[A].stop()
        stolen = Member(
            world[A].agency, shutil.copytree(world[A].home, tmp_path / "thief"), world[A].records, {}, QUICK
        )
        await recover(world, A)
        await world[A].start()
        await world.connected()
        await until(lambda: all(world[each].node.view.newest_epoch(world[A].agency) == 2 for each in (B, C)))
        for other in (B, C):
            stolen.endpoints[other] = world.endpoints[other]
        running = await stolen.serve()
        try:
            with pytest.raises(RolledBackError):
                await running.ready()
        finally:
            await stolen.stop()
        more = bulletin(A, B)
        await world[A].publish(more)
        await all_receipted(world, A)


async def test_a_stolen_laptop_opens_nothing_more_and_what_its_owner_wrote_stays_readable(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))
    async with world.serving():
        await world.connected()
        written = bulletin(A, B)
        await world[A].publish(written)
        await all_receipted(world, A)
        node = world[A].node
        await node.adopt(RecordKind.MANIFEST, without(world[A], "officer-1"))
        with pytest.raises(grpc.aio.AioRpcError, match="HK-SB/officer-1 is not in the manifest"):
            await world[A].publish(bulletin(A, B))
        for name in (A, B):
            reads = world[name].node.reads
            kept = reads.find(A, bulletin_id(written))
            assert kept is not None
            content = reads.content(kept.entry_index)
            assert content is not None
            assert open_content(content, kept, world[name].node.view.storage).payload


def drills() -> Sequence[tuple[str, str]]:
    """Return each drill's heading and its text."""
    parts = re.split(r"^## \d+\. ", DRILLS.read_text(), flags=re.M)[1:]
    return [(part.partition("\n")[0], part) for part in parts]


def test_each_drill_is_a_test_or_says_that_it_waits_for_the_second_roster() -> None:
    assert len(drills()) == 11
    for heading, text in drills():
        named = re.findall(r"`(tests/[a-z_/]+\.py)::(test_[a-z0-9_]+)`", text)
        assert named or "Comes with the second roster" in text, heading
        for path, name in named:
            tree = ast.parse((ROOT / path).read_text())
            found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
            assert name in found, (heading, path, name)
