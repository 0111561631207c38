"""How long the loops are: EXCHANGE_TEST_SCALE, 1 by default, more for a soak."""

from __future__ import annotations

import os

SCALE = int(os.environ.get("EXCHANGE_TEST_SCALE", "1"))
