"""One proof for several leaves of a tree: their inclusion proofs without what they have in common.

A hash that the leaves give themselves is left out, one that several proofs need stands once. Which hashes must stand, and
in which order, follows from the indices and the size: height by height from the leaves up, from left to right. So such a
proof has one right length, and every single proof comes out of it as it would have been made alone.

Source of the single proof: RFC 9162, section 2.1.3.1.
"""

from collections.abc import Iterator, Sequence

from audit.tree.merkle import node_hash
from audit.tree.proof import MAX_PROOF_HASHES, InclusionError


def places_of(indices: Sequence[int], size: int) -> list[tuple[int, int]]:
    """Return (height, index) of every hash that must stand in the proof, in its order.

    Args:
        indices: Of the leaves, ascending, each below *size*.
        size: Of the tree.
    """
    nodes, row, last, height = [], list(indices), size - 1, 0
    while last:
        present = set(row)
        nodes += [(height, index ^ 1) for index in row if index ^ 1 <= last and index ^ 1 not in present]
        row = sorted({index >> 1 for index in row})
        last, height = last >> 1, height + 1
    return nodes


def single_proofs(leaves: Sequence[tuple[int, bytes]], size: int, hashes: Sequence[bytes]) -> list[list[bytes]]:
    """Return the inclusion proof of each leaf; whether it leads to a root, ``verify_inclusion`` says of each.

    1 there is a leaf, and a tree; 2 the indices ascend and lie in it; 3 hashes have 32 bytes; 4 there are exactly as many
    as the indices need.

    Args:
        leaves: Index and leaf hash of each.
        size: Of the tree, at most 2^63 - 1.
        hashes: As ``places_of`` orders them; nothing about them is known.

    Raises:
        InclusionError: One of the four.
    """
    indices = [index for index, _ in leaves]
    if not indices or size.bit_length() > MAX_PROOF_HASHES:  # 1
        raise InclusionError(f"{len(indices)} leaves of a tree of {size}")
    if indices != sorted(set(indices)) or not 0 <= indices[0] <= indices[-1] < size:  # 2
        raise InclusionError(f"leaves {indices[0]} to {indices[-1]} of {size} do not ascend, or are outside")
    if any(len(value) != 32 for value in hashes):  # 3
        raise InclusionError("a hash that is not 32 bytes long")
    rows, row, last, given = list[dict[int, bytes]](), dict(leaves), size - 1, iter(hashes)
    while last:
        above: dict[int, bytes] = {}
        for index in list(row):
            if index >> 1 in above:
                continue
            above[index >> 1] = _parent(row, index, last, given)
        rows.append(row)
        row, last = above, last >> 1
    if next(given, None) is not None:  # 4
        raise InclusionError(f"{len(hashes)} hashes are too many")
    return [[row[at] for h, row in enumerate(rows) if (at := index >> h ^ 1) in row] for index in indices]


def _parent(row: dict[int, bytes], index: int, last: int, given: Iterator[bytes]) -> bytes:
    """Hash a node with its sibling, which is taken from *given* where the leaves do not give it."""
    sibling = index ^ 1
    if sibling > last:
        return row[index]
    if sibling not in row:
        value = next(given, None)
        if value is None:  # 4
            raise InclusionError("its hashes are too few")
        row[sibling] = value
    return node_hash(row[index], row[sibling]) if index < sibling else node_hash(row[sibling], row[index])
