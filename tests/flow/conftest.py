"""No test leaves a node running."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.flow.world import drain_all


@pytest_asyncio.fixture(autouse=True)
async def _drained() -> AsyncIterator[None]:
    yield
    await drain_all()
