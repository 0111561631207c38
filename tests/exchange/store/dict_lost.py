"""What a store in dictionaries knows of contents that were lost; the rest is in ``dict_store``."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from exchange.store.rows import Content, Facts, StoredBulletin, Wanted
from tests.exchange.store.dict_tables import Tables


class LostReads:
    """Questions about what was lost, over the tables of whoever inherits it."""

    _t: Tables

    def lost(self, after: int, limit: int) -> list[StoredBulletin]:
        contents = self._t.contents
        return self._bulletins(after, limit, lambda each: not each.erased and not contents[each.entry_index].stored_key)

    def wanted(self, after: tuple[str, bytes], limit: int) -> list[Wanted]:
        return [row for key, row in sorted(self._t.wanted.items()) if key > after][:limit]

    def dispatch_of(self, queued_index: int) -> bytes | None:
        return self._t.dispatches.get(queued_index)


class LostWrites(LostReads):
    """Changes to the same."""

    def lose_keys(self, living: Collection[bytes]) -> None:
        for index, content in list(self._t.contents.items()):
            if content.stored_key and content.stored_key[:32] not in living:
                self._t.contents[index] = replace(content, stored_key=b"")

    def bring_back(self, entry_index: int, facts: Facts, content: Content) -> None:
        dispatch = self._t.contents[entry_index].dispatch
        self._t.contents[entry_index] = replace(content, dispatch=dispatch)
        stored = self._t.bulletins[entry_index]
        self._t.bulletins[entry_index] = replace(stored, facts=facts)
        self.unwant(stored.sender, stored.bulletin_id)

    def want(self, wanted: Wanted) -> None:
        self._t.wanted[wanted.sender, wanted.bulletin_id] = wanted

    def unwant(self, sender: str, bulletin_id: bytes) -> None:
        self._t.wanted.pop((sender, bulletin_id), None)

    def add_dispatch(self, queued_index: int, dispatch: bytes) -> None:
        self._t.dispatches[queued_index] = dispatch
