"""Evidence for bulletins of an epoch that was lost: what the home still holds proves them, and what does not is said."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from audit.evidence.zip import read_archive
from exchange.evidence.epoch_proofs import EpochLogs
from exchange.evidence.export import export_alone
from exchange.evidence.gather_evidence import evidence_file, find_bulletin, gather
from exchange.v1.bulletin_pb2 import Bulletin
from keys.roster import save_signed
from tests.audit.compare.bundled import exchange, verify
from tests.flow.late import A, B, C, Homes, make
from tests.flow.recovering import destroy, recover
from tests.flow.test_recover import all_receipted
from tests.flow.world import World, bulletin, bulletin_id, until
from tests.support.home_files import DATABASE

COURT = "Court file 4 K 118/26"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Homes:
    return asyncio.run(make(tmp_path_factory.mktemp("late") / "homes"))


@pytest.fixture
def homes(template: Homes, tmp_path: Path) -> Homes:
    """Copy A's home, so that a test may take parts of it away."""
    copy = Homes(tmp_path / "homes")
    copy.sent, copy.got, copy.later, copy.crossing = template.sent, template.got, template.later, template.crossing
    shutil.copytree(template.folder, copy.folder)
    for path in copy.folder.rglob("*"):
        os.chmod(path, 0o755 if path.is_dir() else 0o644)
    return copy


def evidence(home: Path, message: Bulletin, path: Path) -> tuple[int, dict[str, Any]]:
    words = (str(UUID(bytes=bulletin_id(message))), "--home", home, "--purpose", COURT, "--without-content")
    done = exchange("evidence", *words, "-o", path, "--json")
    assert done.stderr.count("\n") <= 1, done.stderr
    return done.returncode, json.loads(done.stdout)


def judged(path: Path, homes: Homes) -> tuple[int, dict[str, str]]:
    code, told = verify(path, "--roster", homes.roster)
    return code, {step["name"]: step["detail"] for step in told["steps"]} | {"verdict": told["verdict"]}


def test_what_was_sent_and_received_before_the_loss_is_proved_by_the_old_log(homes: Homes, tmp_path: Path) -> None:
    for number, message in enumerate((homes.sent[0], homes.got[0], homes.crossing, homes.later[0])):
        path = tmp_path / f"{number}.zip"
        assert evidence(homes.home, message, path)[0] == 0
        code, told = judged(path, homes)
        assert code == 0, told
        assert told["verdict"].startswith("verified, witnessed to ")
        epoch = 2 if message is homes.later[0] else 1
        assert f"in the log hk-sb.exercise.example/log/{epoch}" in told["log"]


def test_a_receipt_that_came_after_the_loss_is_in_the_evidence_of_what_was_sent_before(
    homes: Homes, tmp_path: Path
) -> None:
    evidence(homes.home, homes.crossing, tmp_path / "crossing.zip")
    code, told = judged(tmp_path / "crossing.zip", homes)
    assert code == 0
    assert told["receipts"].startswith("2 in the recipients' own logs")
    assert "and later epochs of it, hk-sb.exercise.example/log/2" in told["log"]
    members = read_archive((tmp_path / "crossing.zip").read_bytes())
    assert f"manifests/{A}-2.signed" in members, "it says where epoch 1 ended"


def test_where_the_old_logs_files_are_lost_its_database_and_our_own_receipts_prove_it(
    homes: Homes, tmp_path: Path
) -> None:
    shutil.rmtree(homes.before / "log")
    for number, message in enumerate((homes.sent[0], homes.got[0])):
        path = tmp_path / f"{number}.zip"
        code, told = evidence(homes.home, message, path)
        assert code == 0, told
        code, steps = judged(path, homes)
        assert code == 7, steps
        assert steps["verdict"] == "verified, without content; not checked: witnesses", (
            "a receipt has the log's own line"
        )


def test_what_nothing_proves_any_more_is_named_with_who_may_hold_it(homes: Homes, tmp_path: Path) -> None:
    shutil.rmtree(homes.before / "log")
    code, told = evidence(homes.home, homes.crossing, tmp_path / "none.zip")
    assert code == 5
    said = json.dumps(told)
    assert "before-epoch-2 has the entry, but no checkpoint" in said
    assert f"Its recipients' own logs prove that they received it: {B}, {C} can write evidence for it" in said
    for path in homes.before.glob(f"{DATABASE}*"):
        path.unlink()
    code, told = evidence(homes.home, homes.got[0], tmp_path / "none.zip")
    assert code == 5
    said = json.dumps(told)
    assert "before-epoch-2/log and before-epoch-2/node.db hold 0 entries of that epoch" in said
    assert f"{B} sent it, and its own log proves that" in said
    assert not (tmp_path / "none.zip").exists()
    assert evidence(homes.home, homes.later[0], tmp_path / "later.zip")[0] == 0  # control: the new epoch is whole


def test_old_files_that_were_altered_prove_nothing(homes: Homes, tmp_path: Path) -> None:
    for path in (homes.before / "log/tile/0").rglob("*"):
        if path.is_file():
            path.write_bytes(bytes(len(path.read_bytes())))
    code, told = evidence(homes.home, homes.sent[0], tmp_path / "none.zip")
    assert (code, "no checkpoint" in json.dumps(told)) == (5, True), told


def bent(line: str) -> str:
    """Change one character of a signature line, which stays well-formed."""
    return f"{line[:-20]}{'A' if line[-20] != 'A' else 'B'}{line[-19:]}"


def test_a_false_line_that_a_member_gave_back_does_not_spoil_the_evidence(homes: Homes, tmp_path: Path) -> None:
    for path in (homes.before / "log").glob("[cw]*"):
        if path.name in ("checkpoint", "witnessed"):
            lines = path.read_text().splitlines(keepends=True)
            false = [bent(line) if "tw-nhrc" in line else line for line in lines]
            path.write_text("".join(false))
    evidence(homes.home, homes.sent[0], tmp_path / "file.zip")
    code, told = judged(tmp_path / "file.zip", homes)
    assert code in (0, 7), told
    assert "refuted" not in told["verdict"]


async def test_content_of_an_earlier_epoch_is_taken_out_and_logged_in_the_newest(tmp_path: Path) -> None:
    homes = await make(tmp_path / "homes")
    world = homes.world
    for message in (homes.sent[0], homes.got[0]):
        node = world[A].open()
        try:
            stored = find_bulletin(node.reads, str(UUID(bytes=bulletin_id(message))))
            shown = export_alone(node, stored, COURT)
        finally:
            node.stop()
        node = world[A].open()
        try:
            core, left = gather(node.reads, EpochLogs(world[A].home, node.reads), stored, purpose=COURT, shown=shown)
        finally:
            node.stop()
        assert left == []
        path = tmp_path / f"{stored.bulletin_id.hex()}.zip"
        path.write_bytes(evidence_file(core))
        code = exchange("verify", "--json", path, "--roster", homes.roster)
        assert code.returncode == 0, code.stdout
        told = {step["name"]: step["detail"] for step in json.loads(code.stdout)["steps"]}
        assert f"logged as entry {shown.exported_index} before it was opened" in told["export"]


async def test_after_a_fire_what_members_gave_back_is_proved_in_the_new_epoch(tmp_path: Path) -> None:
    world = World(tmp_path / "homes", (A, B, C))
    sent, got = bulletin(A, B, C), bulletin(B, A)
    async with world.serving():
        await world.connected()
        await world[A].publish(sent)
        await world[B].publish(got)
        await all_receipted(world, A, B)
        await world[A].stop()
        destroy(world[A])
        await recover(world, A)
        await world[A].start()
        await world.connected()
        await until(lambda: world[A].node.reads.find(B, bulletin_id(got)) is not None)
        await until(lambda: world[A].node.witnessed[0] == world[A].node.reads.size())
    homes = Homes(tmp_path / "homes")
    save_signed(homes.roster, world[A].records.roster)
    for number, message in enumerate((sent, got)):
        path = tmp_path / f"{number}.zip"
        code, told = evidence(homes.home, message, path)
        assert code == 0, told
        code, steps = judged(path, homes)
        assert code == 0, steps
