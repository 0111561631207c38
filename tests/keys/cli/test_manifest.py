"""``exchange keys make manifest``: what a later manifest takes over from the present one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from keys.dsse import SignedPayload
from keys.epoch import open_epoch
from keys.key_files import load_root
from keys.manifest import LogEpoch, Manifest, parse_manifest
from tests.keys.cli.test_main import folder, good, typed

__all__ = ["folder"]


def read(path: Path) -> Manifest:
    return parse_manifest(SignedPayload.decode(path.read_bytes()).payload)


@pytest.fixture
def home(folder: Path, tmp_path: Path) -> Path:
    """Copy an agency's folder, so that people may come and go in it."""
    return Path(shutil.copytree(folder / "HK-SB", tmp_path / "HK-SB"))


@pytest.fixture
def where(folder: Path, home: Path) -> list[object]:
    return ["--home", home, "--roster", folder / "roster", "--manifest", home / "manifest"]


def test_the_next_manifest_takes_over_people_endpoints_and_epochs(
    home: Path, where: list[object], tmp_path: Path
) -> None:
    before = read(home / "manifest")
    opening = LogEpoch(
        epoch=2, previous_origin="hk-sb.exercise.example/log/1", previous_size=7, previous_root=bytes(32)
    )
    opened = open_epoch(
        load_root(home, b"secret").root,
        SignedPayload.decode((home / "manifest").read_bytes()),
        opening,
        before.issued_ms,
    )
    (home / "manifest").write_bytes(opened.encode())
    shutil.rmtree(home / "officers/chief")  # on the machine of the root some may be absent
    good("make", "officer", "night:reader:1", "--home", home)
    good("make", "manifest", *where, "-o", tmp_path / "next")
    made = read(tmp_path / "next")
    assert (made.version, made.endpoints) == (3, before.endpoints)
    assert made.log_epochs == (*before.log_epochs, opening)
    assert [each.id for each in made.officers] == ["chief", "duty", "gate", "night"]


def test_what_is_typed_comes_before_what_was(home: Path, where: list[object], tmp_path: Path) -> None:
    moved = ["--endpoint", "node.example:7443", "--remove", "duty", "--version", "9"]
    good("make", "manifest", *where, *moved, "-o", tmp_path / "next")
    made = read(tmp_path / "next")
    assert (made.version, made.endpoints) == (9, ("node.example:7443",))
    assert [each.id for each in made.officers] == ["chief", "gate"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--version", "1"], "version 1: the present manifest of HK-SB is 1"),
        (["--remove", "nobody"], "--remove nobody: the present manifest names nobody of that id"),
    ],
)
def test_what_cannot_follow_is_refused_before_a_passphrase_is_asked_for(
    home: Path, where: list[object], tmp_path: Path, words: list[str], said: str
) -> None:
    result = typed("make", "manifest", *where, *words, "-o", tmp_path / "next")
    assert (result.exit_code, said in result.stderr) == (2, True)
    assert not (tmp_path / "next").exists()


def test_the_present_manifest_is_the_agencys_own_and_signed(
    folder: Path,
    home: Path,
    where: list[object],
    tmp_path: Path,
) -> None:
    other = ["--home", folder / "TH-DSI", *where[2:]]
    result = typed("make", "manifest", *other, "-o", tmp_path / "next", "--passphrase-fd", "{fd}")
    assert (result.exit_code, "operations" in result.stderr or "WRONG_MAKER" in result.stderr) == (6, True)
    signed = SignedPayload.decode((home / "manifest").read_bytes())
    payload = signed.payload.replace(b"127.0.0.1:7001", b"127.0.0.1:7002")
    (home / "manifest").write_bytes(SignedPayload(payload=payload, signatures=signed.signatures).encode())
    result = typed("make", "manifest", *where, "-o", tmp_path / "next")
    assert (result.exit_code, "SIGNATURE_INVALID" in result.stderr) == (6, True)
