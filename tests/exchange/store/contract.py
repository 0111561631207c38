"""What every storage engine promises (``exchange.store``), as tests that each engine's test file runs.

A subclass gives ``engine``: how to make a store in a folder, and how to open it again as after a crash.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from exchange.store.rows import DeliveryState, InboundRow, Notice, Settlement
from exchange.store.store import NodeStore
from keys.errors import UnavailableError
from tests.exchange.store.contract_keeping import TWICE, BoomError, KeepingContract
from tests.exchange.store.contract_records import RecordsContract
from tests.exchange.store.rows import LANE, NASTY, content, entries, outbound, record_at, stored


class StoreContract(RecordsContract, KeepingContract):
    """Run by subclasses named ``Test…`` with an ``engine``."""

    # a transaction happens as a whole, or not at all

    def test_what_a_transaction_did_is_there_after_it_and_after_a_crash(self, store: NodeStore, tmp_path: Path) -> None:
        with store.transaction() as rows:
            rows.append_entries(entries(0, 3))
            rows.set_meta("a", b"1")
        again = self.engine.reopen(tmp_path)  # without closing the first one, as a crash would
        for each in (store.reads(), store.reader(), again.reads()):
            assert each.size() == 3
            assert each.read_entries(1, 2) == [entry for _, entry, _ in entries(1, 2)]
            assert each.meta("a") == b"1"
        again.close()

    def test_what_raises_leaves_nothing(self, store: NodeStore) -> None:
        with pytest.raises(BoomError), store.transaction() as rows:  # noqa: PT012 - the last line raises
            rows.append_entries(entries(0, 3))
            rows.add_bulletin(stored(1), content(1))
            rows.open_lane(outgoing=True, **LANE)
            rows.set_meta("a", b"1")
            raise BoomError
        reads = store.reads()
        assert (reads.size(), reads.meta("a"), reads.lanes(), reads.find("HK-IMMD", stored(1).bulletin_id)) == (
            0,
            None,
            [],
            None,
        )
        with store.transaction() as rows:
            rows.append_entries(entries(0, 1))
        assert reads.size() == 1

    def test_nobody_sees_a_transaction_before_its_end(self, store: NodeStore) -> None:
        reads = store.reads()
        with store.transaction() as rows:
            rows.append_entries(entries(0, 1))
            assert rows.size() == 1
            assert reads.size() == 0
        assert reads.size() == 1

    def test_there_is_one_transaction_at_a_time(self, store: NodeStore, tmp_path: Path) -> None:
        second = self.engine.reopen(tmp_path)
        with store.transaction() as rows:
            rows.set_meta("a", b"1")
            with pytest.raises(UnavailableError), second.transaction():
                raise AssertionError("a second writer came in")
        with second.transaction() as rows:
            assert rows.meta("a") == b"1"
        second.close()

    def test_each_thread_reads_on_its_own(self, store: NodeStore) -> None:
        found: list[int] = []
        with store.transaction() as rows:
            rows.append_entries(entries(0, 2))
        threads = [threading.Thread(target=lambda: found.append(store.reads().size())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [2] * 4

    # a refused act does not spoil its neighbours

    def test_a_savepoint_that_raises_takes_back_its_own_and_nothing_else(self, store: NodeStore) -> None:
        with store.transaction() as rows:
            rows.set_meta("before", b"1")
            with suppress(BoomError), rows.savepoint():
                rows.set_meta("inside", b"1")
                rows.add_bulletin(stored(1), content(1))
                raise BoomError
            assert rows.meta("inside") is None
            rows.set_meta("after", b"1")
        reads = store.reads()
        assert [reads.meta(name) for name in ("before", "inside", "after")] == [b"1", None, b"1"]

    def test_a_change_is_seen_in_the_number_of_changes_and_a_question_is_not(self, store: NodeStore) -> None:
        with store.transaction() as rows:
            lane = rows.open_lane(outgoing=True, **LANE)
            changing: list[Callable[[], object]] = [
                lambda: rows.set_meta("a", b"1"),
                lambda: rows.add_bulletin(stored(1), content(1)),
                lambda: rows.move_lane(replace(lane, sequence=1)),
                lambda: rows.add_outbound([outbound(lane, 1)]),
                lambda: rows.take_nonce(b"n" * 16),
            ]
            for change in changing:
                before = rows.changes()
                change()
                assert rows.changes() != before
            before = rows.changes()
            rows.find("HK-IMMD", stored(1).bulletin_id)
            rows.lane(outgoing=True, **LANE)
            assert not rows.take_nonce(b"n" * 16)
            assert rows.changes() == before

    def test_what_was_kept_back_is_seen_by_every_question_and_undone_with_its_savepoint(self, store: NodeStore) -> None:
        with store.transaction() as rows:
            lane = rows.open_lane(outgoing=True, **LANE)
            rows.add_bulletin(stored(1), content(1))
            with suppress(BoomError), rows.savepoint():
                rows.add_bulletin(stored(2), content(2))
                rows.add_outbound([outbound(lane, 1)])
                raise BoomError
            assert rows.find("HK-IMMD", stored(2).bulletin_id) is None
            assert rows.find("HK-IMMD", stored(1).bulletin_id) == stored(1)
            here = {stored(1).bulletin_id: stored(1).statement_digest}
            assert rows.statement_digests("HK-IMMD", [stored(2).bulletin_id, stored(1).bulletin_id]) == here
            assert rows.outbound(lane.row, 0, 9) == []
            rows.add_outbound([outbound(lane, 1)])
            assert rows.outbound(lane.row, 0, 9) == [outbound(lane, 1)]
            rows.add_bulletin(stored(3), content(3))
            assert rows.content(3) == content(3)
            rows.add_bulletin(stored(4), content(4))
            rows.mark_opened(4)
            found = rows.find("HK-IMMD", stored(4).bulletin_id)
            assert found is not None
            assert found.opened

    def test_a_lane_moves_back_with_its_savepoint(self, store: NodeStore) -> None:
        with store.transaction() as rows:
            lane = rows.open_lane(outgoing=True, **LANE)
            rows.move_lane(replace(lane, sequence=1, digest=b"1" * 32))
            with suppress(BoomError), rows.savepoint():
                rows.move_lane(replace(lane, sequence=2, digest=b"2" * 32))
                rows.open_lane(outgoing=False, **LANE)
                raise BoomError
            assert rows.lane(outgoing=True, **LANE).sequence == 1
            assert rows.lane(outgoing=False, **LANE) is None
            with rows.savepoint():
                rows.move_lane(replace(lane, sequence=3, digest=b"3" * 32))
            assert rows.open_lane(outgoing=True, **LANE).sequence == 3
        found = store.reads().lanes()
        assert [(each.outgoing, each.sequence, each.digest) for each in found] == [(True, 3, b"3" * 32)]

    def test_a_lane_opened_in_a_refused_act_may_be_opened_by_the_next(self, store: NodeStore) -> None:
        with store.transaction() as rows:
            for _ in range(2):
                with suppress(BoomError), rows.savepoint():
                    rows.move_lane(replace(rows.open_lane(outgoing=True, **LANE), sequence=1))
                    raise BoomError
            with rows.savepoint():
                lane = rows.open_lane(outgoing=True, **LANE)
                rows.move_lane(replace(lane, sequence=1))
        assert store.reads().lane(outgoing=True, **LANE).sequence == 1

    # the log stays

    def test_an_entry_is_written_once(self, store: NodeStore) -> None:
        with store.transaction() as rows:
            rows.append_entries(entries(0, 2))
            rows.put_tiles([(0, 0, b"t")])
        for again in (
            lambda rows: rows.append_entries(entries(1, 1)),
            lambda rows: rows.put_tiles([(0, 0, b"u")]),
        ):
            with pytest.raises(Exception, match=TWICE), store.transaction() as rows:
                again(rows)
        reads = store.reads()
        assert reads.leaf_hashes(0, 5) == [leaf for _, _, leaf in entries(0, 2)]
        assert (reads.get_tile(0, 0), reads.get_tile(0, 1)) == (b"t", None)

    @pytest.mark.parametrize("number", [0, 1, 99, 100, 101, 250])
    def test_a_group_of_any_size_is_kept_whole_and_in_its_order(self, store: NodeStore, number: int) -> None:
        with store.transaction() as rows:
            rows.append_entries(entries(0, 5))
            rows.append_entries(entries(5, number))
        whole, reads = entries(0, 5 + number), store.reads()
        assert reads.read_entries(0, 5 + number) == [entry for _, entry, _ in whole]
        assert reads.leaf_hashes(0, 5 + number) == [leaf for _, _, leaf in whole]
        again = [*entries(5 + number, number), whole[-1]]  # an index that is there already comes last
        with pytest.raises(Exception, match=TWICE), store.transaction() as rows:
            rows.append_entries(again)
        assert reads.size() == 5 + number

    # bulletins, by sender and id

    def test_a_bulletin_is_found_by_sender_and_id(self, store: NodeStore) -> None:
        with store.transaction() as rows:
            rows.add_bulletin(stored(1), content(1))
            rows.add_bulletin(stored(2, "TW-NHRC", bulletin_id=stored(1).bulletin_id), content(2))
            rows.add_bulletin(stored(3), content(3, ours=True))
        reads = store.reads()
        assert reads.find("HK-IMMD", stored(1).bulletin_id) == stored(1)
        assert reads.find("HK-SB", stored(1).bulletin_id) is None
        ids = [stored(number).bulletin_id for number in (1, 2, 3)]
        assert reads.statement_digests("HK-IMMD", ids) == {
            each.bulletin_id: each.statement_digest for each in (stored(1), stored(3))
        }
        assert reads.statement_digests("HK-SB", ids) == {}
        assert [each.sender for each in reads.find_any(stored(1).bulletin_id)] == ["HK-IMMD", "TW-NHRC"]
        assert reads.content(1) == content(1)
        assert reads.content(9) is None
        assert [each.entry_index for each in reads.stored_since(0, 10, sent=False)] == [1, 2]
        assert [each.entry_index for each in reads.stored_since(1, 10, sent=False)] == [2]
        assert [each.entry_index for each in reads.stored_since(0, 10, sent=True)] == [3]
        assert [each.entry_index for each in reads.stored_since(0, 1, sent=False)] == [1]

    def test_a_sender_has_one_bulletin_of_an_id(self, store: NodeStore) -> None:
        with store.transaction() as rows:
            rows.add_bulletin(stored(1), content(1))
        with pytest.raises(Exception, match=TWICE), store.transaction() as rows:
            rows.add_bulletin(stored(2, bulletin_id=stored(1).bulletin_id), content(2))

    def test_opened_is_marked_once_read(self, store: NodeStore) -> None:
        with store.transaction() as rows:
            rows.add_bulletin(stored(1), content(1))
            rows.mark_opened(1)
            rows.mark_opened(1)
        assert store.reads().find("HK-IMMD", stored(1).bulletin_id).opened

    @pytest.mark.parametrize("text", NASTY)
    def test_text_is_text_row_48(self, store: NodeStore, text: str) -> None:
        nasty = stored(1, text, facts=replace(stored(1).facts, kind=text, number=text))
        with store.transaction() as rows:
            rows.add_bulletin(nasty, content(1))
            rows.set_meta(text, text.encode())
            rows.set_peer_checkpoint(text, 1, text)
            rows.add_notice(Notice(sender=text, target_id=bytes(16), relation=1, bulletin_id=bytes(16)))
            rows.open_lane(outgoing=True, peer=text, lane_class=1, epoch=1)
            rows.add_record(record_at(0, agency=text))
            rows.add_catalogue(bytes(32), {text: b"c"})
            rows.add_evidence(1, text, b"e")
        reads = store.reads()
        assert reads.find(text, nasty.bulletin_id) == nasty
        assert reads.meta(text) == text.encode()
        assert reads.peer_checkpoint(text) == (1, text)
        assert reads.notices(text, bytes(16))[0].sender == text
        assert reads.lanes()[0].peer == text
        assert reads.records()[0].agency == text
        assert reads.catalogue(bytes(32)) == {text: b"c"}
        assert list(store.evidence()) == [(1, text, b"e")]

    # lanes

    def test_a_lane_is_one_row_for_each_direction_class_and_epoch(self, store: NodeStore) -> None:
        with store.transaction() as rows:
            made = [
                rows.open_lane(outgoing=outgoing, peer="TH-DSI", lane_class=lane_class, epoch=epoch)
                for outgoing in (True, False)
                for lane_class in (1, 2)
                for epoch in (1, 2)
            ]
            assert len({lane.row for lane in made}) == 8
            rows.move_lane(replace(made[0], sequence=5, head=b"h", head_time_ms=9, taken=4, stopped=True))
            assert rows.lanes()[0].sequence == 5
        found = store.reads().lane(outgoing=True, peer="TH-DSI", lane_class=1, epoch=1)
        assert found == replace(made[0], sequence=5, head=b"h", head_time_ms=9, taken=4, stopped=True)
        assert store.reads().lane(outgoing=True, peer="HK-SB", lane_class=1, epoch=1) is None

    def test_deliveries_are_read_from_a_place_in_their_own_lane(self, store: NodeStore) -> None:
        with store.transaction() as rows:
            one = rows.open_lane(outgoing=True, **LANE)
            two = rows.open_lane(outgoing=True, peer="HK-SB", lane_class=2, epoch=1)
            rows.add_outbound([outbound(one, number) for number in (1, 2, 3)] + [outbound(two, 1)])
        reads = store.reads()
        assert [row.sequence for row in reads.outbound(one.row, 1, 10)] == [2, 3]
        assert [row.sequence for row in reads.outbound(one.row, 0, 2)] == [1, 2]
        assert reads.outbound(two.row, 0, 10) == [outbound(two, 1)]
        assert reads.outbound(two.row, 1, 10) == []
        assert len(reads.outbound_of(1)) == 4

    def test_a_settled_delivery_keeps_its_bytes(self, store: NodeStore) -> None:
        with store.transaction() as rows:
            lane = rows.open_lane(outgoing=True, **LANE)
            rows.add_outbound([outbound(lane, 1), outbound(lane, 2)])
        new = {"state": DeliveryState.REFUSED, "reason": 70, "receipt": b"r", "since_ms": 8}
        with store.transaction() as rows:
            rows.settle_outbound([Settlement(lane=lane.row, sequence=2, **new)])
        assert store.reads().outbound(lane.row, 0, 10) == [outbound(lane, 1), replace(outbound(lane, 2), **new)]

    def test_a_delivery_of_a_peer_has_one_answer(self, store: NodeStore) -> None:
        with store.transaction() as rows:
            lane = rows.open_lane(outgoing=False, **LANE)
            first = InboundRow(lane=lane.row, sequence=1, delivery=b"v", digest=b"g" * 32, entry_index=4)
            rows.add_inbound(first)
            rows.add_inbound(replace(first, sequence=2, original_index=4))
        reads = store.reads()
        assert reads.inbound(lane.row, 1) == first
        assert reads.inbound(lane.row, 3) is None
        assert [row.sequence for row in reads.inbound_after(lane.row, 1, 10)] == [2]
        with pytest.raises(Exception, match=TWICE), store.transaction() as rows:
            rows.add_inbound(replace(first, entry_index=9))

    # the small things

    def test_a_nonce_is_new_once_for_ever(self, store: NodeStore, tmp_path: Path) -> None:
        with store.transaction() as rows:
            assert rows.take_nonce(b"n" * 16)
            assert not rows.take_nonce(b"n" * 16)
        with pytest.raises(BoomError), store.transaction() as rows:  # noqa: PT012 - the last line raises
            assert rows.take_nonce(b"m" * 16)
            raise BoomError
        again = self.engine.reopen(tmp_path)
        with again.transaction() as rows:
            assert rows.take_nonce(b"m" * 16)  # what was rolled back was not taken
            assert not rows.take_nonce(b"n" * 16)
        again.close()

    def test_numbers_count_from_one_for_each_kind_and_year(self, store: NodeStore) -> None:
        with store.transaction() as rows:
            found = [
                rows.next_number(kind, year)
                for kind, year in (("ADV", 2026), ("ADV", 2026), ("TRA", 2026), ("ADV", 2027))
            ]
        assert found == [1, 2, 1, 1]

    def test_attempts_count_deaths(self, store: NodeStore) -> None:
        with store.transaction() as rows:
            lane = rows.open_lane(outgoing=False, **LANE)
            rows.add_attempts([(lane.row, 1), (lane.row, 2)])
            rows.add_attempts([(lane.row, 1)])
        reads = store.reads()
        assert (reads.attempts(lane.row, 1, 3), reads.attempts(lane.row, 2, 3)) == ({1: 2, 2: 1}, {2: 1})
        assert reads.attempts(lane.row + 1, 1, 3) == {}

    def test_bulletins_that_are_expected_together_are_found_as_if_each_was_asked_for(self, store: NodeStore) -> None:
        ids = [stored(index).bulletin_id for index in (1, 2, 3, 4)]
        notice = Notice(sender="HK-IMMD", target_id=ids[2], relation=2, bulletin_id=b"b" * 16)
        with store.transaction() as rows:
            rows.add_bulletin(stored(1), content(1))
            rows.add_notice(notice)
        with store.transaction() as rows:
            rows.add_bulletin(stored(2), content(2))
            before = rows.changes()
            rows.expect("HK-IMMD", ids)
            rows.expect("HK-IMMD", [])
            assert rows.changes() == before
            assert [rows.find("HK-IMMD", each) for each in ids] == [stored(1), stored(2), None, None]
            assert [rows.notices("HK-IMMD", each) for each in ids] == [[], [], [notice], []]
            rows.add_bulletin(stored(3), content(3))
            rows.add_notice(replace(notice, target_id=ids[3]))
            rows.content(3)  # whatever was kept back is written now
            assert [rows.find("HK-IMMD", each) for each in ids[2:]] == [stored(3), None]
            assert rows.notices("HK-IMMD", ids[3]) == [replace(notice, target_id=ids[3])]
            with suppress(KeyError), rows.savepoint():
                rows.add_bulletin(stored(4), content(4))
                raise KeyError
            assert rows.find("HK-IMMD", ids[3]) is None
        assert store.reads().find("HK-IMMD", ids[2]) == stored(3)

    def test_records_checkpoints_notices_and_evidence_are_kept_in_their_order(self, store: NodeStore) -> None:
        record = record_at(0)
        notice = Notice(sender="HK-IMMD", target_id=b"t" * 16, relation=2, bulletin_id=b"b" * 16)
        with store.transaction() as rows:
            for each in (record, record_at(1, version=2), record_at(2, kind=1, agency="")):
                rows.add_record(each)
            rows.add_notice(notice)
            rows.add_notice(notice)
            rows.set_peer_checkpoint("TH-DSI", 1, "one")
            rows.set_peer_checkpoint("TH-DSI", 2, "two")
            rows.add_evidence(5, "lane", b"x")
            rows.add_evidence(4, "dispatch", b"y")
        reads = store.reads()
        assert [(each.kind, each.version) for each in reads.records()] == [(1, 1), (2, 1), (2, 2)]
        assert reads.notices("HK-IMMD", b"t" * 16) == [notice]
        assert reads.peer_checkpoint("TH-DSI") == (2, "two")
        assert list(store.evidence()) == [(5, "lane", b"x"), (4, "dispatch", b"y")]
        with pytest.raises(Exception, match=TWICE), store.transaction() as rows:
            rows.add_record(record)
        with pytest.raises(Exception, match=TWICE), store.transaction() as rows:
            rows.add_record(replace(record, rank=9))  # of the same digest
