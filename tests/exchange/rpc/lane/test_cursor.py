"""Cursors are indices of a log."""

from __future__ import annotations

import pytest

from exchange.rpc.desk.service import check_cursor
from keys.errors import RefusedError


def test_a_cursor_beyond_any_log_is_refused() -> None:
    check_cursor((1 << 63) - 1)
    with pytest.raises(RefusedError) as caught:
        check_cursor(1 << 63)
    assert caught.value.code == "MALFORMED"
