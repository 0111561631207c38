"""A part of a log is verified as that part: by its bundle, from an older checkpoint on, or both."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.note.checkpoint import VerifierKey
from audit.tiles.bundle_folder import BundleFolder
from audit.verify.bundle import check_bundle, refused, with_steps
from audit.verify.external_checkpoints import ExternalCheckpoint
from audit.verify.incremental import verify_incremental
from audit.verify.verdict import Report
from audit.verify.verify import verify_log
from keys.errors import RefusedError
from tests.audit.big_log import SIZE, step
from tests.audit.bundles import make, members_of, put, remake
from tests.audit.cli import typed

# ------------------------------------------------------------------ parts

ROOT = Path(__file__).resolve().parents[3]


def test_a_part_of_a_log_is_verified_as_a_part(
    big: Path, tmp_path: Path, key: VerifierKey, old: Callable[[int], ExternalCheckpoint]
) -> None:
    part = make(big, tmp_path / "part.audit", 300, 600)
    folder = BundleFolder(part)
    assert folder.stored(SIZE) == (256, 768)
    assert not folder.is_whole()
    report = verify_incremental(part, key=key, external=[old(900)])
    assert (report.exit_code, report.verdict) == (7, "verified, of entries 256 to 767 alone")
    assert step(report, 3) == (
        "not checked",
        "512 entries, 256 to 767, each chained to the one before; 588 entries are not here, only their hashes",
    )
    assert [step(report, number)[0] for number in (4, 5, 7)] == ["ok"] * 3
    whole = make(big, tmp_path / "whole.audit")
    assert verify_incremental(whole, key=key, external=[old(900)]).exit_code == 0  # control


def test_the_new_part_alone_is_all_that_is_needed_since_an_old_checkpoint(
    big: Path, tmp_path: Path, key: VerifierKey, old: Callable[[int], ExternalCheckpoint]
) -> None:
    part = make(big, tmp_path / "part.audit", 600)
    report = verify_incremental(part, old=old(900), key=key)
    assert (report.exit_code, report.verdict) == (0, "verified")
    part = make(big, tmp_path / "tight.audit", 900)
    report = verify_incremental(part, old=old(900), key=key)
    assert (report.exit_code, step(report, 6)[0]) == (7, "not checked")
    assert "refer to entries that are not here" in step(report, 6)[1]
    report = verify_incremental(part, old=old(700), key=key)  # control: entries 700 to 767 are not in it
    assert (report.exit_code, report.verdict) == (7, "verified, of entries 768 to 1,099 alone")


@pytest.mark.parametrize("name", ["tile/0/000", "tile/0/004.p/76", "tile/1/000.p/4", "tile/entries/001"])
def test_each_tile_of_a_part_is_checked(name: str, big: Path, tmp_path: Path, key: VerifierKey) -> None:
    members = members_of(make(big, tmp_path / "part.audit", 300, 600))
    data = members[name]
    for offset in (3, len(data) // 2, len(data) - 1):
        members[name] = data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]
        report = verify_incremental(put(tmp_path / "x.audit", members), key=key)
        assert report.exit_code == 6, (name, offset)


@pytest.mark.parametrize("missing", ["tile/0/000", "tile/1/000.p/4", "tile/entries/001", "checkpoint", "log.vkey"])
def test_a_bundle_without_what_it_must_hold_is_refuted(
    missing: str, big: Path, tmp_path: Path, key: VerifierKey
) -> None:
    members = members_of(make(big, tmp_path / "whole.audit"))
    del members[missing]
    write = put if missing == "checkpoint" else lambda path, rest: remake(path, rest, 0, SIZE)
    path = write(tmp_path / "x.audit", members)
    code, told = run(path, "--key", str(key))
    assert code == 6
    assert missing in json.dumps(told)


def run(path: Path, *words: str) -> tuple[int, dict[str, object]]:
    done = typed.run("verify", "--json", path, *words)
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("evil", b""),
        ("tile/0/999", bytes(8192)),
        ("tile/7/000", bytes(8192)),
        ("tile/entries/009", b"x"),
        ("tile/0/000.p/9", bytes(9 * 32)),
        ("tile/0/003.p/3", bytes(3)),
        ("checkpoint2", b""),
        ("schema/other", b""),
        ("peers/x/checkpoint", b""),
        ("schema/kinds.tsv", b"x" * (2 << 20)),
        ("receipts/receipts.tsv", b"1\t2\ta/log/1\t3\n"),
    ],
)
def test_a_member_that_no_bundle_holds_is_named(
    name: str, data: bytes, big: Path, tmp_path: Path, key: VerifierKey
) -> None:
    members = members_of(make(big, tmp_path / "whole.audit"))
    path = remake(tmp_path / "x.audit", {**members, name: data}, 0, SIZE)
    code, told = run(path, "--key", str(key))
    assert code == 6
    assert name in str(told["verdict"])


def test_random_damage_never_ends_in_0_or_in_a_traceback(
    big: Path, tmp_path: Path, key: VerifierKey, old: Callable[[int], ExternalCheckpoint]
) -> None:
    """One process a case is slow: the steps are called here as the command calls them, the command itself thrice."""
    good = make(big, tmp_path / "whole.audit").read_bytes()
    dice = random.Random(7)
    path = tmp_path / "x.audit"

    def judge(data: bytes) -> Report:
        path.write_bytes(data)
        try:
            folder = BundleFolder(path)
        except RefusedError as error:
            return refused(error)
        verify = verify_log if folder.is_whole() else verify_incremental
        return with_steps(verify(path, key=key, external=[old(900)]), check_bundle(folder, None))

    assert judge(good).exit_code == 7  # control: keys and policy were compared with nobody's roster
    for case in range(60):
        offset = dice.randrange(len(good))
        cut, flipped = (
            good[:offset],
            good[:offset] + bytes([good[offset] ^ 1 << dice.randrange(8)]) + good[offset + 1 :],
        )
        for data in (cut, flipped):
            report = judge(data)
            assert report.exit_code == 6, (case, offset, report)
            assert "\n" not in report.verdict
    for data in (good[:9999], good[:100], good + b"x"):
        path.write_bytes(data)
        assert run(path)[0] == 6


def test_the_command_takes_an_older_checkpoint(
    big: Path, tmp_path: Path, key: VerifierKey, old: Callable[[int], ExternalCheckpoint]
) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(old(1000).data)
    part = make(big, tmp_path / "part.audit", 1000)
    for path in (big, part):
        code, told = run(path, "--key", str(key), "--from-checkpoint", str(kept))
        assert str(told["verdict"]) == "verified"
        assert code == (0 if path == big else 7)  # of the bundle keys and policy were compared with nobody's roster
    kept.write_text("nonsense")
    assert run(big, "--key", str(key), "--from-checkpoint", str(kept))[0] == 6
    assert run(big, "--key", str(key), "--from-checkpoint", str(tmp_path / "none"))[0] == 5
