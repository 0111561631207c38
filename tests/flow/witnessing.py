"""What tests of nodes that witness one another share."""

from __future__ import annotations

from dataclasses import replace

import pytest

from audit.note.checkpoint import verify_note
from audit.note.policy import WitnessPolicy
from audit.verify.trust import policy_of
from audit.witness.witness import WitnessRefusal
from exchange.node.witness_status import load_pending
from exchange.rpc.transport import status
from exchange.v1 import node_pb2, node_pb2_grpc
from tests.audit.witness.witness_world import GrowingLog
from tests.flow.world import PATIENCE_SECONDS, QUICK, Member

A, B, C, D, E = "HK-IMMD", "HK-SB", "TH-DSI", "TW-NHRC", "XI-IOM"
SOON = replace(QUICK, witness_seconds=0.1, proven_seconds=0.1)
MINUTE = 60_000


def policy(member: Member) -> WitnessPolicy:
    return policy_of(member.node.view.federation.roster, member.agency)


def log_of(member: Member) -> GrowingLog:
    """Make an empty log that bears the member's name and key, beside the one that its node keeps."""
    return GrowingLog(origin=member.keys.application.member.origin(1), signer=member.keys.node.log)


def cosigners(member: Member) -> tuple[str, ...]:
    """Name whoever has cosigned what the member's folder calls its checkpoint."""
    note = (member.home / "log" / "checkpoint").read_text()
    verify_note(note, member.node.vkey)
    return policy(member).judge(note).names


def is_witnessed(member: Member) -> bool:
    return member.node.witnessed[0] == member.node.reads.size()


def pending(member: Member) -> int:
    """Return since when the member waits for its quorum; 0 where it does not."""
    state = load_pending(member.home)
    return state.since_ms if state is not None else 0


async def refused(ask: object) -> WitnessRefusal:
    """Return the refusal that a call over mTLS ends with."""
    with pytest.raises(Exception) as caught:
        await ask  # type: ignore[misc] # a call
    error = status.error_of(caught.value)  # type: ignore[arg-type] # gRPC's
    assert isinstance(error, WitnessRefusal), error
    return error


async def asked(asker: Member, witness: Member, body: bytes) -> str:
    """Bring a checkpoint to a witness as *asker*'s node."""
    async with asker.dial(witness) as opened:
        stub = node_pb2_grpc.AuditLogStub(opened)
        answer = await stub.AddCheckpoint(node_pb2.AddCheckpointRequest(body=body), timeout=PATIENCE_SECONDS)
        return answer.signature_lines.decode()
