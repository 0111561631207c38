"""What every storage engine promises of records and readings: what was in force when, and what could not be shown."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from exchange.store.rows import LoggedReading
from exchange.store.store import NodeStore
from tests.exchange.store.rows import record_at


class RecordsContract:
    """A part of ``StoreContract``."""

    def test_the_records_in_force_are_those_adopted_last_before_a_position(self, store: NodeStore) -> None:
        """Of an agency its own and the roster; two of one position in the order of their ranks."""
        roster, first, second = record_at(1, kind=1, agency=""), record_at(2), record_at(7, version=2)
        sheet, other = record_at(3, kind=3), record_at(5, agency="HK-SB")
        again = replace(record_at(8), version=2, rank=1 << 32 | 2, position=7)
        with store.transaction() as rows:
            assert rows.adopted_at() == -1
            for each, newest in ((first, 2), (roster, 2), (second, 7), (sheet, 7), (other, 7)):
                rows.add_record(each)
                assert rows.adopted_at() == newest
            with suppress(KeyError), rows.savepoint():
                rows.add_record(record_at(9, version=9))
                assert rows.adopted_at() == 9
                raise KeyError
            assert rows.adopted_at() == 7
        reads = store.reads()
        assert reads.adopted_at() == 7
        assert reads.records_at("TH-DSI", 1) == (None, None, None)
        assert reads.records_at("TH-DSI", 2) == (roster, None, None)
        assert reads.records_at("TH-DSI", 3) == (roster, first, None)
        assert reads.records_at("TH-DSI", 7) == (roster, first, sheet)
        assert reads.records_at("TH-DSI", 1 << 50) == (roster, second, sheet)
        assert reads.records_at("HK-SB", 9) == (roster, other, None)
        assert reads.records_at("HK-SB", 9).digests == (roster.digest, other.digest, bytes(32))
        assert [reads.record_by_digest(each.digest) for each in (second, other)] == [second, other]
        assert reads.record_by_digest(b"no" * 16) is None
        later = replace(record_at(10), kind=3, version=2, rank=1 << 32 | 2, position=8)
        with store.transaction() as rows:
            rows.add_record(again)
            rows.add_record(later)
        assert store.reads().records_at("TH-DSI", 8) == (roster, again, sheet)
        assert reads.record(2, "TH-DSI", 2) == again
        assert reads.records()[1:4] == [other, first, second]
        sheets = [each for each in reads.records() if each.kind == 3]
        assert len(sheets) == 2
        assert [each for each in reads.standing_records() if each.kind == 3] == [later]
        rest = [each for each in reads.records() if each.kind != 3]
        assert [each for each in reads.standing_records() if each.kind != 3] == rest

    def test_readings_of_a_bulletin_stand_in_their_order_and_tell_which_failed(self, store: NodeStore) -> None:
        with store.transaction() as rows:
            for position, of in ((12, 1), (11, 1), (13, 2)):
                rows.add_opened(position, of)
        with store.transaction() as rows:
            rows.fail_opened(11, 14)
            rows.fail_opened(99, 15)  # none of ours: nothing
        assert store.reads().readings_of(1) == [LoggedReading(11, 14), LoggedReading(12, 0)]
        assert store.reads().readings_of(3) == []
