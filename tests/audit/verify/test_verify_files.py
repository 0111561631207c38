"""Verification, file by file: what must be there, what may be, and what is nothing of the log."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.note.checkpoint import VerifierKey
from audit.tiles.tiles import TileFolder
from audit.verify.external_checkpoints import ExternalCheckpoint
from audit.verify.verdict import NOT_CHECKED, REFUTED, Report
from audit.verify.verify import verify_log
from keys.identity import Usage
from keys.signer import Ed25519Signer
from tests.audit.store import ORIGIN

SIZE = 300


def note_of(folder: Path) -> ExternalCheckpoint:
    return ExternalCheckpoint(name="kept.txt", data=(folder / "checkpoint").read_bytes())


def result(report: Report, step: int) -> str:
    return report.steps[step - 1].result


@pytest.fixture
def kept(template: Path) -> ExternalCheckpoint:
    """Return the checkpoint that somebody outside has kept."""
    return note_of(template)


def test_log_vkey_may_be_missing_but_not_contradict_the_key_given(
    folder: Path, key: VerifierKey, kept: ExternalCheckpoint
) -> None:
    (folder / "log.vkey").unlink()
    assert verify_log(folder, key=key, external=[kept]).exit_code == 0
    other = Ed25519Signer.from_seed(Usage.LOG, "HK-SB", bytes(32)).key.public_key
    (folder / "log.vkey").write_text(f"{VerifierKey(name=ORIGIN, key=other)}\n")
    assert result(verify_log(folder, key=key, external=[kept]), 1) == REFUTED


def committed_files(folder: Path) -> list[str]:
    return [name for name in TileFolder(folder).names() if name not in ("checkpoint", "log.vkey")]


@pytest.mark.parametrize(
    "change", ["missing", "empty", "one byte less", "one byte more", "a folder", "a link", "zeros"]
)
def test_every_file_that_the_checkpoint_commits_to_must_be_there_and_right(
    change: str, folder: Path, key: VerifierKey, kept: ExternalCheckpoint
) -> None:
    names = committed_files(folder)
    assert names == ["tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/44"]
    for name in names:
        path = folder / name
        data = path.read_bytes()
        path.unlink()
        if change == "a folder":
            path.mkdir()
        elif change == "a link":
            (folder.parent / "elsewhere").write_bytes(data)
            path.symlink_to(folder.parent / "elsewhere")
        elif change != "missing":
            altered = {
                "empty": b"",
                "one byte less": data[:-1],
                "one byte more": data + b"\0",
                "zeros": bytes(len(data)),
            }
            path.write_bytes(altered[change])
        report = verify_log(folder, key=key, external=[kept])
        assert report.exit_code == 6, name
        assert name.removesuffix("/44").removesuffix("/1").removesuffix(".p") in report.verdict
        path.rmdir() if change == "a folder" else path.unlink(missing_ok=True)
        path.write_bytes(data)
    assert verify_log(folder, key=key, external=[kept]).exit_code == 0  # control


def test_a_file_that_is_nothing_of_the_log_is_named_and_not_read(
    folder: Path, key: VerifierKey, kept: ExternalCheckpoint
) -> None:
    (folder / "tile/0/note.txt").write_text("hello")
    report = verify_log(folder, key=key, external=[kept])
    assert (report.exit_code, result(report, 4)) == (7, NOT_CHECKED)
    assert "tile/0/note.txt" in report.steps[3].detail


def test_tiles_beyond_the_checkpoint_are_left_out_and_counted(
    folder: Path, key: VerifierKey, kept: ExternalCheckpoint
) -> None:
    for name in ("tile/0/002", "tile/1/000", "tile/entries/x001/000"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(bytes(8192))
    report = verify_log(folder, key=key, external=[kept])
    assert report.exit_code == 0
    assert "3 that the checkpoint does not commit to" in report.steps[3].detail


def test_a_socket_in_the_folder_is_refused(folder: Path, key: VerifierKey) -> None:
    before = os.getcwd()
    os.chdir(folder)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("s")
            assert verify_log(folder, key=key).exit_code == 6
    finally:
        os.chdir(before)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_attack_25_any_bytes_in_any_file_are_refuted_in_one_sentence(
    data: st.DataObject, folder: Path, key: VerifierKey, kept: ExternalCheckpoint
) -> None:
    path = folder / data.draw(st.sampled_from(TileFolder(folder).names()))
    before = path.read_bytes()
    # Everything is drawn before anything is changed: a drawing may end the example, and the folder is the next one's.
    cut = data.draw(st.integers(0, len(before)))
    after = before[:cut] + data.draw(st.binary(max_size=200)) + before[data.draw(st.integers(cut, len(before))) :]
    given_key = data.draw(st.sampled_from([key, None]))
    path.write_bytes(after)
    try:
        report = verify_log(folder, key=given_key, external=[kept])
    finally:
        path.write_bytes(before)
    assert report.exit_code == 6 or after == before
    assert "\n" not in report.verdict


def test_a_log_that_grew_while_it_was_read_still_verifies(
    folder: Path, key: VerifierKey, kept: ExternalCheckpoint, make_folder: Callable[[Path, int], Path], tmp_path: Path
) -> None:
    grown = make_folder(tmp_path / "grown", 320)
    (grown / "checkpoint").unlink()
    shutil.copy(folder / "checkpoint", grown / "checkpoint")
    report = verify_log(grown, key=key, external=[kept])
    assert (report.exit_code, report.size) == (0, 300)
