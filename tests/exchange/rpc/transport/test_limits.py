"""Token buckets."""

from __future__ import annotations

import pytest

from exchange.rpc.transport.limits import Bucket, Quota, Settings
from exchange.rpc.transport.status import TooManyError


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    clock = Clock()
    bucket = Bucket(rate=2, burst=3, clock=clock)
    for _ in range(3):
        bucket.take(1, "calls")
    with pytest.raises(TooManyError) as caught:
        bucket.take(1, "calls")
    assert caught.value.retry_after_seconds == pytest.approx(0.5)
    clock.now += 0.5
    bucket.take(1, "calls")


def test_a_bucket_never_holds_more_than_its_burst() -> None:
    clock = Clock()
    bucket = Bucket(rate=10, burst=2, clock=clock)
    clock.now += 1000
    bucket.take(2, "calls")
    with pytest.raises(TooManyError):
        bucket.take(1, "calls")


def test_one_peers_flood_leaves_the_others_their_quota() -> None:
    quota = Quota(Settings(calls_per_second=0.001, calls_burst=2, bytes_per_second=0.001, bytes_burst=10))
    quota.call("HK-SB")
    quota.call("HK-SB")
    with pytest.raises(TooManyError):
        quota.call("HK-SB")
    quota.call("TH-DSI")
    quota.bytes("HK-SB", 10)
    with pytest.raises(TooManyError):
        quota.bytes("HK-SB", 1)
    quota.bytes("TH-DSI", 10)
