"""A log whose keeper signs whatever it likes with its true log key."""

from __future__ import annotations

from audit.entry.entry import encode_entry, genesis_previous, leaf_hash
from audit.note.checkpoint import Checkpoint, sign_checkpoint
from audit.tree.merkle import Tree
from exchange.records.receipt import Receipt, make_receipt
from tests.support.world import NOW_MS, view_of


class ForgedLog:
    """Entries as given, in a tree as it should be."""

    def __init__(self, agency: str, *, filler: int = 1) -> None:
        self.view = view_of(agency)
        self.previous = genesis_previous(self.view.origin)
        self.entries: list[bytes] = []
        self._leaves: list[bytes] = []
        self._tree = Tree(0, lambda level, index: None, lambda first, count: self._leaves[first : first + count])
        for _ in range(filler):
            self.add(b"\x08\x01")

    def add(self, body: bytes) -> int:
        """Log a body, whatever it says."""
        index = len(self.entries)
        entry = encode_entry(index, NOW_MS * 1000, self.previous, body)
        self.previous = leaf_hash(entry)
        self.entries.append(entry)
        self._leaves.append(self.previous)
        self._tree.append(self.previous)
        return index

    def checkpoint(self, size: int = 0) -> Checkpoint:
        size = size or len(self.entries)
        return Checkpoint(origin=self.view.origin, size=size, root=self._tree.root(size))

    def note(self, size: int = 0) -> str:
        return sign_checkpoint(self.checkpoint(size), self.view.log_signer)

    def consistency(self, old: int) -> list[bytes]:
        return self._tree.consistency(old, len(self.entries))

    def receipt(self, index: int) -> Receipt:
        size = len(self.entries)
        return make_receipt(self.entries[index], index, self._tree.inclusion(index, size), self.note())
