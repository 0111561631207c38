"""Desks that a module's tests share: what a refused message must not do is change them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.exchange.acts.forge import Forger
from tests.support.world import Desk


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """TH-DSI: it receives."""
    desk = Desk("TH-DSI", tmp_path_factory.mktemp("receiver"))
    yield desk
    desk.close()


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """HK-IMMD: an honest sender."""
    desk = Desk("HK-IMMD", tmp_path_factory.mktemp("sender"))
    yield desk
    desk.close()


@pytest.fixture(scope="session")
def forger() -> Forger:
    """HK-IMMD again, with its true keys in bad hands."""
    return Forger("HK-IMMD")


@pytest.fixture(scope="session")
def thief() -> Forger:
    """TW-NHRC, a member that would like to speak for others."""
    return Forger("TW-NHRC")


@pytest.fixture(scope="module")
def spare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A second TH-DSI, for tests that read its whole log or stop its lanes."""
    desk = Desk("TH-DSI", tmp_path_factory.mktemp("spare"))
    yield desk
    desk.close()
