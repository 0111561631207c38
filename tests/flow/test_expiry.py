"""Nodes that start after the end of a record: founded days ago, with what ended meanwhile. Real files, real mutual TLS."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import grpc.aio
import pytest

from audit.entry.entry import Kind
from exchange.acts.directory import RecordKind
from exchange.demo.federation import FoundedFederation
from exchange.rpc.transport import status
from exchange.rules.catalogue import packaged_catalogue
from exchange.v1 import node_pb2
from keys.agency import AHEAD_DAYS, TLS_FILE, AgencyKeys, KeyPlan, make_agency, save_agency
from keys.ceremony import (
    RecordHead,
    RosterTerms,
    agency_key_sheet,
    make_manifest,
    make_roster_1,
    member_of,
    sign_roster,
)
from keys.durations import DAY_MS
from keys.errors import RefusedError
from keys.identity import AgencyId, federation_id
from keys.key_files import load_node
from keys.roster import catalogue_digest
from tests.flow.world import FEDERATION, PEOPLE, Member, World, bulletin, until

A, B, C = "HK-IMMD", "TH-DSI", "TW-NHRC"
PASSPHRASE = b"correct horse"
FOUNDED_DAYS_AGO = 4


@dataclass
class Keyed(Member):
    """A member whose keys lie in its home, founded some days ago."""

    @property
    def keys(self) -> AgencyKeys:
        made = super().keys
        return replace(made, node=load_node(self.home, PASSPHRASE)) if (self.home / TLS_FILE).exists() else made

    def make(self, *, introduced: bool = True) -> None:
        save_agency(self.home, self.records.keys[self.agency], lambda _: PASSPHRASE, os.urandom)
        self.records.create_home(
            self.home, self.agency, now_us=founded_ms() * 1000, introduced=introduced, make_state=self.make_state
        )


def founded_ms() -> int:
    return time.time_ns() // 1_000_000 - FOUNDED_DAYS_AGO * DAY_MS


def founded(*, windows: int = 2, manifest_days: int = 365, roster_days: int = 365) -> FoundedFederation:
    """Hold the ceremony four days ago."""
    at_ms = founded_ms()
    made = [
        make_agency(
            AgencyId(each), FEDERATION, PEOPLE, now_ms=at_ms, random_bytes=os.urandom, plan=KeyPlan(windows=windows)
        )
        for each in (A, B, C)
    ]
    roster = make_roster_1(
        [member_of(each) for each in made],
        catalogue_digest=catalogue_digest(packaged_catalogue().files),
        now_ms=at_ms,
        terms=RosterTerms(valid_ms=roster_days * DAY_MS),
    )
    for each in made:
        assert each.root.roster_root is not None
        roster = sign_roster(roster, each.root.roster_root)
    head = {"federation": federation_id(roster.payload), "now_ms": at_ms, "valid_ms": manifest_days * DAY_MS}
    manifests = {
        each.agency: make_manifest(
            each.root.root,
            RecordHead(agency=each.agency, **head),
            operations=[each.operations],
            officers=[officer.entry for officer in each.officers],
            endpoints=["127.0.0.1:1"],
        )
        for each in made
    }
    sheets = {each.agency: agency_key_sheet(each, roster, at_ms) for each in made}
    return FoundedFederation(
        keys={each.agency: each for each in made}, roster=roster, manifests=manifests, key_sheets=sheets
    )


def days_ahead(member: Member) -> float:
    keys = member.node.view.federation.key_sheets[member.agency].record.encryption_keys
    return (max(each.until_ms for each in keys) - time.time_ns() // 1_000_000) / DAY_MS


async def started(world: World) -> None:
    """Start all nodes together: nobody is up whom another could ask first."""
    for each in world.members.values():
        await each.serve()
    await asyncio.gather(*(each.running.ready() for each in world.members.values() if each.running is not None))


@pytest.mark.parametrize("roster_days", [365, 2], ids=["roster-in-force", "roster-in-its-grace"])
async def test_nodes_whose_key_sheets_all_ended_find_each_other_and_go_on(tmp_path: Path, roster_days: int) -> None:
    world = World(tmp_path, (A, B, C), member=Keyed, founded=founded(roster_days=roster_days))
    await started(world)
    await world.connected()
    assert all(days_ahead(each) > AHEAD_DAYS for each in world.members.values())
    (result,) = await world[A].publish(bulletin(A, B, C))
    assert not result.HasField("refusal")
    await until(lambda: len(world[A].bodies(Kind.RECEIPT_RECORDED)) == 2)
    async with world[B].desk() as desk:
        inbox = await desk.Inbox(node_pb2.InboxRequest())
        assert len(inbox.items) == 1


async def test_after_the_manifests_have_ended_officers_still_reach_their_node_and_nothing_new_is_published(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, (A, B, C), member=Keyed, founded=founded(windows=30, manifest_days=2))
    await started(world)
    async with world[B].desk() as desk:
        await desk.Inbox(node_pb2.InboxRequest())
        await desk.Profile(node_pb2.ProfileRequest())
    (result,) = await world[A].publish(bulletin(A, B))
    assert result.refusal.code == "MANIFEST_EXPIRED"
    assert "no-key-sheet" in world[A].log.getvalue()


async def test_a_person_whom_the_manifest_names_no_more_is_refused_at_once(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))
    async with world.serving():
        async with world[A].desk() as desk:
            await desk.Inbox(node_pb2.InboxRequest())
        known = world[A].node.view.federation.manifests[world[A].agency].record
        without = tuple(each for each in known.officers if each.id != "officer-1")
        left = make_manifest(
            world[A].keys.root.root,
            RecordHead(
                agency=world[A].agency,
                federation=known.federation_id,
                now_ms=time.time_ns() // 1_000_000,
                version=2,
            ),
            operations=known.operations_keys,
            officers=without,
            endpoints=known.endpoints,
        )
        await world[A].node.adopt(RecordKind.MANIFEST, left)
        async with world[A].desk() as desk:  # pinned still: no new key sheet has come yet
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await desk.Inbox(node_pb2.InboxRequest())
        error = status.error_of(raised.value)
        assert isinstance(error, RefusedError)
        assert error.code == "PEER_UNTRUSTED"


async def test_a_new_manifest_of_a_running_node_has_a_key_sheet_under_it_at_its_peers(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B, C), member=Keyed, founded=founded(windows=30))
    await started(world)
    await world.connected()
    member = world[A]
    known = member.node.view.federation.manifests[member.agency].record
    head = RecordHead(
        agency=member.agency, federation=known.federation_id, now_ms=time.time_ns() // 1_000_000, version=2
    )
    without = tuple(each for each in known.officers if each.id != "officer-1")
    signed = make_manifest(
        member.keys.root.root, head, operations=known.operations_keys, officers=without, endpoints=known.endpoints
    )
    await member.node.adopt(RecordKind.MANIFEST, signed)

    def sheet_at(other: str) -> tuple[int, int, set[str]]:
        sheet = world[other].node.view.federation.key_sheets[member.agency].record
        return sheet.manifest_version, sheet.version, {each.owner for each in sheet.pins}

    await until(lambda: all(sheet_at(each)[:2] == (2, 1) for each in (A, B, C)))
    assert sheet_at(B)[2] == {A, f"{A}/robot-1"}
    assert all(world[each].bodies(Kind.OWN_KEY_MISUSE) == [] for each in (A, B, C))
