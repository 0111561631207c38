"""Every single-bit flip of a log is refuted: all of a small one; of a thousand entries a sample, in a soak all.

A flip is looked for in the run of entries in which it lies, because a whole verification is made of such runs; a sample
is verified whole, and judged by aics-tlog.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest

from audit.note.checkpoint import VerifierKey
from audit.tiles.tile_names import parse_tile_name
from audit.tiles.tiles import TileFolder
from audit.verify.entry_run import verify_run
from audit.verify.verify import verify_log
from tests.support.scale import SCALE, SLOW
from tests.tlog.asking import Ask, asking
from tests.tlog.cases import altered_case

SMALL, LARGE = 24, 1000  # entries; 24 are enough for every kind that a log begins with
WHOLE = SCALE > 1
SAMPLE = 2000
JUDGED = 10_000 if WHOLE else 200  # flips that aics-tlog judges
HARMLESS: frozenset[tuple[str, int]] = frozenset()  # (file, bit): none is known


def writable(folder: Path) -> Path:
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


@pytest.fixture(scope="module")
def small(make_folder: Callable[[Path, int], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return writable(make_folder(tmp_path_factory.mktemp("small") / "log", SMALL))


@pytest.fixture(scope="module")
def large(make_folder: Callable[[Path, int], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return writable(make_folder(tmp_path_factory.mktemp("large") / "log", LARGE))


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    with asking() as put:
        yield put


def test_row_19_control_nothing_is_refuted_unflipped(small: Path, large: Path, key: VerifierKey) -> None:
    for folder in (small, large):
        assert verify_log(folder, key=key).verdict == verify_log(folder).verdict == "verified, end not anchored"
    for bundle in range(-(-LARGE // 256)):
        assert not verify_run(large, LARGE, bundle, 1).findings


@pytest.mark.parametrize(
    "name",
    [
        "checkpoint",
        "log.vkey",
        pytest.param(f"tile/0/000.p/{SMALL}", marks=SLOW),
        pytest.param(f"tile/entries/000.p/{SMALL}", marks=SLOW),
    ],
)
def test_row_19_every_single_bit_flip_is_refuted(name: str, small: Path, key: VerifierKey) -> None:
    assert name in TileFolder(small).names()
    assert len(TileFolder(small).names()) == 4
    flips = 0
    for offset, bit in flipping(small / name, every((small / name).stat().st_size)):
        report = verify_log(small, key=key if bit & 1 else None)
        assert report.exit_code == 6 or (name, 8 * offset + bit) in HARMLESS, (name, offset, bit, report)
        flips += 1
    assert flips == 8 * (small / name).stat().st_size


@pytest.mark.timeout(3600)
def test_row_19_single_bit_flips_of_a_thousand_entries_are_refuted(large: Path, key: VerifierKey) -> None:
    dice = random.Random(19)
    names = TileFolder(large).names()
    bits = sum(8 * (large / name).stat().st_size for name in names)
    flips = 0
    for name in names:
        size = (large / name).stat().st_size
        some = ((dice.randrange(size), dice.randrange(8)) for _ in range(max(20, SAMPLE * size * 8 // bits)))
        for offset, bit in flipping(large / name, every(size) if WHOLE else some):
            whole = dice.random() < (0.001 if WHOLE else 0.05)
            assert refuted(large, name, key, whole) or (name, 8 * offset + bit) in HARMLESS, (name, offset, bit)
            flips += 1
    assert flips == bits if WHOLE else flips >= SAMPLE


@pytest.mark.timeout(3600)
def test_row_19_a_sample_of_flips_is_refuted_by_aics_tlog_too(large: Path, ask: Ask) -> None:
    assert ask([altered_case(large, {})]) == [True]  # control: unflipped it is accepted
    dice = random.Random(20)
    names = [name for name in TileFolder(large).names() if name.startswith("tile/")]
    for _ in range(JUDGED):
        name = dice.choice(names)
        data = bytearray((large / name).read_bytes())
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        assert ask([altered_case(large, {name: bytes(data)})]) == [False]


def every(size: int) -> Iterator[tuple[int, int]]:
    return product(range(size), range(8))


def flipping(path: Path, places: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield (byte, bit) while that bit of the file is flipped; the file is good again after the last."""
    data = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for offset, bit in places:
            file.seek(offset)
            file.write(bytes([data[offset] ^ 1 << bit]))
            yield offset, bit
            file.seek(offset)
            file.write(data[offset : offset + 1])
    assert path.read_bytes() == data


def refuted(folder: Path, name: str, key: VerifierKey, whole: bool) -> bool:
    """Verify what a file is part of: a run of entries, or all where there is no such run."""
    tile = parse_tile_name(name)
    if whole or tile is None or tile[0] not in ("entries", "0"):
        return verify_log(folder, key=key).exit_code == 6
    return bool(verify_run(folder, LARGE, tile[1], 1).findings)


def test_copies_are_not_shared(small: Path, tmp_path: Path) -> None:
    """Control of the harness: a flip that is left in place is seen."""
    shutil.copytree(small, tmp_path / "log")
    name = f"tile/entries/000.p/{SMALL}"
    flip = flipping(tmp_path / "log" / name, iter([(60, 0)]))
    next(flip)
    assert verify_log(tmp_path / "log").exit_code == 6
    assert next(flip, None) is None
    assert verify_log(tmp_path / "log").exit_code == 7
