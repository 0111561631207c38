"""Proof that one log signed two histories: two of its notes, valid for anybody who has the log's key.

Two notes of one size with two roots contradict each other by themselves. Of two sizes they do so only together with
the newer tree's root at the older size and the RFC 6962 proof that it is: a consistency proof has one root to start
from, so another one than the older note signs shows that the newer tree is not its continuation. Without that the two
notes prove nothing yet: the log may still bring the proof that joins them, and the verdict says so.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from audit.note.checkpoint import Checkpoint, VerifierKey, decode_base64, parse_note, verify_note
from audit.tree.proof import MAX_PROOF_HASHES, consistency_roots, verify_consistency
from keys.bounds import MAX_NOTE_BYTES
from keys.errors import RefusedError

FIRST_LINE = "exchange-fork/1"
MAX_FORK_BYTES = 2 * MAX_NOTE_BYTES + 8192  # the proof's hashes are 45 bytes each
_DIGEST = b"exchange/v1/fork\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """Two notes of one origin, the one with the smaller size first; nothing in it is verified."""

    older: str
    newer: str
    root: bytes | None = None  # of the newer tree at the older size, 32 bytes
    proof: tuple[bytes, ...] = ()  # from *root* to the newer note's root

    @property
    def digest(self) -> bytes:
        """Return the 32 bytes by which an entry FORK_SEEN or OWN_KEY_MISUSE names it."""
        return sha256(_DIGEST + format_fork(self).encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkFound:
    """What two notes by one key say."""

    older: Checkpoint
    newer: Checkpoint
    proven: bool  # False: another history is claimed, and the log could still join the two

    @property
    def verdict(self) -> str:
        """Return the sentence of the report."""
        sizes = f"size {self.older.size:,} and size {self.newer.size:,}"
        if self.proven:
            return f"fork proven: {self.older.origin} signed two histories, at {sizes}"
        return f"fork not proven: {self.older.origin} signed {sizes}, and nothing here shows that they differ"


def pair(first: str, second: str) -> Fork:
    """Put two notes in order: the smaller size first, of equal ones the first.

    Raises:
        RefusedError: MALFORMED.
    """
    swapped = parse_note(second).checkpoint.size < parse_note(first).checkpoint.size
    return Fork(older=second, newer=first) if swapped else Fork(older=first, newer=second)


def with_proof(fork: Fork, proof: Sequence[bytes], more: Callable[[int], Sequence[bytes]] | None = None) -> Fork:
    """Look for the newer tree's root at the older size in what its log offered as a consistency proof.

    Args:
        fork: Of two sizes.
        proof: What was offered from the older size to the newer.
        more: Gives the proof from another size to the newer one: where the older size is a power of two a proof
            leaves its root out, and the one from the size after it holds it.

    Returns:
        The same fork, with root and proof if they show that the newer tree is another. Size 1, which is GENESIS alone
        and never signed, has no such proof.
    """
    older, newer = parse_note(fork.older).checkpoint, parse_note(fork.newer).checkpoint
    for root in _candidates(older, newer, proof, more):
        found = replace(fork, root=root, proof=tuple(proof))
        if root != older.root and _leads(found, older, newer):
            return found
    return fork


def _candidates(
    older: Checkpoint, newer: Checkpoint, proof: Sequence[bytes], more: Callable[[int], Sequence[bytes]] | None
) -> Sequence[bytes]:
    if older.size & (older.size - 1):
        try:
            return [consistency_roots(older.size, newer.size, proof)[0]]
        except RefusedError:
            return []
    return more(older.size + 1) if more is not None and older.size + 1 < newer.size else []


def _leads(fork: Fork, older: Checkpoint, newer: Checkpoint) -> bool:
    try:
        verify_consistency(replace(older, root=fork.root or b""), newer, fork.proof)
    except RefusedError:
        return False
    return True


def format_fork(fork: Fork) -> str:
    """Write the evidence as a text file."""
    lines = [FIRST_LINE]
    if fork.root is not None:
        lines += [f"root {_encode(fork.root)}", *(_encode(value) for value in fork.proof)]
    return "\n".join(lines) + f"\n\n{fork.older}\n{fork.newer}"


def parse_fork(text: str) -> Fork:
    """Read an evidence file; what it proves, ``verify_fork`` says.

    Raises:
        RefusedError: MALFORMED; the message says which part and what was expected.
    """
    if len(text.encode(errors="replace")) > MAX_FORK_BYTES:
        raise _malformed(f"more than {MAX_FORK_BYTES} bytes")
    parts = text.split("\n\n")
    if len(parts) != 5 or parts[0].split("\n")[0] != FIRST_LINE:
        raise _malformed(f"'{FIRST_LINE}', a blank line and two notes with a blank line between them were expected")
    older, newer = f"{parts[1]}\n\n{parts[2]}\n", f"{parts[3]}\n\n{parts[4]}"
    lines = parts[0].split("\n")[1:]
    if len(lines) > MAX_PROOF_HASHES + 2:
        raise _malformed(f"{len(lines)} hashes")
    if lines and not lines[0].startswith("root "):
        raise _malformed("line 2: 'root' and the newer tree's root at the older size were expected")
    hashes = [_hash(line.removeprefix("root "), number) for number, line in enumerate(lines, 2)]
    for name, note in (("older", older), ("newer", newer)):
        try:
            parse_note(note)
        except RefusedError as error:
            raise _malformed(f"{name} note: {str(error).removeprefix('checkpoint: ')}") from error
    return Fork(older=older, newer=newer, root=hashes[0] if hashes else None, proof=tuple(hashes[1:]))


def verify_fork(fork: Fork, key: VerifierKey) -> ForkFound:
    """Return what two notes prove, with nothing but the log's key.

    1 both are of this origin and signed by its key; 2 the older is not the larger one; 3 they are two different
    statements; 4 of one size that is proof; 5 of two sizes the root at the older size leads to the newer one, and is
    not the older one.

    Raises:
        RefusedError: What ``verify_note`` raises; MALFORMED: the notes agree, or the proof joins or proves nothing.
    """
    older, newer = verify_note(fork.older, key), verify_note(fork.newer, key)  # 1
    if older.size > newer.size:  # 2
        raise _malformed(f"the older note has size {older.size}, the newer {newer.size}")
    if older == newer or not older.size:  # 3
        raise _malformed("the notes say the same, or one is of an empty log: that is no fork")
    if older.size == newer.size:  # 4
        return ForkFound(older=older, newer=newer, proven=True)
    if fork.root is None:
        return ForkFound(older=older, newer=newer, proven=False)
    if fork.root == older.root:  # 5
        raise _malformed("the root is the one that the older note signs: that is no fork")
    if not _leads(fork, older, newer):
        raise _malformed("the proof does not lead from the root to the newer note")
    return ForkFound(older=older, newer=newer, proven=True)


def _encode(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _hash(text: str, number: int) -> bytes:
    try:
        value = decode_base64(text, f"line {number}")
    except RefusedError as error:
        raise _malformed(str(error).removeprefix("checkpoint: ")) from error
    if len(value) != 32:
        raise _malformed(f"line {number}: a hash of {len(value)} bytes instead of 32")
    return value


def _malformed(what: str) -> RefusedError:
    return RefusedError("MALFORMED", f"fork: {what}")
