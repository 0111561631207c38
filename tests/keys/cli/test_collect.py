"""Eighteen agencies found a federation with one file each way: applications in, the roster out, signed copies in."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from keys.roster import load_signed, verify_first_roster
from tests.keys.cli.test_main import good, typed

CODES = ("AU-AFP", *(f"HK-A{letter}" for letter in "BCDEFGHIJKLMNOPQ"), "TH-DSI")


def plain(*words: object) -> str:
    """Type a command that asks for no passphrase."""
    result = typed(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eighteen")
    (folder / "catalogue").mkdir()
    (folder / "catalogue/policy.yaml").write_text("schema_minor: 0\n")
    for code in CODES:
        names = ("--agency", code, "--federation", "exercise.example", "--officer", "duty")
        good("make", "agency", *names, "-o", folder / code, "--floor", "--windows", 1)
    applications = [folder / code / "application" for code in CODES]
    plain("make", "roster", *applications, "--catalogue", folder / "catalogue", "-o", folder / "roster")
    for code in CODES:  # each signs the copy that it was sent, when it likes
        shutil.copyfile(folder / "roster", folder / f"{code}.roster")
        assert "1 of 18 roots" in good("sign", "roster", folder / f"{code}.roster", "--home", folder / code, "--yes")
    return folder


def test_copies_that_were_signed_apart_are_the_roster_that_all_have_signed(folder: Path, tmp_path: Path) -> None:
    copies = [folder / f"{code}.roster" for code in CODES]
    assert "18 of 18 roots have signed" in plain("collect", *copies, "-o", tmp_path / "roster")
    signed = load_signed(tmp_path / "roster")
    assert len(verify_first_roster(signed).members) == 18
    assert signed.payload == load_signed(folder / "roster").payload
    assert "17 of 18" in plain("collect", *copies[1:], copies[1], folder / "roster", "-o", tmp_path / "part")


def test_another_roster_among_them_is_named(folder: Path, tmp_path: Path) -> None:
    applications = [folder / code / "application" for code in CODES[1:]]
    plain("make", "roster", *applications, "--catalogue", folder / "catalogue", "-o", tmp_path / "other")
    answer = typed("collect", folder / "roster", tmp_path / "other", "-o", tmp_path / "new")
    assert answer.exit_code == 2
    assert f"{tmp_path / 'other'} is another roster than {folder / 'roster'}" in answer.stderr
    assert not (tmp_path / "new").exists()


def test_a_copy_whose_signature_was_altered_is_named(folder: Path, tmp_path: Path) -> None:
    data = bytearray((folder / "TH-DSI.roster").read_bytes())
    data[-1] ^= 1
    (tmp_path / "bad").write_bytes(data)
    answer = typed("collect", folder / "AU-AFP.roster", tmp_path / "bad", "-o", tmp_path / "new")
    assert answer.exit_code == 6
    assert str(tmp_path / "bad") in answer.stderr
    assert not (tmp_path / "new").exists()
