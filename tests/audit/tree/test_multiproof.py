"""One proof for several leaves: nothing in it twice, every single proof in it, and no other than its own length."""

from __future__ import annotations

from hashlib import sha256
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.tree.merkle import Tree
from audit.tree.multiproof import places_of, single_proofs
from audit.tree.proof import InclusionError, TreeHead, verify_inclusion

LEAVES = [sha256(i.to_bytes(4, "big")).digest() for i in range(2_000)]
TREE = Tree(0, lambda level, index: None, lambda first, count: [])
TREE.extend(LEAVES)


def shared(indices: list[int], size: int) -> list[bytes]:
    return TREE.siblings(places_of(indices, size), size)


def derived(indices: list[int], size: int) -> list[list[bytes]]:
    return single_proofs([(index, LEAVES[index]) for index in indices], size, shared(indices, size))


@settings(max_examples=300, deadline=None)
@given(size=st.integers(1, 2_000), data=st.data())
def test_each_single_proof_is_the_one_that_is_made_alone(size: int, data: st.DataObject) -> None:
    indices = sorted(data.draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=40)))
    assert derived(indices, size) == [TREE.inclusion(index, size) for index in indices]


def test_neighbours_of_every_range_and_size_up_to_seventeen() -> None:
    for size in range(1, 18):
        for first in range(size):
            for end in range(first + 1, size + 1):
                indices = list(range(first, end))
                assert derived(indices, size) == [TREE.inclusion(index, size) for index in indices]


def test_nothing_stands_in_it_that_the_leaves_give_or_that_stood_before() -> None:
    assert shared(list(range(64, 128)), 1_999) == [TREE.node(6, 0), *TREE.inclusion(64, 1_999)[7:]]
    assert shared(list(range(500)), 500) == []
    assert shared([3, 900], 1_999) != sorted(set(shared([3, 900], 1_999)))  # by height, not by value
    assert len(shared([0, 1_998], 1_999)) < len(TREE.inclusion(0, 1_999)) + len(TREE.inclusion(1_998, 1_999))


@settings(max_examples=100, deadline=None)
@given(size=st.integers(2, 300), data=st.data())
def test_another_number_of_hashes_is_refused_and_an_altered_one_leads_nowhere(size: int, data: st.DataObject) -> None:
    indices = sorted(data.draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=size - 1)))
    hashes, leaves = shared(indices, size), [(index, LEAVES[index]) for index in indices]
    assert hashes
    for wrong in (hashes[:-1], [*hashes, hashes[0]], []):
        with pytest.raises(InclusionError):
            single_proofs(leaves, size, wrong)
    index = data.draw(st.integers(0, len(hashes) - 1))
    altered = [*hashes[:index], bytes(32), *hashes[index + 1 :]]
    head = SimpleNamespace(size=size, root=TREE.root(size))
    found = zip(leaves, single_proofs(leaves, size, altered), strict=True)
    assert not all(leads(index, leaf, proof, head) for (index, leaf), proof in found)


def leads(index: int, leaf: bytes, proof: list[bytes], head: TreeHead) -> bool:
    try:
        verify_inclusion(leaf, index, proof, head)
    except InclusionError:
        return False
    return True


@pytest.mark.parametrize(
    ("indices", "size"),
    [
        ([], 9),  # no leaf
        ([5, 5], 9),  # the same one twice
        ([6, 5], 9),  # not in order
        ([5, 9], 9),  # outside
        ([-1, 5], 9),
        ([0], 0),  # no tree
        ([0], 1 << 63),  # no tree that can be
    ],
)
def test_leaves_that_are_no_ascending_part_of_the_tree_are_refused(indices: list[int], size: int) -> None:
    with pytest.raises(InclusionError):
        single_proofs([(index, bytes(32)) for index in indices], size, [bytes(32)] * 4)


def test_a_hash_of_another_length_is_refused() -> None:
    hashes = shared([5, 6], 9)
    for wrong in (hashes[0] + b"\0", hashes[0][:-1], b""):
        with pytest.raises(InclusionError):
            single_proofs([(5, LEAVES[5]), (6, LEAVES[6])], 9, [wrong, *hashes[1:]])


def test_the_largest_tree_costs_no_more_than_its_height() -> None:
    size = (1 << 63) - 1
    places = places_of([0, size - 1], size)
    assert len(places) == 62 + 61  # their last step is to each other
    (first, last) = single_proofs([(0, bytes(32)), (size - 1, bytes(32))], size, [bytes(32)] * len(places))
    assert (len(first), len(last)) == (63, 62)


def test_what_the_tree_does_not_hold_is_not_looked_up() -> None:
    for node, size in (((0, 9), 9), ((4, 1), 9), ((0, 0), 2_001)):
        with pytest.raises(LookupError):
            TREE.siblings([node], size)
