"""``exchange node adopt`` on a running node: no passphrase, any order, one line a file, each wholly or not at all."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from exchange.cli.main import run
from exchange.cli.operator.node_check import away, exit_code
from exchange.node.home import occupy
from keys import dsse
from keys.agency import make_agency
from keys.ceremony import RecordHead, make_key_sheet, window_keys
from keys.dsse import SignedPayload
from keys.identity import AgencyId, federation_id
from keys.key_sheet import PinKind, parse_key_sheet
from keys.manifest import LogEpoch, parse_manifest
from tests.flow.moving import manifest
from tests.flow.test_admin import adopt
from tests.flow.test_records import sheet, version
from tests.flow.world import FEDERATION, MADE_MS, PEOPLE, QUICK, Member, World, bulletin, keys_of, records, until

A, B, C = "HK-IMMD", "TH-DSI", "TW-NHRC"
Captured = pytest.CaptureFixture[str]


@asynccontextmanager
async def running(folder: Path, **settings: float) -> AsyncIterator[World]:
    """Run two members, the first in a home as ``exchange node serve`` has it."""
    world = World(folder, (A, B), settings=replace(QUICK, **settings))  # type: ignore[arg-type] # all of them floats
    (world[A].home / "node.toml").write_text(f'agency = "{A}"\n')
    handle = occupy(world[A].home)
    try:
        async with world.serving():
            await world.connected()
            yield world
    finally:
        os.close(handle)


async def typed(home: Path, captured: Captured, *words: object) -> tuple[int, list[str], list[str]]:
    code = await asyncio.to_thread(run, ["node", "adopt", "--home", str(home), *map(str, words)])
    told = captured.readouterr()
    return code, told.out.splitlines(), told.err.splitlines()


def saved(path: Path, signed: SignedPayload) -> Path:
    path.write_bytes(signed.encode())
    return path


async def test_files_in_any_order_are_in_force_without_a_passphrase(tmp_path: Path, capsys: Captured) -> None:
    async with running(tmp_path) as world:
        files = [saved(tmp_path / "sheet", sheet(world[A], 2)), saved(tmp_path / "new", manifest(world[A], 2))]
        code, out, err = await typed(world[A].home, capsys, *files)
        assert (code, err) == (0, [])
        assert out == [
            f"adopted manifest 2 of {A}; in force here, told to 1 connected peer",
            f"adopted key sheet 2 of {A}; in force here, told to 1 connected peer",
        ]
        await until(lambda: version(world[B], A) == 2, 30)
        code, out, _ = await typed(world[A].home, capsys, "--json", *files)
        told = json.loads(out[0])
        assert (code, told["ok"], told["adopted"]) == (0, True, [])
        assert told["known"] == [f"manifest 2 of {A}", f"key sheet 2 of {A}"]


async def test_each_file_that_is_refused_has_one_line_and_the_others_are_adopted(
    tmp_path: Path, capsys: Captured
) -> None:
    async with running(tmp_path) as world:
        good = manifest(world[B], 3)
        cut = tmp_path / "cut"
        cut.write_bytes(good.encode()[:100])
        day_ms = 86_400_000
        files = [
            cut,
            saved(tmp_path / "roster", world[A].records.roster),
            tmp_path / "absent",
            saved(tmp_path / "stranger", records((A, B, C)).manifests[C]),
            saved(tmp_path / "new", good),
            saved(tmp_path / "expired", sheet(world[B], 2, shift=-2 * day_ms, valid_ms=day_ms)),
            saved(tmp_path / "older", manifest(world[B], 2)),
            saved(tmp_path / "other", manifest(world[B], 3, endpoints=["127.0.0.1:2"])),
        ]
        code, out, err = await typed(world[A].home, capsys, *files)
        assert out == [f"adopted manifest {each} of {B}; in force here, told to 1 connected peer" for each in (2, 3)]
        errors = [line for line in err if "error:" in line]
        for name, public in (
            ("cut", "MALFORMED"),
            ("roster", "MALFORMED"),
            ("absent", "no such file"),
            ("stranger", "NOT_A_MEMBER"),
            ("expired", "KEY_SHEET_EXPIRED"),
            ("other", "EQUIVOCATION"),
        ):
            (line,) = [each for each in errors if str(tmp_path / name) in each]
            assert public in line, line
        assert code == 2
        older = saved(tmp_path / "older", manifest(world[B], 2, shift=1))
        code, out, err = await typed(world[A].home, capsys, older)
        assert (code, out) == (2, [])
        assert err == [
            f"exchange: error: {older}: version 2 of {B} is below 3, known here (REPLAYED)",
            "exchange: hint: a newer one is in force here; nothing is to be done",
        ]


async def test_a_record_of_ours_that_the_node_could_not_work_under_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        ours = world[A]
        first = parse_manifest(ours.records.manifests[A].payload)
        opened = LogEpoch(epoch=2, previous_origin=f"{A.lower()}.x/log/1", previous_size=1, previous_root=bytes(32))
        foreign = replace(
            first, version=2, operations_keys=(replace(keys_of(A).operations, key=keys_of(A).officers[0].entry.key),)
        )
        for changed, said in (
            (replace(first, version=2, log_epochs=(*first.log_epochs, opened)), "exchange node recover takes it"),
            (foreign, "WRONG_TYPE"),
        ):
            signed = dsse.sign(changed.encode(), ("manifest", ours.keys.root.root))
            (result,) = await adopt(ours, signed)
            assert said in f"{result.refusal.code} {result.refusal.message}"
        known = parse_key_sheet(ours.records.key_sheets[A].payload)
        people = tuple(each for each in known.pins if each.kind is not PinKind.NODE)
        for signed, code in (
            (sheet(ours, 2, pins=people), "PEER_UNTRUSTED"),
            (with_other_windows(ours), "UNOPENABLE"),
        ):
            (result,) = await adopt(ours, signed)
            assert result.refusal.code == code, result.refusal
        assert version(ours, A) == 1


async def test_status_is_not_green_while_a_peer_stays_away_from_what_waits(tmp_path: Path, capsys: Captured) -> None:
    async with running(tmp_path, silent_seconds=0.2) as world:
        command = ["node", "status", "--home", str(world[A].home)]
        assert await asyncio.to_thread(run, command) == 0
        assert "ALARM" not in capsys.readouterr().out
        await world[B].stop()
        await world[A].publish(bulletin(A, B))
        await until(lambda: "peer-does-not-follow" in world[A].log.getvalue())
        assert await asyncio.to_thread(run, command) == 0
        told = capsys.readouterr().out
        assert re.search(rf"ALARM +{B} has not connected since \d\d:\d\dZ; 1 delivery waits for it", told), told
        (finding,) = await asyncio.to_thread(away, world[A].home)
        assert (finding.name, finding.result, exit_code([finding])) == (B, "FAIL", 7)


def with_other_windows(ours: Member) -> SignedPayload:
    """Sign a key sheet of ours that names windows whose keys lie in another home."""
    again = make_agency(AgencyId(A), FEDERATION, PEOPLE, now_ms=MADE_MS, random_bytes=os.urandom)
    federation = federation_id(ours.records.roster.payload)
    return make_key_sheet(
        ours.keys.node.operations,
        RecordHead(agency=ours.agency, federation=federation, now_ms=MADE_MS, version=2),
        encryption=window_keys(again.node),
        pins=parse_key_sheet(ours.records.key_sheets[A].payload).pins,
    )
