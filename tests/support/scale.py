"""How long the loops are: EXCHANGE_TEST_SCALE, 1 by default, more for a soak."""

from __future__ import annotations

import os

import pytest

SCALE = int(os.environ.get("EXCHANGE_TEST_SCALE", "1"))
SLOW = pytest.mark.slow  # only repeats: `make test` leaves it out, `.ci/run` and `make soak` do not


def lengths(some: int, whole: int) -> list[object]:
    """Return the two lengths of a loop as parameters: some rounds, and the whole of them, which is slow and scaled."""
    return [pytest.param(some, id="some"), pytest.param(whole * SCALE, id="whole", marks=SLOW)]
