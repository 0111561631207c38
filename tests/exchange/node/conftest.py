"""Desks of one test each, that keep bulletins past their day."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.exchange.node.keeping import Keeper


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Keeper]:
    """HK-IMMD."""
    desk = Keeper("HK-IMMD", tmp_path / "sender")
    yield desk
    desk.close()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Keeper]:
    """TH-DSI: it receives."""
    desk = Keeper("TH-DSI", tmp_path / "receiver")
    yield desk
    desk.close()


@pytest.fixture
def keyed(tmp_path: Path) -> Iterator[Keeper]:
    """A recipient with key files."""
    desk = Keeper("TH-DSI", tmp_path / "keyed", keys_too=True)
    yield desk
    desk.close()
