"""A witness: it cosigns a log's checkpoint only if that extends the last one it cosigned, and remembers it first.

The request and the answers are C2SP tlog-witness's, to the byte, whatever carries them. State moves forward only, by
compare-and-swap, durable before the answer. Two checkpoints that the log signed and that cannot both be true are kept
and handed back, for they convict the log before anybody.

Sources: c2sp.org/tlog-witness; docs/log.md, "Witnesses", for epochs.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from audit.log.lock import Cosigned, WitnessState
from audit.note.checkpoint import (
    Checkpoint,
    Note,
    VerifierKey,
    verify_read,
)
from audit.note.cosignature import cosign
from audit.note.fork import Fork, pair, with_proof
from audit.note.policy import WitnessPolicy
from audit.tree.merkle import EMPTY_ROOT
from audit.tree.proof import ConsistencyError, verify_consistency
from audit.witness.request import AddCheckpoint, parse_request
from keys.errors import RefusedError
from keys.signer import Signer

_EPOCH = re.compile(r"(.+/log/)([1-9][0-9]{0,9})", re.ASCII)  # our own logs' origins
_CODES = {
    400: "MALFORMED",
    403: "SIGNATURE_INVALID",
    404: "SIGNER_UNKNOWN",
    409: "RECEIPT_INVALID",
    422: "RECEIPT_INVALID",
}


class WitnessRefusal(RefusedError):  # noqa: N818 - the protocol's answer, not a fault of anybody's program
    """What a witness answers instead of a cosignature.

    ``status`` is tlog-witness's: 400 malformed, 403 not signed by the log or not to be cosigned, 404 not a log that
    this witness knows, 409 not where the witness stands, 422 no valid proof. ``size`` stands with 409: what the
    witness holds. ``fork`` are two notes of the log that cannot both be true, the first such pair for ever.
    """

    def __init__(self, status: int, message: str, *, size: int | None = None, fork: Fork | None = None) -> None:
        super().__init__(_CODES[status], message)
        self.status = status
        self.size = size
        self.fork = fork

    @property
    def conflict(self) -> tuple[str, str] | None:
        """Return the two notes of ``fork``, the smaller size first."""
        return (self.fork.older, self.fork.newer) if self.fork is not None else None


class Opening(Protocol):
    """How a manifest says that an epoch of a log began; ``keys.manifest.LogEpoch`` is one."""

    @property
    def epoch(self) -> int:
        """Return its number."""

    @property
    def previous_origin(self) -> str:
        """Return the origin of the epoch before."""

    @property
    def previous_size(self) -> int:
        """Return at which size that ended."""

    @property
    def previous_root(self) -> bytes:
        """Return with which root."""


def _none(_: str) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """One witness. Threads and processes may share its state."""

    name: str  # cosigner name
    signers: tuple[Signer, ...]  # Ed25519, and ML-DSA-44 where there is one
    state: WitnessState
    log_key_of: Callable[[str], VerifierKey | None]  # by origin; None for a log that it does not know
    clock_s: Callable[[], int]  # seconds since 1970
    opening_of: Callable[[str], Opening | None] = _none  # how the epoch of this origin began, by its manifest
    successor_of: Callable[[str], Opening | None] = _none  # the epoch that follows this origin's, by its manifest
    policy_of: Callable[[str], WitnessPolicy | None] = _none  # of the log of this origin, by the roster

    def add_checkpoint(self, body: bytes) -> str:
        """Judge a request in this order, and cosign.

        1. form (400), 2. a log that we know (404), 3. its signature (403), 4. sizes (400), 5. an epoch that began as
        its manifest says (403), 6. its old size is what we have cosigned (409), 7. it extends that (409 for the same size with
        another root, 422), or is the end of an epoch that the other witnesses saw, 8. the state moves, durably, 9. nothing in an epoch that has a successor (403), 10. lines.

        Returns:
            Signature lines, each with its newline, one a signer.

        Raises:
            WitnessRefusal: With the protocol's status.
            IntegrityError: The state cannot be written; nothing was cosigned.
            UnavailableError: The state is busy.
        """
        request, new = self._read(body)
        known = self.state.cosigned(new.origin)
        ended = self._successor(request, new, known)
        if known is None:
            self._check_opening(new.origin)
        if ended is None or known is None or not self._is_vouched_end(request, new, known):
            self._check_consistency(request, new, known)
        time_s = self.state.swap(known, new, _own_lines(request.read), self.clock_s)
        if time_s is None:  # another request was faster
            raise self._elsewhere(request, new, self.state.cosigned(new.origin))
        if ended is not None:
            raise WitnessRefusal(403, f"{new.origin} at size {new.size} is noted, not cosigned: epoch {ended} follows")
        return "".join(cosign(new, self.name, signer, time_s) for signer in self.signers)

    def _read(self, body: bytes) -> tuple[AddCheckpoint, Checkpoint]:
        """Steps 1 to 4."""
        try:
            request = parse_request(body)
        except RefusedError as error:
            raise WitnessRefusal(400, str(error)) from error
        origin = request.read.checkpoint.origin
        key = self.log_key_of(origin)
        if key is None:
            raise WitnessRefusal(404, f"{origin} is not a log that {self.name} knows")
        try:
            new = verify_read(request.read, key)
        except RefusedError as error:
            raise WitnessRefusal(400 if error.code == "MALFORMED" else 403, str(error)) from error
        if request.old_size > new.size:
            raise WitnessRefusal(400, f"old size {request.old_size} is above {new.size}")
        if new.size == 0 and new.root != EMPTY_ROOT:
            raise WitnessRefusal(422, "an empty tree with another root than that of nothing")
        return request, new

    def _successor(self, request: AddCheckpoint, new: Checkpoint, known: Cosigned | None) -> int | None:
        """Return the epoch after this one, if there is one; then only its beginning may still be noted.

        A witness that fell behind must be able to reach the very checkpoint that the next epoch builds on.
        """
        opening = self.successor_of(new.origin)
        epoch = _EPOCH.fullmatch(new.origin)
        if opening is not None:
            if (opening.previous_size, opening.previous_root) == (new.size, new.root):
                return opening.epoch
        elif epoch is None or self.state.cosigned(f"{epoch[1]}{int(epoch[2]) + 1}") is None:
            return None
        # What convicts the log is kept all the same: a new epoch that cuts entries needs it.
        fork = self._fork(known, request) if known is not None and known.root != new.root else None
        raise WitnessRefusal(403, f"nothing more is cosigned of {new.origin}: another epoch follows it", fork=fork)

    def _check_opening(self, origin: str) -> None:
        """5: a later epoch began as its manifest says, and builds on what we hold of the one before.

        Without that a thief of the key, or the operator, would begin again with entries cut off. Where the manifest's
        end contradicts what we hold, two notes of that epoch that contradict each other must have been shown.
        """
        epoch = _EPOCH.fullmatch(origin)
        if epoch is None or epoch[2] == "1":
            return
        opening = self.opening_of(origin)
        if opening is None:
            raise WitnessRefusal(403, f"{origin}: no manifest that {self.name} holds opens this epoch")
        last = f"{epoch[1]}{int(epoch[2]) - 1}"
        other = _EPOCH.fullmatch(opening.previous_origin)
        passed_over = opening.previous_origin != last and self.state.cosigned(last) is not None
        if other is None or other[1] != epoch[1] or int(other[2]) >= int(epoch[2]) or passed_over:
            raise WitnessRefusal(403, f"{origin} begins after {opening.previous_origin}, which is not the one before")
        before = self.state.cosigned(opening.previous_origin)
        if before is None:  # of an epoch that this witness never saw: what that one builds on counts, back to the first
            self._check_opening(opening.previous_origin)
            return
        if (before.size, before.root) == (opening.previous_size, opening.previous_root):
            return
        if before.size < opening.previous_size:
            raise WitnessRefusal(
                403,
                f"{origin} begins after {opening.previous_size} entries of {opening.previous_origin}, of which"
                f" {self.name} holds {before.size}: show it that checkpoint first",
            )
        if self.state.conflict(opening.previous_origin) is None:
            raise WitnessRefusal(
                403,
                f"{origin} begins after {opening.previous_size} entries of {opening.previous_origin}, but"
                f" {self.name} holds {before.size}: entries would be cut off",
            )

    def _check_consistency(self, request: AddCheckpoint, new: Checkpoint, known: Cosigned | None) -> None:
        """Steps 6 and 7."""
        size = known.size if known is not None else 0
        if request.old_size != size or (known is not None and new.size == size and new.root != known.root):
            raise self._elsewhere(request, new, known)
        if size in (0, new.size):
            if request.proof:
                raise WitnessRefusal(422, f"{len(request.proof)} hashes where no proof belongs")
            return
        assert known is not None
        try:
            verify_consistency(known, new, request.proof)
        except ConsistencyError as error:
            raise WitnessRefusal(422, str(error), fork=self._fork(known, request)) from error

    def _is_vouched_end(self, request: AddCheckpoint, new: Checkpoint, known: Cosigned) -> bool:
        """Return whether the other witnesses replace the proof from what we hold to the end of an epoch.

        A log that was destroyed cannot prove that step any more. Its end, which the manifest of its root names, is
        then taken on the word of the log's quorum, counted without us; of all others where the quorum is everybody.
        """
        policy = self.policy_of(new.origin)
        if policy is None or request.proof or request.old_size != known.size or not known.size < new.size:
            return False
        keys = {each.key.public_key for each in self.signers}
        others = {key.name for key in policy.witnesses if key.name != self.name and key.key not in keys}
        needed = policy.quorum
        if needed == len(policy.witnesses):  # a quorum without us cannot be
            needed = len(others)
        try:
            vouching = others.intersection(policy.judge(request.read).names)
        except RefusedError as error:
            raise WitnessRefusal(403, f"the lines under {new.origin} at size {new.size}: {error}") from error
        return 0 < needed <= len(vouching)

    def _elsewhere(self, request: AddCheckpoint, new: Checkpoint, known: Cosigned | None) -> WitnessRefusal:
        """Return the 409 that says what we hold; with both notes where the same size has another root."""
        if known is None:
            return WitnessRefusal(409, f"{new.origin}: nothing was cosigned yet", size=0)
        if known.size == new.size and known.root != new.root:
            message = f"{new.origin} has signed two roots at size {new.size}"
            return WitnessRefusal(409, message, size=known.size, fork=self._fork(known, request))
        return WitnessRefusal(409, f"{new.origin}: {known.size} entries were cosigned", size=known.size)

    def _fork(self, known: Cosigned, request: AddCheckpoint) -> Fork | None:
        """Keep and return both notes, if they contradict each other by themselves or by the refused proof.

        A proof that leads nowhere shows nothing: anybody can send one with an honest note.
        """
        fork = with_proof(pair(known.note, _own_lines(request.read)), request.proof)
        if fork.root is None and request.read.checkpoint.size != known.size:
            return None
        return self.state.keep_conflict(known.origin, fork)


def _own_lines(note: Note) -> str:
    """Return the note with the log's lines only: what others signed under it is not ours to keep."""
    lines = "".join(str(line) for line in note.signatures if line.name == note.checkpoint.origin)
    return f"{note.checkpoint.text()}\n{lines}"
