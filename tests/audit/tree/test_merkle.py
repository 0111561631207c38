"""The tree and its proofs, against public vectors and against itself at every small size."""

import base64
import json
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from audit.tiles.tile_levels import Levels
from audit.tiles.tiles import TileFolder
from audit.tree.merkle import EMPTY_ROOT, Tree, leaf_hash, root_of
from audit.tree.proof import ConsistencyError, InclusionError, verify_consistency, verify_inclusion

SHARED = Path(__file__).resolve().parents[3] / "../shared/vectors/merkle"
LEAVES = [sha256(i.to_bytes(4, "big")).digest() for i in range(70_000)]
# The public verifier compares roots of any length; ours demands 32 bytes, so this one case is refused on purpose.
POLICY = {"testdata/consistency/additional/sizes-are-equal-one-and-proof-is-empty.json"}


def shared(name: str) -> list[dict[str, Any]]:
    if not SHARED.is_dir():
        pytest.skip("../shared/vectors is missing")
    cases: list[dict[str, Any]] = json.loads((SHARED / name).read_text())
    return cases


def raw(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def head(size: int, root: bytes) -> SimpleNamespace:
    return SimpleNamespace(size=size, root=root)


class Tiles:
    """Keeps complete tiles as a store does."""

    def __init__(self) -> None:
        self.tiles: dict[tuple[int, int], bytes] = {}

    def tree(self, size: int) -> Tree:
        return Tree(size, lambda level, i: self.tiles.get((level, i)), lambda first, n: LEAVES[first : first + n])

    def keep(self, tree: Tree, since: int) -> None:
        for level, index, data in tree.complete_tiles(since):
            self.tiles[level, index] = data


def test_public_inclusion_vectors_end_as_they_should() -> None:
    cases = shared("inclusion.json")
    for case in cases:
        proof = [raw(h) for h in case["proof"] or []]
        try:
            verify_inclusion(raw(case["leafHash"]), case["leafIdx"], proof, head(case["treeSize"], raw(case["root"])))
            refused = False
        except InclusionError:
            refused = True
        assert refused == case["wantErr"], case["_path"]
    assert len(cases) == 98


def test_public_consistency_vectors_end_as_they_should() -> None:
    cases = shared("consistency.json")
    for case in cases:
        old, new = head(case["size1"], raw(case["root1"])), head(case["size2"], raw(case["root2"]))
        try:
            verify_consistency(old, new, [raw(h) for h in case["proof"] or []])
            refused = False
        except ConsistencyError:
            refused = True
        assert refused == (case["wantErr"] or case["_path"] in POLICY), case["_path"]
    assert len(cases) == 98


def test_public_roots_of_eight_leaves_are_ours() -> None:
    if not SHARED.is_dir():
        pytest.skip("../shared/vectors is missing")
    case = json.loads((SHARED / "rfc6962-tree-roots.json").read_text())
    leaves = [leaf_hash(bytes.fromhex(text)) for text in case["leaf_inputs_hex"]]
    for size, root in enumerate(case["root_hash_by_tree_size_hex"]):
        assert root_of(leaves[:size]).hex() == root


def test_every_proof_between_small_sizes_verifies_and_no_other_does() -> None:
    tree = Tiles().tree(0)
    for leaf in LEAVES[:70]:
        tree.append(leaf)
    for size in range(1, 71):
        new = head(size, tree.root(size))
        for index in range(size):
            proof = tree.inclusion(index, size)
            verify_inclusion(LEAVES[index], index, proof, new)
            for wrong in ([*proof, EMPTY_ROOT], proof[:-1] if proof else [EMPTY_ROOT]):
                with pytest.raises(InclusionError):
                    verify_inclusion(LEAVES[index], index, wrong, new)
        for old in range(1, size + 1):
            verify_consistency(head(old, tree.root(old)), new, tree.consistency(old, size))
            with pytest.raises(ConsistencyError):
                verify_consistency(head(old, EMPTY_ROOT), new, tree.consistency(old, size))


def test_a_tree_read_back_is_the_tree_that_grew() -> None:
    tiles = Tiles()
    tree = tiles.tree(0)
    for leaf in LEAVES:
        tree.append(leaf)
    tiles.keep(tree, 0)
    tree.prune()
    again = tiles.tree(70_000)
    assert tree.root() == again.root() == root_of(LEAVES)
    for size in (1, 255, 256, 257, 65_535, 65_536, 65_537, 69_999):
        assert tree.root(size) == again.root(size) == root_of(LEAVES[:size])
        for each in (tree, again):
            verify_inclusion(LEAVES[0], 0, each.inclusion(0, size), head(size, tree.root(size)))
            proof = each.consistency(size, 70_000)
            verify_consistency(head(size, tree.root(size)), head(70_000, tree.root()), proof)


def test_a_rolled_back_tree_is_as_if_nothing_was_appended() -> None:
    tiles = Tiles()
    tree = tiles.tree(0)
    for size in (0, 1, 255, 256, 300, 700):
        for leaf in LEAVES[tree.size : size]:
            tree.append(leaf)
        root = tree.root()
        for leaf in LEAVES[:600]:
            tree.append(leaf)
        tree.rollback(size)
        assert tree.size == size
        assert tree.root() == root


def test_the_root_from_tiles_and_tail_is_the_root_at_sizes_around_tile_borders(tmp_path: Path) -> None:
    for size in (0, 1, 2, 255, 256, 257, 511, 513, 65_535, 65_536, 65_537, 65_792, 65_793, 69_999):
        roots = [root_of(LEAVES[i : i + 256]) for i in range(0, size - size % 256, 256)]
        levels = Levels(TileFolder(tmp_path))
        levels.add(roots)
        assert levels.root(LEAVES[size - size % 256 : size]) == root_of(LEAVES[:size])


def test_a_tile_that_is_missing_is_named() -> None:
    tiles = Tiles()
    with pytest.raises(LookupError, match="tile 0/0 is missing"):
        tiles.tree(300)
