"""The gate before every method of a listener, health included: who calls, how much, and what becomes of errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import grpc
import grpc.aio

from audit.witness.witness import WitnessRefusal
from exchange.rpc.transport import status
from exchange.rpc.transport.caller import Caller, Callers
from exchange.rpc.transport.grpc_types import Context
from exchange.rpc.transport.limits import Quota
from exchange.rpc.transport.program_log import ProgramLog
from exchange.rpc.transport.refusal_counts import Refusals
from keys.errors import IntegrityError, RefusedError, UnavailableError

# Answered without the pin: a new pin must be learnt somehow, and a member that starts must be told what is known of it.
UNPINNED = ("/exchange.v1.Directory/", "/exchange.v1.AuditLog/Checkpoint")
_CALLER: ContextVar[Caller] = ContextVar("caller")
_Behaviour = Callable[[Any, Context], Awaitable[Any]]


def caller() -> Caller:
    """Return whom the present call is from; the gate has found out."""
    return _CALLER.get()


class Gate(grpc.aio.ServerInterceptor):
    """Admits a call or ends it, and turns whatever its method raises into a status."""

    def __init__(self, identities: Callers, refusals: Refusals, quota: Quota | None, log: ProgramLog) -> None:
        self.identities, self._refusals, self._quota, self._log = identities, refusals, quota, log
        self._handlers: dict[str, Any] = {}  # by method, of those that there are

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        details: grpc.HandlerCallDetails,
    ) -> Any:
        """Put the gate before a method, once; a method that is not there stays UNIMPLEMENTED."""
        method = str(details.method)
        known = self._handlers.get(method)
        if known is not None:
            return known
        handler = await continuation(details)
        if handler is not None:
            handler = self._handlers[method] = self._gated(handler, pinned=not method.startswith(UNPINNED))
        return handler

    def _gated(self, handler: Any, *, pinned: bool) -> Any:
        kinds = (
            ("unary_unary", grpc.unary_unary_rpc_method_handler),
            ("unary_stream", grpc.unary_stream_rpc_method_handler),
            ("stream_unary", grpc.stream_unary_rpc_method_handler),
            ("stream_stream", grpc.stream_stream_rpc_method_handler),
        )
        for name, make in kinds:
            behaviour = getattr(handler, name)
            if behaviour is not None:
                return make(
                    self._guarded(behaviour, pinned),
                    request_deserializer=handler.request_deserializer,
                    response_serializer=handler.response_serializer,
                )
        return handler

    def _guarded(self, behaviour: _Behaviour, pinned: bool) -> _Behaviour:
        async def guarded(request: Any, context: Context) -> Any:
            try:
                found = self._caller(context, pinned)
                _CALLER.set(found)
                if self._quota is not None:
                    self._quota.call(found.agency)
                    if hasattr(request, "ByteSize"):
                        self._quota.bytes(found.agency, request.ByteSize())
                return await behaviour(request, context)
            except Exception as error:  # noqa: BLE001 - a fault of ours must reach the log, not the peer
                await self._end(context, error)

        return guarded

    async def _end(self, context: Context, error: Exception) -> None:
        """Turn what a method raised into a status."""
        if isinstance(error, grpc.aio.AbortError | grpc.RpcError):
            raise error
        if isinstance(error, RefusedError):
            found = _CALLER.get(None)
            if not (
                isinstance(error, WitnessRefusal) and error.status == status.ELSEWHERE
            ):  # how a log asks where we stand
                self._refusals.count(found.number if found is not None else 0, error.code)
        elif not isinstance(error, UnavailableError | IntegrityError):
            self._log.fault("call", error)
        await status.abort(context, error)

    def _caller(self, context: Context, pinned: bool) -> Caller:
        """Return who calls; where the pin is not demanded, whether it is there all the same."""
        try:
            return self.identities.of(context)
        except RefusedError:
            if pinned:
                raise
        return self.identities.of(context, pinned=False)

    def spend(self, amount: int) -> None:
        """Count what the present caller sent on an open stream; TooManyError."""
        if self._quota is not None:
            self._quota.bytes(caller().agency, amount)
