"""Names of gRPC's own types, which are generic for the type checker alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc.aio

from exchange.v1 import node_pb2

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]
    FollowCall = grpc.aio.StreamStreamCall[node_pb2.FollowRequest, node_pb2.FollowResponse]
else:
    Context = grpc.aio.ServicerContext
    FollowCall = grpc.aio.StreamStreamCall
