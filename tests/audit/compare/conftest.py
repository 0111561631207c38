"""Homes that have exchanged, made once a module, copied for each test; and the bundle of one of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.audit.compare.bundled import HOME, exchange
from tests.audit.compare.paired import Logs, copied, exchange_all


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The homes and the roster beside them; nobody alters these."""
    homes = tmp_path_factory.mktemp("exchanged") / "homes"
    exchange_all(homes)
    return homes


@pytest.fixture
def logs(template: Path, tmp_path: Path) -> Iterator[Logs]:
    """A copy that a test may alter."""
    with copied(template, tmp_path / "homes") as copy:
        yield copy


@pytest.fixture(scope="module")
def bundle(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "immd.audit"
    done = exchange("bundle", template / HOME, "-o", path)
    assert done.returncode == 0, done.stderr
    return path
