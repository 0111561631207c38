"""Verify proofs: that an entry is in a tree, and that a tree extends another.

The verifiers share no code with what makes the proofs. A proof is refused unless it has exactly the length that its
sizes demand, so a longer or shorter one never leads anywhere.

Source: RFC 9162, sections 2.1.3.2 and 2.1.4.2.
"""

from collections.abc import Sequence
from typing import Protocol

from audit.tree.merkle import EMPTY_ROOT, node_hash
from keys.errors import RefusedError

MAX_PROOF_HASHES = 63  # a tree has at most 2^63 - 1 leaves


class TreeHead(Protocol):
    """What a verified checkpoint says of a tree."""

    @property
    def size(self) -> int:
        """Return the number of leaves."""

    @property
    def root(self) -> bytes:
        """Return the 32-byte root."""


class InclusionError(RefusedError):
    """The proof does not lead from the entry to the root."""

    def __init__(self, message: str) -> None:
        super().__init__("RECEIPT_INVALID", f"inclusion proof: {message}")


class ConsistencyError(RefusedError):
    """The proof does not lead from the old root to the new one."""

    def __init__(self, message: str) -> None:
        super().__init__("RECEIPT_INVALID", f"consistency proof: {message}")


def verify_inclusion(leaf_hash: bytes, leaf_index: int, proof: Sequence[bytes], head: TreeHead) -> None:
    """Check that an entry is in the tree that *head* commits to.

    Args:
        leaf_hash: 32 bytes, SHA-256 with the 0x00 prefix.
        leaf_index: Counted from 0; below ``head.size``.
        proof: 32-byte node hashes, lowest level first.
        head: From a checkpoint whose signature is already verified.

    Raises:
        InclusionError: The proof has the wrong length or leads to another root.

    Source: RFC 9162, section 2.1.3.2.
    """
    if not 0 <= leaf_index < head.size:
        raise InclusionError(f"leaf {leaf_index} in a tree of {head.size}")
    _check_hashes(InclusionError, leaf_hash, head.root, *proof)
    node, last, value = leaf_index, head.size - 1, leaf_hash
    for sibling in proof:
        if last == 0:
            raise InclusionError(f"{len(proof)} hashes are too many")
        if node & 1 or node == last:
            value = node_hash(sibling, value)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            value = node_hash(value, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise InclusionError(f"{len(proof)} hashes are too few")
    if value != head.root:
        raise InclusionError("it leads to another root")


def verify_consistency(old: TreeHead, new: TreeHead, proof: Sequence[bytes]) -> None:
    """Check that the tree of *new* is that of *old* with leaves appended.

    Args:
        old: Of size 1 or more; of an empty tree there is nothing to prove.
        new: Not smaller than *old*.
        proof: 32-byte node hashes, lowest level first; none where the sizes are equal.

    Raises:
        ConsistencyError: The sizes, the proof's length or a root is wrong.

    Source: RFC 9162, section 2.1.4.2.
    """
    if not 1 <= old.size <= new.size:
        raise ConsistencyError(f"from size {old.size} to {new.size}")
    _check_hashes(ConsistencyError, old.root, new.root, *proof)
    if old.size == new.size:
        if proof or old.root != new.root:
            raise ConsistencyError(f"two trees of size {old.size}")
        return
    path = list(proof) if old.size & (old.size - 1) else [old.root, *proof]
    if not path:
        raise ConsistencyError("no hashes")
    old_root, new_root = _walk(old.size - 1, new.size - 1, path)
    if old_root != old.root or new_root != new.root:
        raise ConsistencyError("it leads to other roots")


def consistency_roots(old_size: int, new_size: int, proof: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Compute the two roots that a proof leads to, where the older size is no power of two.

    Args:
        old_size: Not a power of two: of one a proof leaves the root out, because whoever asks knows it.
        new_size: Larger.
        proof: 32-byte node hashes, lowest level first.

    Raises:
        ConsistencyError: The sizes or the proof's length is wrong.
    """
    _check_hashes(ConsistencyError, *proof)
    if not 1 <= old_size < new_size or not old_size & (old_size - 1) or not proof:
        raise ConsistencyError(f"from size {old_size} to {new_size} with {len(proof)} hashes")
    return _walk(old_size - 1, new_size - 1, list(proof))


def _walk(node: int, last: int, path: list[bytes]) -> tuple[bytes, bytes]:
    while node & 1:
        node, last = node >> 1, last >> 1
    old_root = new_root = path[0]
    for value in path[1:]:
        if last == 0:
            raise ConsistencyError(f"{len(path)} hashes are too many")
        if node & 1 or node == last:
            old_root, new_root = node_hash(value, old_root), node_hash(value, new_root)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new_root = node_hash(new_root, value)
        node, last = node >> 1, last >> 1
    if last:
        raise ConsistencyError(f"{len(path)} hashes are too few")
    return old_root, new_root


def _check_hashes(error: type[InclusionError] | type[ConsistencyError], *hashes: bytes) -> None:
    if len(hashes) > MAX_PROOF_HASHES + 2:
        raise error(f"{len(hashes) - 2} hashes")
    if any(len(value) != 32 for value in hashes):
        raise error("a hash that is not 32 bytes long")


__all__ = [
    "EMPTY_ROOT",
    "MAX_PROOF_HASHES",
    "ConsistencyError",
    "InclusionError",
    "TreeHead",
    "consistency_roots",
    "verify_consistency",
    "verify_inclusion",
]
