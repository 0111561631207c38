"""From our errors to gRPC's, by the table of ``keys.refusals``, and back.

Every refusal travels as ``google.rpc.Status`` with ``ErrorInfo`` (the public code), for a bulletin's complaints with
``BadRequest``, for what may be tried again with ``RetryInfo``. What comes back is the same error again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NoReturn, Protocol

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from audit.witness.witness import WitnessRefusal
from exchange.rules.complaint import Complaint, RulesError
from keys.errors import IntegrityError, RefusedError, UnavailableError
from keys.refusals import TABLE, is_public

DOMAIN = "exchange"
DETAILS = "grpc-status-details-bin"
UNAVAILABLE, INTEGRITY = UnavailableError.code, IntegrityError.code  # reasons that are no refusals
MAX_COMPLAINTS = 8  # in a status, which must fit 8 KiB of metadata; a PublishResult carries them all
MAX_MESSAGE = 500  # characters
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)  # of a tree

_S = grpc.StatusCode
_STATUS = {row.code: _S.__members__[row.status] for row in TABLE.values() if row.status is not None}
FORBIDDEN = 403  # a witness will not cosign this: the log, or its epoch, is not as it knows it
NOT_EXTENDED = 422  # a witness holds what the checkpoint does not extend
ELSEWHERE = 409  # a witness holds another size than it was asked from: no offence, and how a log learns it
_WITNESS = {  # what tlog-witness says in HTTP's numbers
    400: _S.INVALID_ARGUMENT,
    403: _S.PERMISSION_DENIED,
    404: _S.NOT_FOUND,
    ELSEWHERE: _S.FAILED_PRECONDITION,
    NOT_EXTENDED: _S.ABORTED,
}
_NUMBERS = {status: status.value[0] for status in grpc.StatusCode}


class Aborts(Protocol):
    """What of a servicer's context is needed to end a call."""

    async def abort(
        self, code: grpc.StatusCode, details: str, trailing_metadata: tuple[tuple[str, bytes], ...]
    ) -> NoReturn:
        """End the call; raises."""


def status_of(error: Exception) -> tuple[grpc.StatusCode, status_pb2.Status]:
    """Return in gRPC's words what went wrong."""
    if isinstance(error, RefusedError) and error.code in _STATUS:
        code = _STATUS[error.code]
        details: list[Message] = [_info(error.code)]
        if isinstance(error, WitnessRefusal):
            code, details = _WITNESS[error.status], [_witness_info(error)]
        if isinstance(error, RulesError):
            details.append(_bad_request(error.complaints[:MAX_COMPLAINTS]))
        if isinstance(error, TooManyError):
            details.append(_retry(error.retry_after_seconds))
    elif isinstance(error, UnavailableError):
        code, details = _STATUS[UNAVAILABLE], [_info(UNAVAILABLE), _retry(error.retry_after_seconds)]
    elif isinstance(error, IntegrityError):
        # Which file and which size is for the operator, not for the caller.
        code, details = _STATUS[INTEGRITY], [_info(INTEGRITY)]
        error = IntegrityError("this node's own record contradicts itself; its operator must look")
    else:
        code, details = _STATUS["FAULT"], []
        error = RuntimeError("the node failed; its log says where")
    status = status_pb2.Status(code=_NUMBERS[code], message=_line(str(error)))
    for detail in details:
        status.details.add().Pack(detail)
    return code, status


class TooManyError(RefusedError):
    """A quota is used up for now."""

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        super().__init__("TOO_MANY", message)
        self.retry_after_seconds = retry_after_seconds

    @property
    def exit_as(self) -> str:
        """Return what is safe to retry: a quota fills again, while a number that is too large stays so."""
        return UNAVAILABLE


async def abort(context: Aborts, error: Exception) -> NoReturn:
    """End a call with what went wrong."""
    code, status = status_of(error)
    await context.abort(code, status.message, trailing_metadata=((DETAILS, status.SerializeToString()),))


def error_of(error: grpc.RpcError) -> Exception:
    """Return the error that a call ended with, as the other side raised it.

    Returns:
        RefusedError, UnavailableError or IntegrityError; UnavailableError too for a call that never got through.
    """
    status = _status(error)
    message = _line(status.message) if status is not None and status.message else _details(error)
    retry = 1.0
    reason = ""
    complaints: tuple[Complaint, ...] = ()
    for detail in status.details if status is not None else ():
        info, again, bad = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info) and info.domain == DOMAIN:
            reason = info.reason
            refusal = _witness_refusal(info, message)
            if refusal is not None:
                return refusal
        elif detail.Unpack(again):
            retry = max(0.0, again.retry_delay.seconds + again.retry_delay.nanos / 1e9)
        elif detail.Unpack(bad):
            complaints = tuple(_complaint(each) for each in bad.field_violations)
    return _made(error, reason, message, retry, complaints)


def error_named(code: str, message: str) -> Exception:
    """Return the error that a node reports by its code in an answer of its own."""
    message = _line(message)
    return RefusedError(code, message) if is_public(code) else UnavailableError(message)


def _made(
    error: grpc.RpcError, reason: str, message: str, retry: float, complaints: tuple[Complaint, ...]
) -> Exception:
    if reason == "TOO_MANY":
        return TooManyError(message, retry)
    if reason == "RULES" and complaints:
        return RulesError(complaints)
    if is_public(reason):
        return RefusedError(reason, message)
    if reason == INTEGRITY:
        return IntegrityError(message)
    code = _code(error)
    if code is _S.RESOURCE_EXHAUSTED:
        return RefusedError("TOO_LARGE", message)
    if code is _S.UNIMPLEMENTED:
        return RefusedError("NOT_UNDERSTOOD", message)
    if code is _S.UNAUTHENTICATED:
        return RefusedError("PEER_UNTRUSTED", message)
    return UnavailableError(message, retry)


def _status(error: grpc.RpcError) -> status_pb2.Status | None:
    metadata: Iterable[tuple[str, str | bytes]] = ()
    if isinstance(error, grpc.aio.AioRpcError | grpc.Call):
        metadata = error.trailing_metadata() or ()
    for key, value in metadata:
        if key == DETAILS and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None


def _code(error: grpc.RpcError) -> grpc.StatusCode:
    return error.code() if isinstance(error, grpc.aio.AioRpcError | grpc.Call) else _S.UNKNOWN


def _details(error: grpc.RpcError) -> str:
    said = error.details() if isinstance(error, grpc.aio.AioRpcError | grpc.Call) else None
    return _line(f"{_code(error).name.lower()}: {said or 'no word'}")


def _info(reason: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN)


def _witness_info(error: WitnessRefusal) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo(reason=error.code, domain=DOMAIN, metadata={"status": str(error.status)})
    if error.size is not None:
        info.metadata["size"] = str(error.size)
    return info


def _witness_refusal(info: error_details_pb2.ErrorInfo, message: str) -> WitnessRefusal | None:
    """Return what a witness refused with; None where it was no witness, or says what the protocol does not know."""
    stated, size = info.metadata.get("status", ""), info.metadata.get("size", "")
    if stated not in map(str, _WITNESS) or (size and not _SIZE.fullmatch(size)):
        return None
    return WitnessRefusal(int(stated), message, size=int(size) if size else None)


def _retry(seconds: float) -> error_details_pb2.RetryInfo:
    nanos = int(seconds * 1e9)
    return error_details_pb2.RetryInfo(retry_delay=Duration(seconds=nanos // 10**9, nanos=nanos % 10**9))


def _bad_request(complaints: Iterable[Complaint]) -> error_details_pb2.BadRequest:
    bad = error_details_pb2.BadRequest()
    for each in complaints:
        bad.field_violations.add(field=each.path, description=_line(each.message), reason=each.code)
    return bad


def _complaint(violation: error_details_pb2.BadRequest.FieldViolation) -> Complaint:
    return Complaint(code=violation.reason, path=violation.field, message=violation.description)


def _line(text: str) -> str:
    """Keep a message to one short line of plain ASCII: it may quote what a stranger sent."""
    plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in text[:MAX_MESSAGE])
    return plain or "-"
