"""The fast way to see that the entry of a receipt is in the tree of its checkpoint.

The law is ``receipt``. This may only say yes where the proof of the receipt would lead to the checkpoint's root: it was
derived together with those of its batch, by the very hashes that the law makes for each of them once more. Where these
led to another root, or the receipt came alone, the law is asked.
"""

from __future__ import annotations

from audit.note.checkpoint import Checkpoint
from keys.values import hot_value


@hot_value(frozen=True, slots=True, kw_only=True)
class DerivedPath:
    """Where the inclusion proof of a batch's entry leads, as ``audit.tree.multiproof.single_proofs`` found it."""

    leaf_hash: bytes  # of the entry
    size: int  # of the tree
    root: bytes


def leaf_within(path: DerivedPath, checkpoint: Checkpoint) -> bytes | None:
    """Return the leaf hash of an entry whose path leads to the root of a verified checkpoint; None of any other."""
    return path.leaf_hash if path.size == checkpoint.size and path.root == checkpoint.root else None
