"""The half of the contract of stores that is about what is kept until when, and what is left of it; see ``contract``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from exchange.store.rows import Content, InboundRow, Notice, Wanted
from exchange.store.store import NodeStore, Reads, Transaction
from tests.exchange.store.rows import LANE, content, entries, outbound, record_at, stored

TWICE = r"UNIQUE|unique"  # what engines say


class Engine(Protocol):
    """Makes and opens stores in one folder."""

    def uri(self, folder: Path, name: str = "node") -> str: ...
    def make(self, folder: Path, name: str = "node") -> NodeStore: ...
    def reopen(self, folder: Path, name: str = "node") -> NodeStore: ...


class BoomError(Exception):
    """Something that an act raises."""


class KeepingContract:
    """The base of ``StoreContract``, with its store."""

    engine: Engine

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[NodeStore]:
        made = self.engine.make(tmp_path)
        yield made
        made.close()

    # what is kept until when, and what is left after an erasure

    def test_an_erasure_leaves_the_dispatch_and_nothing_that_opens(self, store: NodeStore) -> None:
        with store.transaction() as rows:
            lane = rows.open_lane(outgoing=True, **LANE)
            for index in (1, 2):
                rows.add_bulletin(stored(index, retain_until_day=7, retention_rule=3), content(index))
            rows.add_outbound([outbound(lane, 1, 1), outbound(lane, 2, 2)])
        with store.transaction() as rows:
            rows.erase(1)
        reads = store.reads()
        gone, kept = (reads.find("HK-IMMD", index.to_bytes(16, "big")) for index in (1, 2))
        assert gone == stored(
            1, retain_until_day=7, retention_rule=3, erased=True, facts=replace(stored(1).facts, number="")
        )
        assert kept == stored(2, retain_until_day=7, retention_rule=3)
        assert reads.content(1) == Content(dispatch=content(1).dispatch, body=b"", wrap=b"", stored_key=b"")
        assert reads.content(2) == content(2)
        assert [row.wrap for row in reads.outbound(lane.row, 0, 9)] == [b"", outbound(lane, 2).wrap]
        assert reads.erased_count() == 1
        assert reads.stored_keys(0, 9) == [(2, stored(2).statement_digest, content(2).stored_key)]

    def test_what_is_kept_is_read_from_a_place_and_by_its_day(self, store: NodeStore) -> None:
        with store.transaction() as rows:
            for index, day in enumerate((5, 0, 9, 5), 1):
                rows.add_bulletin(stored(index, retain_until_day=day), content(index))
            rows.erase(1)
        reads = store.reads()
        assert [each.entry_index for each in reads.kept(0, 9)] == [2, 3, 4]
        assert [each.entry_index for each in reads.kept(2, 1)] == [3]
        assert [each.entry_index for each in reads.kept(0, 9, until_before_day=6)] == [4]  # no day is none before it
        assert [each.entry_index for each in reads.kept(0, 9, until_before_day=5)] == []

    def test_a_hold_is_open_until_it_is_released(self, store: NodeStore) -> None:
        with store.transaction() as rows:
            rows.set_hold(10, 1)
            rows.set_hold(11, 1)
            rows.set_hold(12, 2)
        assert store.reads().open_holds(1) == [10, 11]
        with store.transaction() as rows:
            rows.release_hold(10, 13)
        assert store.reads().open_holds(1) == [11]
        assert store.reads().open_holds(3) == []

    def test_readings_and_stored_keys_are_replaced_and_erased(self, store: NodeStore) -> None:
        with store.transaction() as rows:
            rows.add_bulletin(stored(1), content(1))
            rows.add_reading(5, bytes(32), b"request")
            rows.add_reading(6, bytes(32), b"another")
            rows.erase_reading(5)
            rows.store_keys([(1, b"anew"), (9, b"of nothing")])
        assert store.reads().readings_after(0, 9) == [(6, b"another")]
        assert store.reads().stored_keys(0, 9) == [(1, stored(1).statement_digest, b"anew")]
        assert store.scrub()
        assert store.reads().reading(6) == (bytes(32), b"another")
        assert store.reads().reading(5) is None

    def test_content_under_a_key_that_is_gone_is_lost_and_comes_back_but_nothing_that_was_erased(
        self, store: NodeStore
    ) -> None:
        def keyed(index: int, key: int) -> Content:
            return replace(content(index), stored_key=bytes([key]) * 32 + bytes(72))

        with store.transaction() as rows:
            for index, key in ((1, 7), (2, 8), (3, 7)):
                rows.add_bulletin(stored(index), keyed(index, key))
            rows.erase(3)
        with store.transaction() as rows:
            rows.lose_keys([bytes([8]) * 32])
        reads = store.reads()
        assert [each.entry_index for each in reads.lost(-1, 9)] == [1]
        assert reads.lost(1, 9) == []
        assert reads.content(2) == keyed(2, 8)
        lost = stored(1)
        wanted = Wanted(
            sender=lost.sender, bulletin_id=lost.bulletin_id, statement_digest=lost.statement_digest, refused=("A", "B")
        )
        with store.transaction() as rows:
            rows.want(replace(wanted, refused=()))
            rows.want(wanted)
        assert reads.wanted(("", b""), 9) == [wanted]
        assert reads.wanted((lost.sender, lost.bulletin_id), 9) == []
        facts = replace(lost.facts, number="HK-SB/NOT/2026/000009")
        with store.transaction() as rows:
            rows.bring_back(1, facts, replace(keyed(1, 8), dispatch=b"another"))
        assert reads.content(1) == keyed(1, 8), "the dispatch stays"
        found = reads.find(lost.sender, lost.bulletin_id)
        assert found is not None
        assert found.facts == facts
        assert (reads.lost(-1, 9), reads.wanted(("", b""), 9)) == ([], [])

    def test_a_delivery_that_was_made_again_has_a_dispatch_of_its_own(self, store: NodeStore) -> None:
        with store.transaction() as rows:
            rows.add_dispatch(5, b"again")
            rows.want(Wanted(sender="HK-SB", bulletin_id=bytes(16), statement_digest=bytes(32)))
            rows.unwant("HK-SB", bytes(16))
            rows.unwant("HK-SB", bytes(16))
        reads = store.reads()
        assert (reads.dispatch_of(5), reads.dispatch_of(6), reads.wanted(("", b""), 9)) == (b"again", None, [])

    def test_that_copies_are_dropped_changes_nothing_in_the_store(self, store: NodeStore) -> None:
        with store.transaction() as rows:
            rows.add_bulletin(stored(1), content(1))
        store.drop_copies(1)
        store.drop_copies()
        assert store.reads().content(1) is not None

    def test_of_what_was_erased_no_key_is_stored_again(self, store: NodeStore) -> None:
        with store.transaction() as rows:
            rows.add_bulletin(stored(1), content(1))
            rows.erase(1)
            rows.store_keys([(1, b"anew")])
        assert store.reads().stored_keys(0, 9) == []
        assert store.reads().content(1).erased

    def test_all_but_the_log_is_carried_from_a_store_that_stays_as_it_is(
        self, store: NodeStore, tmp_path: Path
    ) -> None:
        with store.transaction() as rows:
            fill(rows)
            rows.append_entries(entries(0, 3))
            rows.put_tiles([(0, 0, b"t")])
        before = everything(store.reads())
        store.close()
        fresh = self.engine.make(tmp_path, "fresh")
        fresh.carry_from(self.engine.uri(tmp_path))
        found = fresh.reads()
        assert (found.size(), found.get_tile(0, 0)) == (0, None)
        assert everything(found) == before
        with fresh.transaction() as rows:
            rows.append_entries(entries(0, 1))
            assert rows.next_number("ADV", 2026) == 2
            assert not rows.take_nonce(b"n" * 16)
        fresh.close()
        again = self.engine.reopen(tmp_path)
        assert (again.reads().size(), everything(again.reads())) == (3, before)
        again.close()

    # what a store is called, and how it fails

    def test_a_store_has_a_name_for_messages(self, store: NodeStore, tmp_path: Path) -> None:
        assert store.name.startswith(str(tmp_path))
        with store.guard():
            assert store.reads().size() == 0
        with pytest.raises(BoomError), store.guard():  # what is not the engine's passes
            raise BoomError


def fill(rows: Transaction) -> None:
    """Put one of everything into a store."""
    lane = rows.open_lane(outgoing=True, **LANE)
    rows.add_bulletin(stored(1), content(1))
    rows.add_outbound([outbound(lane, 1)])
    rows.add_inbound(InboundRow(lane=lane.row, sequence=1, delivery=b"v", digest=b"g" * 32, entry_index=4))
    rows.add_record(record_at(0))
    rows.add_opened(5, 1)
    rows.add_notice(Notice(sender="HK-IMMD", target_id=b"t" * 16, relation=2, bulletin_id=b"b" * 16))
    rows.add_catalogue(bytes(32), {"a": b"1"})
    rows.set_peer_checkpoint("TH-DSI", 2, "note", 3)
    rows.add_reading(5, bytes(32), b"request")
    rows.add_evidence(5, "lane", b"x")
    rows.add_attempts([(lane.row, 1)])
    rows.set_hold(10, 1)
    rows.set_meta("a", b"1")
    rows.next_number("ADV", 2026)
    rows.take_nonce(b"n" * 16)


def everything(reads: Reads) -> list[object]:
    """Read what ``fill`` has put in."""
    row = reads.lanes()[0].row
    return [
        *(
            reads.lanes(),
            reads.kept(-1, 9),
            reads.content(1),
            reads.outbound(row, 0, 9),
            reads.inbound_after(row, 0, 9),
        ),
        *(reads.records(), reads.records_at("TH-DSI", 1), reads.readings_of(1)),
        *(reads.notices("HK-IMMD", b"t" * 16), reads.catalogue(bytes(32)), reads.open_holds(1)),
        *(reads.peer_checkpoint("TH-DSI", 3), reads.peer_checkpoint("TH-DSI"), reads.readings_after(0, 9)),
        *(list(reads.evidence()), reads.attempts(row, 1, 1), reads.meta("a"), reads.stored_keys(0, 9)),
    ]
