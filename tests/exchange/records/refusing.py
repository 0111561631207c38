"""The code that an act is refused with."""

from __future__ import annotations

from typing import Any

import pytest

from keys.errors import RefusedError


def refusal(action: Any, *values: Any, **named: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        action(*values, **named)
    return caught.value.code
