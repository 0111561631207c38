"""Every single-bit flip of a small log is refuted, with the key given and without."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.checkpoint import VerifierKey
from audit.tiles import TileFolder
from audit.verify import verify_log

SIZE = 24 * int(os.environ.get("EXCHANGE_TEST_SCALE", "1"))  # enough for every kind of entry that a log begins with
HARMLESS: frozenset[tuple[str, int]] = frozenset()  # (file, bit): none is known


@pytest.fixture(scope="module")
def small(make_folder: Callable[[Path, int], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flips") / "log"
    shutil.copytree(make_folder(tmp_path_factory.mktemp("small") / "log", SIZE), folder)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def test_row_19_control_nothing_is_refuted_unflipped(small: Path, key: VerifierKey) -> None:
    assert verify_log(small, key=key).verdict == verify_log(small).verdict == "verified, end not anchored"


@pytest.mark.parametrize("name", ["checkpoint", "log.vkey", f"tile/0/000.p/{SIZE}", f"tile/entries/000.p/{SIZE}"])
def test_row_19_every_single_bit_flip_is_refuted(name: str, small: Path, key: VerifierKey) -> None:
    assert name in TileFolder(small).names()
    assert len(TileFolder(small).names()) == 4
    path = small / name
    data = path.read_bytes()
    flips = 0
    with path.open("r+b", buffering=0) as file:
        for place in range(len(data)):
            for bit in range(8):
                file.seek(place)
                file.write(bytes([data[place] ^ 1 << bit]))
                report = verify_log(small, key=key if bit & 1 else None)
                assert report.exit_code == 6 or (name, 8 * place + bit) in HARMLESS, (name, place, bit, report)
                flips += 1
            file.seek(place)
            file.write(data[place : place + 1])
    assert flips == 8 * len(data)
