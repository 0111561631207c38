"""Whether the time of a refusal tells which part of an envelope was wrong."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from statistics import mean, median
from typing import Any

from bench.setting import Setting
from bench.table import LESS, Row
from keys.errors import RefusedError
from keys.seal import BUCKET_BYTES, EncryptionKey, open_wrapped, pad, seal_body, wrap, wrap_info

TIMES = 400
FEDERATION, STATEMENT = bytes(32), b"\1" * 32
ASKED: dict[str, Any] = {"must": 5, "aim": 3, "better": LESS, "share_unit": "%", "unit": "µs"}


def measure(setting: Setting) -> list[Row]:
    """Refuse each kind of wrong envelope in turn, many times; compare the kinds' medians.

    A kind's time is taken as a share of its own turn's mean: within a turn, which is a millisecond, the machine keeps its
    speed, and over the run it does not.
    """
    kinds = _kinds()
    shares: dict[str, list[float]] = {name: [] for name in kinds}
    means = []
    for _ in range(TIMES):
        took = {}
        for name, attempt in kinds.items():
            began = time.perf_counter()
            _refused(attempt)
            took[name] = (time.perf_counter() - began) * 1e6
        means.append(mean(took.values()))
        for name, each in took.items():
            shares[name].append(each / means[-1])
    middle = median(means)
    medians = {name: median(each) for name, each in shares.items()}
    spread = (max(medians.values()) - min(medians.values())) * 100
    note = ", ".join(f"{name} {value * middle:.0f} µs" for name, value in medians.items())
    return [Row(what="spread of the times of refusing an envelope", product=middle, share=spread, note=note, **ASKED)]


def _kinds() -> dict[str, Callable[[], object]]:
    key = EncryptionKey.from_seed("TH-DSI", bytes(32))
    content_key = os.urandom(32)
    info = wrap_info(FEDERATION, STATEMENT, key.public.key_id)
    wrapped = wrap(content_key, key.public, info)
    padded = pad(b"x" * 3000)
    body = seal_body(content_key, FEDERATION, STATEMENT, padded)

    def attempt(wrapped: bytes, body: bytes) -> Callable[[], object]:
        return lambda: open_wrapped(key, wrapped, body, FEDERATION, STATEMENT)

    return {
        "wrap": attempt(_flip(wrapped, -1), body),
        "encapsulation": attempt(_flip(wrapped, 0), body),
        "body's commitment": attempt(wrapped, _flip(body, 30)),
        "body": attempt(wrapped, _flip(body, -1)),
        "padding": attempt(wrapped, seal_body(content_key, FEDERATION, STATEMENT, padded[:-1] + b"\1")),
        "length": attempt(wrapped, seal_body(content_key, FEDERATION, STATEMENT, b"\xff" * BUCKET_BYTES)),
    }


def _flip(data: bytes, place: int) -> bytes:
    altered = bytearray(data)
    altered[place] ^= 1
    return bytes(altered)


def _refused(attempt: Callable[[], object]) -> None:
    code = ""
    try:
        attempt()
    except RefusedError as error:
        code = error.code
    if code != "UNOPENABLE":
        raise AssertionError(f"a wrong envelope ended with {code or 'its content'}")
