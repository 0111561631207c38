"""What a sender's lane brings, and the code it is refused with."""

from __future__ import annotations

import pytest

from exchange.acts.intake import Message
from keys.errors import RefusedError
from tests.support.world import Desk


def code_of(receiver: Desk, message: Message, peer: str = "HK-IMMD", **more: object) -> str:
    with pytest.raises(RefusedError) as raised:
        receiver.check(message, peer, **more)
    return raised.value.code
