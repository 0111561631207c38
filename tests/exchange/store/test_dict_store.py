"""A second engine keeps the contract of stores: that it is one, and not a description of SQLite."""

from __future__ import annotations

from pathlib import Path

from exchange.store.store import NodeStore
from tests.exchange.store.contract import StoreContract
from tests.exchange.store.dict_store import DictStore, Kept


class Dicts:
    """Stores by their folders and names."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}

    def uri(self, folder: Path, name: str = "node") -> str:
        return f"dict:{folder / name}"

    def make(self, folder: Path, name: str = "node") -> NodeStore:
        self._kept[self.uri(folder, name)] = Kept()
        return self.reopen(folder, name)

    def reopen(self, folder: Path, name: str = "node") -> NodeStore:
        return DictStore(str(folder / name), self._kept[self.uri(folder, name)], self._kept.__getitem__)


class TestDictStore(StoreContract):
    """Dictionaries."""

    engine = Dicts()
