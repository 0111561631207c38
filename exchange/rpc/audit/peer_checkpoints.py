"""Checkpoints of others that we hold, and ours that others hold.

Each peer's newest one lies as a file under ``peers/``, for auditors who want an external word about that peer's log. It
moves forward only, with a proof that starts from the very one that is known; two that contradict each other are
FORK_SEEN, and a file that proves it to anybody. What a peer holds of us (the *echo*) must be a part of our log. If it
is signed by us and is not, this node was rolled back, or is one of two live copies, and it signs nothing more; only
where more than half of the other members have cosigned what this run signed, our key is misused elsewhere, and that
is OWN_KEY_MISUSE.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

import grpc

from audit.note.checkpoint import Checkpoint, parse_note, verify_note
from audit.note.epochs import epoch_of_origin
from audit.note.fork import pair, verify_fork, with_proof
from audit.tree.proof import ConsistencyError, verify_consistency
from exchange.acts.delivery import known_checkpoint
from exchange.acts.forks import enter_fork, enter_misuse
from exchange.acts.unit_of_work import UnitOfWork
from exchange.node.job import no_act
from exchange.node.rollback_check import EVIDENCE_FOLDER, RolledBackError, read_answer, save_evidence
from exchange.node.writer import Group
from exchange.rpc.audit.gossip import Gossip, Prove
from exchange.rpc.audit.peer_witnessed import newest_note
from exchange.rpc.transport.runtime import Runtime
from keys.errors import RefusedError, UnavailableError
from keys.files import PUBLIC, write_file
from keys.identity import AgencyId

WRITE_SECONDS = 1.0  # a peer's file follows so soon


class Checkpoints:
    """Keeps both kinds."""

    def __init__(self, runtime: Runtime) -> None:
        self._node, self._log = runtime.node, runtime.log
        self.gossip = Gossip(runtime.node, self, runtime.log, runtime.settings.gossip_seconds)
        self._dirty: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._echoed = (0, b"")  # largest of ours that was echoed and is in our log

    def seen(self, peer: str) -> None:
        """Write the peer's newest checkpoint to its file, soon."""
        self._dirty.add(peer)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WRITE_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what was seen."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for peer in sorted(self._dirty):
            known = known_checkpoint(self._node.reads, AgencyId(peer), self._node.view)
            if known is not None:
                path = self._node.paths.peer_checkpoint(peer)
                _write(path, newest_note(path, known[1]))
        self._dirty.clear()

    async def check_echo(self, peer: AgencyId, note: str) -> None:
        """Hold a checkpoint of ours that a peer shows us against our log.

        Raises:
            RefusedError: It is not signed by us, or malformed: what ``verify_note`` raises; RECEIPT_INVALID: our key
                has signed another history, which is entered, and with this peer nothing goes on.
            RolledBackError: It is signed by us and is more than we have; from now on nothing is signed.
        """
        if not note or self._is_of_earlier_epoch(note):
            return
        shown = read_answer(note, self._node.view)
        if shown is None or (shown.size, shown.root) == self._echoed:
            return
        group, root, proof = await self._node.writer.submit(no_act, partial(_compare, size=shown.size))
        if root == shown.root and shown.origin == group.checkpoint.origin:
            self._echoed = max(self._echoed, (shown.size, shown.root))
            return
        if root and self._node.vouching.by_most(self._node.view) and shown.origin == group.checkpoint.origin:
            await self._misused(peer, note, group, root, proof)
        error = RolledBackError(peer, shown, group.checkpoint, running=True)
        self._node.fail(error)  # first of all: two copies race here
        folder = self._node.paths.home / EVIDENCE_FOLDER
        save_evidence(folder, f"held-by-{peer}-{shown.size}.checkpoint", note)
        self._log.alarm("own-log-contradicted", peer=peer, size=shown.size)
        raise error

    async def _misused(self, peer: AgencyId, note: str, group: Group, root: bytes, proof: Sequence[bytes]) -> NoReturn:
        """Enter that our key has signed what our log, which most others vouch for, does not hold."""
        made, number = pair(note, group.note), self._node.view.member_number(peer)
        if parse_note(made.older).checkpoint.size < parse_note(made.newer).checkpoint.size:
            made = replace(made, root=root, proof=tuple(proof))
        shown = parse_note(note).checkpoint
        self._log.alarm("own-key-misused", peer=peer, size=shown.size)
        await self._node.writer.submit(lambda work: enter_misuse(work, number, note, made))
        raise RefusedError(
            "RECEIPT_INVALID", f"{peer} holds a checkpoint of ours of size {shown.size} that this node never signed"
        )

    def _is_of_earlier_epoch(self, note: str) -> bool:
        """Return whether a peer has only seen an epoch of ours that is over; RefusedError if it is not signed by us.

        Where that epoch ended our manifest says; a note beyond that end shows what the break has cost.
        """
        view = self._node.view
        origin = parse_note(note).checkpoint.origin
        if epoch_of_origin(origin) >= view.epoch:
            return False
        shown = verify_note(note, view.key_of(view.agency, origin))
        end = view.before
        if end is not None and end.origin == origin and shown.size > end.size:
            self._log.alarm("own-epoch-went-further", size=shown.size)
        return True

    async def take(self, peer: AgencyId, note: str, prove: Prove) -> None:
        """Take a peer's newest checkpoint, which its AuditLog serves, after a proof that it extends ours.

        Args:
            peer: Whose log.
            note: As served.
            prove: Gives the consistency proof from one size to another.

        Raises:
            RefusedError: RECEIPT_INVALID and those of notes.
        """
        key = self._node.view.log_key(peer)
        new = verify_note(note, key)
        known = known_checkpoint(self._node.reads, peer, self._node.view)
        if known is not None:
            old = verify_note(known[1], key)
            if new.size < old.size:
                return  # a receipt was faster; that the peer's log did not shrink, its echo will show it
            hashes = await prove(old.size, new.size) if new.size > old.size else []
            try:
                verify_consistency(old, new, hashes)
            except ConsistencyError:
                await self.contradicted(peer, known[1], note, hashes, prove)
                raise
        before = known[0] if known is not None else 0
        await self._node.writer.submit(lambda work: _advance(work, peer, before, new, note))
        self.seen(peer)

    async def contradicted(
        self, peer: AgencyId, first: str, second: str, proof: Sequence[bytes], prove: Prove | None = None
    ) -> bool:
        """Look at two notes of a peer's log that its proof does not join; enter a fork if it is one.

        Args:
            peer: Whose log.
            first: The note that we hold.
            second: The other; both are verified.
            proof: What was offered between them.
            prove: Asks that log for another proof.

        Returns:
            Whether they prove that the log signed two histories.
        """
        made = pair(first, second)
        older, newer = parse_note(made.older).checkpoint, parse_note(made.newer).checkpoint
        if older.size < newer.size:
            more = await _more(prove, older.size + 1, newer.size)
            made = with_proof(made, proof, lambda size: more)
        proven = verify_fork(made, self._node.view.key_of(peer, older.origin)).proven
        self._log.alarm("fork-seen" if proven else "checkpoints-not-joined", peer=peer, size=newer.size)
        if proven:
            number = self._node.view.member_number(peer)
            await self._node.writer.submit(lambda work: enter_fork(work, number, first, second, made))
        return proven


async def _more(prove: Prove | None, old: int, new: int) -> Sequence[bytes]:
    try:
        return [] if prove is None else await prove(old, new)
    except (grpc.RpcError, RefusedError, UnavailableError):
        return []  # then the two are not joined, and not proven apart


def _advance(work: UnitOfWork, peer: str, before: int, new: Checkpoint, note: str) -> None:
    """Move on, if what is known is still what the proof starts from."""
    epoch = epoch_of_origin(new.origin)
    known = work.rows.peer_checkpoint(peer, epoch)
    if (known[0] if known is not None else 0) == before and new.size > before:
        work.rows.set_peer_checkpoint(peer, new.size, note, epoch)


def _compare(_: None, group: Group, size: int) -> tuple[Group, bytes, Sequence[bytes]]:
    """Return our root at a size, empty where we are smaller, and the proof from there to our newest checkpoint."""
    root = _root(group, size)
    return group, root, group.log.consistency(size, group.checkpoint.size) if root and size else ()


def _root(group: Group, size: int) -> bytes:
    try:
        return group.log.root(size)
    except LookupError:
        return b""


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written again with each newer checkpoint; our own database has what counts.
    write_file(path, text.encode(), mode=PUBLIC, replace=True, durable=False)
