"""Deliveries and lane heads as bytes: as their vectors, back again, and nothing out of bounds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.record.lane import (
    MAX_DELIVERY_BYTES,
    MAX_LANE_HEAD_BYTES,
    Delivery,
    LaneClass,
    LaneHead,
    LaneId,
    Withdrawn,
    WithdrawnReason,
    delivery_digest,
    lane_head_digest,
    parse_delivery,
    parse_lane_head,
)
from audit.v1 import dispatch_pb2
from keys.scan import scan
from tests.exchange.records import formats
from tests.exchange.records.refusing import refusal

FOLDER = Path(__file__).parents[2] / "vectors" / "formats"
RECORDS = json.loads((FOLDER / "records.json").read_text())["records"]
LANE = formats.LANE
DIGEST = st.binary(min_size=32, max_size=32)
NUMBER = st.integers(1, (1 << 64) - 1)
LANES = st.builds(
    LaneId,
    federation_id=DIGEST,
    sender=st.just(formats.SENDER),
    recipient=st.sampled_from([formats.PEER, formats.OTHER]),
    lane_class=st.sampled_from(LaneClass),
    epoch=st.integers(1, (1 << 32) - 1),
)
DELIVERIES = st.builds(Delivery, lane=LANES, sequence=NUMBER, previous=DIGEST, dispatch_digest=DIGEST, time_ms=NUMBER)


# ---------------------------------------------------------------- encodings


def test_a_delivery_is_read_and_written_as_its_vector() -> None:
    vector = RECORDS["delivery"]
    payload = bytes.fromhex(vector["payload"])
    delivery = parse_delivery(payload)
    assert delivery.encode() == payload == formats.chain(1)[0]
    assert delivery_digest(payload).hex() == vector["digest"]
    assert delivery.sequence == vector["fields"]["sequence"]


@pytest.mark.parametrize("name", ["lane-head", "lane-head: empty lane"])
def test_a_lane_head_is_read_and_written_as_its_vector(name: str) -> None:
    vector = RECORDS[name]
    payload = bytes.fromhex(vector["payload"])
    head = parse_lane_head(payload)
    assert head.encode() == payload
    assert lane_head_digest(payload).hex() == vector["digest"]
    for field in ("sequence", "latest", "time_ms"):
        assert getattr(head, field) == vector["fields"][field]
    assert [item.sequence for item in head.withdrawn] == [item["sequence"] for item in vector["fields"]["withdrawn"]]


@settings(max_examples=100)
@given(delivery=DELIVERIES)
def test_every_delivery_comes_back_as_it_was_and_passes_the_scan(delivery: Delivery) -> None:
    payload = delivery.encode()
    assert not scan(payload, dispatch_pb2.Delivery.DESCRIPTOR)
    assert parse_delivery(payload) == delivery


@settings(max_examples=100)
@given(
    lane=LANES,
    sequence=st.integers(0, 1 << 40),
    more=st.integers(0, 1 << 20),
    digest=DIGEST.filter(any),
    withdrawn=st.sets(NUMBER, max_size=5),
    reason=st.sampled_from(WithdrawnReason),
    time_ms=NUMBER,
)
def test_every_lane_head_comes_back_as_it_was_and_passes_the_scan(
    lane: LaneId, sequence: int, more: int, digest: bytes, withdrawn: set[int], reason: WithdrawnReason, time_ms: int
) -> None:
    head = LaneHead(
        lane=lane,
        sequence=sequence,
        delivery_digest=digest if sequence else bytes(32),
        latest=sequence + more,
        withdrawn=tuple(Withdrawn(sequence=number, reason=reason) for number in sorted(withdrawn)),
        time_ms=time_ms,
    )
    payload = head.encode()
    assert not scan(payload, dispatch_pb2.LaneHead.DESCRIPTOR)
    assert parse_lane_head(payload) == head


@settings(max_examples=200)
@given(data=st.binary(max_size=200))
def test_garbage_is_refused(data: bytes) -> None:
    for parse in (parse_delivery, parse_lane_head):
        assert refusal(parse, data) in {"MALFORMED", "NOT_UNDERSTOOD"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"sequence": 0}, "MALFORMED"),
        ({"previous": b""}, "MALFORMED"),
        ({"dispatch_digest": bytes(31)}, "MALFORMED"),
        ({"time_ms": 0}, "MALFORMED"),
        ({"lane": replace(LANE, federation_id=bytes(31))}, "MALFORMED"),
        ({"lane": replace(LANE, epoch=0)}, "MALFORMED"),
        ({"lane": replace(LANE, recipient=formats.SENDER)}, "MALFORMED"),
        ({"lane": replace(LANE, recipient="pdrm")}, "MALFORMED"),
        ({"lane": replace(LANE, lane_class=0)}, "MALFORMED"),  # type: ignore[arg-type] # wrong or merged on purpose
        ({"lane": replace(LANE, lane_class=3)}, "NOT_UNDERSTOOD"),  # type: ignore[arg-type] # wrong or merged on purpose
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_delivery_with_a_field_out_of_bounds_is_refused(changes: dict[str, Any], code: str) -> None:
    delivery = replace(parse_delivery(formats.chain(1)[0]), **changes)
    assert refusal(parse_delivery, delivery.encode()) == code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"time_ms": 0}, "MALFORMED"),
        ({"delivery_digest": b""}, "MALFORMED"),
        ({"delivery_digest": bytes(32)}, "MALFORMED"),
        ({"sequence": 0}, "MALFORMED"),
        ({"latest": 0}, "MALFORMED"),
        ({"latest": 2}, "MALFORMED"),
        ({"withdrawn": (Withdrawn(sequence=2, reason=WithdrawnReason.ERASED),) * 2}, "MALFORMED"),
        ({"withdrawn": (Withdrawn(sequence=0, reason=WithdrawnReason.ERASED),)}, "MALFORMED"),
        ({"withdrawn": (Withdrawn(sequence=1, reason=0),)}, "MALFORMED"),  # type: ignore[arg-type] # wrong or merged on purpose
        ({"withdrawn": (Withdrawn(sequence=1, reason=4),)}, "NOT_UNDERSTOOD"),  # type: ignore[arg-type] # wrong or merged on purpose
        (
            {"withdrawn": tuple(Withdrawn(sequence=n, reason=WithdrawnReason.ERASED) for n in range(1, 1002))},
            "MALFORMED",
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_lane_head_with_a_field_out_of_bounds_is_refused(changes: dict[str, Any], code: str) -> None:
    head = formats.head_of(formats.chain(3), 3, **changes)
    assert refusal(parse_lane_head, head.encode()) == code


def test_deliveries_and_heads_above_their_limits_are_too_large() -> None:
    assert refusal(parse_delivery, bytes(MAX_DELIVERY_BYTES + 1)) == "TOO_LARGE"
    assert refusal(parse_lane_head, bytes(MAX_LANE_HEAD_BYTES + 1)) == "TOO_LARGE"


def test_the_enums_have_the_numbers_of_the_schema() -> None:
    for mirror, enum, prefix in (
        (LaneClass, dispatch_pb2.LaneClass, "LANE_CLASS"),
        (WithdrawnReason, dispatch_pb2.WithdrawnReason, "WITHDRAWN_REASON"),
    ):
        names = {f"{prefix}_{each.name}": int(each) for each in mirror}
        assert {f"{prefix}_UNSPECIFIED": 0} | names == dict(enum.items())
