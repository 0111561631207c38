"""A file is written whole or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from keys.files import PRIVATE, write_file


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_written_whole_and_another_one_stays_unless_it_may_be_replaced(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "file"
    (tmp_path / ".file.new").write_bytes(b"half of what a crash has left")
    write_file(path, b"one", mode=PRIVATE, durable=durable)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"one", PRIVATE)
    with pytest.raises(FileExistsError):
        write_file(path, b"two", mode=PRIVATE, durable=durable)
    assert path.read_bytes() == b"one"
    write_file(path, b"two", mode=PRIVATE, replace=True, durable=durable)
    assert path.read_bytes() == b"two"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("durable", [True, False])
def test_where_it_cannot_be_written_nothing_is_left(tmp_path: Path, durable: bool) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError, match=r"directory"):
        write_file(tmp_path / "file", b"one", mode=PRIVATE, replace=True, durable=durable)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
