"""This node as a witness of the other members' logs: what AuditLog.AddCheckpoint does.

Who brings a checkpoint does not matter, as in tlog-witness: it is judged by its own log's signature, and the answer is
worth nothing to anybody who does not hold that checkpoint already. So any member may bring any other member's. Our own
log we never witness. The state lies in the lock, which no backup restores; it moves before the answer goes out.

Two validly signed checkpoints of one log that cannot both be true are entered as FORK_SEEN and kept.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from audit.note.checkpoint import VerifierKey, parse_note
from audit.note.epochs import opening_of, split_origin
from audit.note.fork import Fork
from audit.note.policy import WitnessPolicy
from audit.verify.trust import log_key, member_of_log, policy_of
from audit.witness.witness import Witness, WitnessRefusal
from exchange.acts import forks
from exchange.acts.node_view import NodeView
from exchange.node.job import SUSPENDED_SECONDS
from exchange.node.node import Node, now_ms
from exchange.rpc.transport.program_log import ProgramLog
from keys.errors import IntegrityError, RefusedError, UnavailableError
from keys.key_files import NodeKeys
from keys.manifest import LogEpoch
from keys.roster import Member


class WitnessService:
    """Cosigns for other members."""

    def __init__(self, node: Node, keys: NodeKeys, log: ProgramLog) -> None:
        self._node, self._log = node, log
        view = node.view
        own = view.federation.roster.member(view.agency)
        if own is None:
            raise IntegrityError(f"{view.agency} is not in its own roster")
        state = node.lock.witness_state()
        self._witness = Witness(
            name=own.witness_name,
            signers=(keys.witness,) if keys.witness_mldsa44 is None else (keys.witness, keys.witness_mldsa44),
            state=state,
            log_key_of=self._log_key,
            clock_s=lambda: now_ms() // 1000,
            opening_of=partial(self._epoch, 0),
            successor_of=partial(self._epoch, 1),
            policy_of=self._policy,
        )
        # One at a time, beside the event loop: each waits for the disk.
        self._line = ThreadPoolExecutor(1, "witness")
        node.at_stop += [self._line.shutdown, state.close]

    async def add_checkpoint(self, body: bytes) -> bytes:
        """Judge a tlog-witness request, and give its answer.

        Raises:
            WitnessRefusal: With the protocol's status; a proven fork is entered and kept first.
            IntegrityError: The lock cannot be written; nothing was cosigned.
            UnavailableError: The node is stopping or has not begun, or the lock is busy.
        """
        # A copy has a copied lock, too: its witness might go two ways just as its log.
        if not self._node.begun or self._node.writer.failure is not None:
            raise UnavailableError("this node signs nothing now", SUSPENDED_SECONDS)
        loop = asyncio.get_running_loop()
        try:
            return (await loop.run_in_executor(self._line, self._witness.add_checkpoint, body)).encode()
        except WitnessRefusal as refusal:
            if refusal.fork is not None:
                await self._enter_fork(refusal.fork)
            raise
        except IntegrityError as error:
            self._node.writer.fail(error)  # the lock is what everything that we sign stands on
            self._log.fault("witness", error)
            raise

    async def _enter_fork(self, fork: Fork) -> None:
        member = self._member(parse_note(fork.older).checkpoint.origin)
        if member is None:
            return
        self._log.alarm("fork-seen", peer=member.agency)
        await self._node.writer.submit(lambda work: forks.enter_fork(work, member.number, fork.older, fork.newer, fork))

    def _member(self, origin: str) -> Member | None:
        """Find whose log it is: another member's that takes part now."""
        view = self._node.view
        try:
            member, _ = member_of_log(view.federation.roster, origin)
            return view.federation.member(member.agency, now_ms()) if member.agency != view.agency else None
        except RefusedError:
            return None

    def _log_key(self, origin: str) -> VerifierKey | None:
        if self._member(origin) is None:
            return None
        try:
            return log_key(self._node.view.federation.roster, origin)
        except RefusedError:
            return None

    def _policy(self, origin: str) -> WitnessPolicy | None:
        member = self._member(origin)
        return policy_of(self._node.view.federation.roster, member.agency) if member is not None else None

    def _epoch(self, after: int, origin: str) -> LogEpoch | None:
        """Return what the manifest says of this origin's epoch, or of the one so many after it."""
        member = self._member(origin)
        if member is None:
            return None
        view: NodeView = self._node.view
        return opening_of(view.epochs(member.agency), split_origin(origin)[1] + after)
