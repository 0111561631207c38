"""The table from our errors to gRPC's, and back."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

import grpc
import grpc.aio
import pytest

from audit.entry.entry import Outcome
from exchange.rpc.transport import status
from exchange.rules.complaint import Complaint, RulesError
from keys.errors import IntegrityError, RefusedError, UnavailableError


class Recorder:
    """Keeps what a call was ended with, as gRPC hands it to the client."""

    async def abort(self, code: grpc.StatusCode, details: str, trailing_metadata: Any) -> NoReturn:
        raise grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing_metadata), details)


def crossed(error: Exception) -> Exception:
    """Send an error across and give what arrives."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        asyncio.run(status.abort(Recorder(), error))
    return status.error_of(caught.value)


@pytest.mark.parametrize("code", [name for name in Outcome.__members__ if name != "DONE"])
def test_every_refusal_code_crosses_unchanged(code: str) -> None:
    made = crossed(RefusedError(code, "what was found"))
    assert isinstance(made, RefusedError)
    assert (made.code, str(made)) == (code, "what was found")


def test_complaints_cross_with_code_and_path() -> None:
    complaint = Complaint(code="P-ISSUER", path="header.originator", message="HK-SB issues no alerts")
    made = crossed(RulesError((complaint,)))
    assert isinstance(made, RulesError)
    assert made.complaints == (complaint,)


def test_a_quota_says_when_to_come_again() -> None:
    made = crossed(status.TooManyError("too many calls", 2.5))
    assert isinstance(made, status.TooManyError)
    assert made.retry_after_seconds == 2.5


def test_unavailable_says_when_to_come_again() -> None:
    made = crossed(UnavailableError("stopping", 30))
    assert isinstance(made, UnavailableError)
    assert made.retry_after_seconds == 30


def test_an_integrity_error_tells_a_stranger_neither_file_nor_size() -> None:
    made = crossed(IntegrityError("/srv/node.db: size 41, lock 42"))
    assert isinstance(made, IntegrityError)
    assert "41" not in str(made)
    assert "/srv" not in str(made)


def test_a_fault_of_ours_shows_nothing_of_itself() -> None:
    made = crossed(KeyError("a secret"))
    assert isinstance(made, UnavailableError)
    assert "secret" not in str(made)


def test_a_message_that_quotes_control_characters_arrives_as_one_ascii_line() -> None:
    made = crossed(RefusedError("MALFORMED", "a\nb\x1b[2J\u202ec" + "x" * 10_000))
    assert str(made).startswith("a?b?[2J?c")
    assert len(str(made)) == status.MAX_MESSAGE


def test_many_long_complaints_still_fit_the_metadata() -> None:
    complaints = tuple(Complaint(code="S-LENGTH", path=f"persons[{i}].label", message="m" * 900) for i in range(500))
    _, made = status.status_of(RulesError(complaints))
    assert made.ByteSize() < 8 << 10


def test_a_call_that_never_got_through_is_unavailable() -> None:
    error = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "refused")
    assert isinstance(status.error_of(error), UnavailableError)


@pytest.mark.parametrize(
    ("code", "expected"),
    [("RESOURCE_EXHAUSTED", "TOO_LARGE"), ("UNIMPLEMENTED", "NOT_UNDERSTOOD"), ("UNAUTHENTICATED", "PEER_UNTRUSTED")],
)
def test_a_refusal_of_grpc_itself_has_a_code_of_ours(code: str, expected: str) -> None:
    error = grpc.aio.AioRpcError(grpc.StatusCode[code], grpc.aio.Metadata(), grpc.aio.Metadata(), "x")
    made = status.error_of(error)
    assert isinstance(made, RefusedError)
    assert made.code == expected


def test_details_that_are_no_status_are_ignored() -> None:
    trailing = grpc.aio.Metadata((status.DETAILS, b"\xff\xff"))
    error = grpc.aio.AioRpcError(grpc.StatusCode.ABORTED, grpc.aio.Metadata(), trailing, "x")
    assert isinstance(status.error_of(error), UnavailableError)
