"""Value classes of the hot path: frozen for the type checker and in the tests, plain with slots at run time.

A frozen dataclass sets each field by a call of its own. A bulletin makes some forty values of 3 to 27 fields, so that
alone was 40 to 80 µs of processor time at each node (a ``LaneState``: 0.7 µs plain, 2.2 frozen; a ``Body``: 1.0 and 6.1). The checker refuses
whoever assigns to a field, and the tests run all of these classes frozen, so nothing is lost but the fault at run time
of a program that neither has seen. They compare and hash by their fields either way. Everything that is not made for
each bulletin stays an ordinary frozen dataclass.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

FROZEN = "EXCHANGE_FROZEN_VALUES"  # set in the environment of the tests

if TYPE_CHECKING:
    from dataclasses import dataclass as hot_value
else:
    from dataclasses import dataclass

    T = TypeVar("T")

    def hot_value(*, frozen: bool, slots: bool = False, kw_only: bool = False) -> Callable[[type[T]], type[T]]:
        """Decorate as ``dataclass`` with the same arguments."""
        if not frozen:
            raise TypeError("a value of the hot path is frozen")
        if os.environ.get(FROZEN):
            return dataclass(frozen=True, slots=slots, kw_only=kw_only)
        return dataclass(unsafe_hash=True, slots=slots, kw_only=kw_only)


__all__ = ["FROZEN", "hot_value"]
