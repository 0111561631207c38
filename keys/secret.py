"""Key material in memory: never printed, compared in constant time, never pickled."""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """Bytes that print as ``Secret(32 bytes)``; ``reveal`` is the one way to them."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = bytes(value)

    def reveal(self) -> bytes:
        """Return the bytes, to the function that needs them, at the moment it does."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({len(self._value)} bytes)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash(len(self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is never pickled")
