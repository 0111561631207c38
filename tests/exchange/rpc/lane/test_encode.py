"""Messages joined from bytes are the messages that protobuf would write."""

from __future__ import annotations

from audit.v1 import dispatch_pb2
from exchange.rpc.lane import encode
from exchange.v1 import node_pb2
from keys.v1 import signed_pb2


def signed(payload: bytes) -> signed_pb2.SignedPayload:
    made = signed_pb2.SignedPayload(payload=payload)
    made.signatures.add(payload_type="t", key_id=bytes(32), signature=bytes(64))
    return made


def test_a_batch_of_bytes_is_the_batch_of_messages() -> None:
    parcels = [
        dispatch_pb2.Parcel(
            delivery=b"d" * 200, dispatch=signed(b"x" * size), wrap=b"w" * 1168, sealed_body=b"b" * size
        )
        for size in (1, 127, 128, 70_000)
    ]
    parcels.append(dispatch_pb2.Parcel(delivery=b"withdrawn", dispatch=signed(b"y")))
    head = signed(b"head")
    expected = node_pb2.FollowResponse(batch=node_pb2.LaneBatch(parcels=parcels, head=head))
    joined = encode.batch(
        [
            encode.parcel(each.delivery, each.dispatch.SerializeToString(), each.wrap, each.sealed_body)
            for each in parcels
        ],
        head.SerializeToString(),
    )
    assert joined == expected.SerializeToString()


def test_a_head_alone_is_a_batch_without_parcels() -> None:
    head = signed(b"head")
    expected = node_pb2.FollowResponse(batch=node_pb2.LaneBatch(head=head))
    assert encode.batch([], head.SerializeToString()) == expected.SerializeToString()


def test_the_class_of_a_lane_is_written_and_read() -> None:
    assert encode.class_of(encode.lane_taken(2, 7)) == 2
    assert encode.class_of(encode.lane_position(1, 1, 0, bytes(32))) == 1
    assert encode.lane_position(1, 1, 0, bytes(32)).delivery_digest == b""
