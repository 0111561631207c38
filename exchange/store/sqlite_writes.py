"""Changes inside the one open transaction of the SQLite engine.

Lanes are read once and written once a transaction, whatever number of deliveries moves them: their newest state is
kept here. New rows of bulletins and deliveries are kept here too and written many at a time, because a statement costs
as much as a row: before anybody asks about such rows, before any of them is changed, and at the end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import apsw

from exchange.store.log_position import peer_epoch
from exchange.store.rows import (
    AdoptedRecord,
    Content,
    Facts,
    InboundRow,
    LaneState,
    Notice,
    OutboundRow,
    Settlement,
    StoredBulletin,
    Wanted,
)
from exchange.store.sqlite_reads import SEQUENCE_BITS, STORED_BY_ID, SqliteReads, stored_of

MANY = 100  # entries a statement: each statement costs as much as a row, and lets go of the interpreter's lock
_INSERT = "INSERT INTO entries VALUES (?, ?, ?)"
_INSERT_MANY = _INSERT + ", (?, ?, ?)" * (MANY - 1)
_NEW_ROWS = {
    "bulletins": "INSERT INTO bulletins VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    "contents": "INSERT INTO contents VALUES (?,?,?,?,x'')",
    "stored_keys": "INSERT INTO stored_keys VALUES (?,?)",
    "retention": "INSERT INTO retention VALUES (?,?,?,0)",
    "outbound": "INSERT INTO outbound VALUES (?,?,?,?,?,?,?,?,?,?,?)",
    "inbound": "INSERT INTO inbound VALUES (?,?,?,?,?)",
}
_Key = tuple[bool, str, int, int]


class SqliteTransaction(SqliteReads):
    """The writer's view: reads see what the transaction has written."""

    def __init__(self, connection: apsw.Connection) -> None:
        super().__init__(connection)
        self._lanes: dict[_Key, LaneState] = {}
        self._moved: dict[int, LaneState] = {}
        self._rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in _NEW_ROWS}
        self._new: dict[tuple[str, bytes], StoredBulletin] = {}  # those of the rows that are still here
        self._absent: set[tuple[str, bytes]] = set()  # of those expected: not stored
        self._unnoticed: set[tuple[str, bytes]] = set()  # of those expected: no correction or recall stands of them
        self._kept_back = 0  # changes that were kept here
        self._adopted_at: int | None = None

    def changes(self) -> int:
        return self._db.total_changes() + self._kept_back

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what an act did if it raises; its neighbours stay."""
        self._write_rows()
        lanes, moved = dict(self._lanes), dict(self._moved)
        self._db.execute("SAVEPOINT act")
        try:
            yield
        except BaseException:
            self._lanes, self._moved = lanes, moved
            self._adopted_at = None
            self._forget_rows()
            self._db.execute("ROLLBACK TO act")
            self._db.execute("RELEASE act")
            raise
        self._db.execute("RELEASE act")

    def flush(self) -> None:
        self._write_rows()
        self._write_lanes()

    def _write_rows(self) -> None:
        if any(self._rows.values()):
            for table, rows in self._rows.items():
                if rows:
                    self._db.executemany(_NEW_ROWS[table], rows)
            self._forget_rows()

    def _forget_rows(self) -> None:
        for rows in self._rows.values():
            rows.clear()
        self._new.clear()

    def _ask(self, statement: str, values: tuple[Any, ...] = ()) -> Iterator[Any]:
        self._write_rows()
        return super()._ask(statement, values)

    def _change(self, statement: str, values: tuple[Any, ...]) -> None:
        """Change rows of bulletins or deliveries: those that were kept back are written first."""
        self._write_rows()
        self._db.execute(statement, values)

    def find(self, sender: str, bulletin_id: bytes) -> StoredBulletin | None:
        new = self._new.get((sender, bulletin_id))
        if new is not None or (sender, bulletin_id) in self._absent:
            return new
        row = self._one(STORED_BY_ID, sender, bulletin_id)  # the rows that are still here are not it
        return stored_of(row) if row else None

    def expect(self, sender: str, bulletin_ids: Sequence[bytes]) -> None:
        keys = [(sender, each) for each in bulletin_ids]
        stored = self._db.executemany(
            "SELECT sender, bulletin_id FROM bulletins WHERE sender = ? AND bulletin_id = ?", keys
        )
        self._absent.update(set(keys).difference(stored, self._new))
        noticed = self._db.executemany("SELECT sender, target_id FROM notices WHERE sender = ? AND target_id = ?", keys)
        self._unnoticed.update(set(keys).difference(noticed))

    def notices(self, sender: str, target_id: bytes) -> list[Notice]:
        return [] if (sender, target_id) in self._unnoticed else super().notices(sender, target_id)

    def _write_lanes(self) -> None:
        if not self._moved:
            return
        self._db.executemany(
            "UPDATE lanes SET sequence = ?, digest = ?, head = ?, head_time_ms = ?, taken = ?, stopped = ? WHERE id = ?",
            [
                (s.sequence, s.digest, s.head, s.head_time_ms, s.taken, int(s.stopped), s.row)
                for s in self._moved.values()
            ],
        )
        self._moved.clear()

    def append_entries(self, rows: Sequence[tuple[int, bytes, bytes]]) -> None:
        many = len(rows) // MANY * MANY
        for start in range(0, many, MANY):
            self._db.execute(_INSERT_MANY, tuple(chain.from_iterable(rows[start : start + MANY])))
        self._db.executemany(_INSERT, rows[many:])

    def put_tiles(self, rows: Sequence[tuple[int, int, bytes]]) -> None:
        self._db.executemany("INSERT INTO tiles VALUES (?, ?, ?)", rows)

    def set_meta(self, name: str, value: bytes) -> None:
        self._db.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    def add_bulletin(self, stored: StoredBulletin, content: Content) -> None:
        facts, position, rows = stored.facts, stored.entry_index, self._rows
        rows["bulletins"].append(
            (
                position,
                stored.sender,
                stored.bulletin_id,
                stored.statement_digest,
                facts.kind,
                facts.number,
                facts.tlp,
                facts.classification,
                facts.urgency,
                facts.status,
                facts.reply_due_ms,
                facts.expires_ms,
                int(facts.not_understood),
                stored.at_ms,
                int(stored.opened),
                int(not content.wrap),
            )
        )
        rows["contents"].append((position, content.dispatch, content.body, content.wrap))
        if content.stored_key:  # a recovered bulletin whose content was lost has none
            rows["stored_keys"].append((position, content.stored_key))
        rows["retention"].append((position, stored.retain_until_day, stored.retention_rule))
        self._new.setdefault((stored.sender, stored.bulletin_id), stored)
        self._absent.discard((stored.sender, stored.bulletin_id))
        self._kept_back += 1

    def mark_opened(self, entry_index: int) -> None:
        self._change("UPDATE bulletins SET opened = 1 WHERE entry_index = ?", (entry_index,))

    def lane(self, *, outgoing: bool, peer: str, lane_class: int, epoch: int) -> LaneState | None:
        key = (outgoing, peer, lane_class, epoch)
        state = self._lanes.get(key)
        if state is None:
            state = super().lane(outgoing=outgoing, peer=peer, lane_class=lane_class, epoch=epoch)
            if state is not None:
                self._lanes[key] = state
        return state

    def lanes(self) -> list[LaneState]:
        self._write_lanes()
        return super().lanes()

    def open_lane(self, *, outgoing: bool, peer: str, lane_class: int, epoch: int) -> LaneState:
        """Return the lane, made empty if it is new."""
        state = self.lane(outgoing=outgoing, peer=peer, lane_class=lane_class, epoch=epoch)
        if state is not None:
            return state
        self._db.execute(
            "INSERT INTO lanes (outgoing, peer, class, epoch, sequence, digest, head, head_time_ms, taken, stopped)"
            " VALUES (?, ?, ?, ?, 0, ?, x'', 0, 0, 0)",
            (int(outgoing), peer, lane_class, epoch, bytes(32)),
        )
        opened = self.lane(outgoing=outgoing, peer=peer, lane_class=lane_class, epoch=epoch)
        if opened is None:
            raise AssertionError("a lane just made is there")
        return opened

    def move_lane(self, lane: LaneState) -> None:
        self._lanes[(lane.outgoing, lane.peer, lane.lane_class, lane.epoch)] = lane
        self._moved[lane.row] = lane
        self._kept_back += 1

    def add_outbound(self, rows: Sequence[OutboundRow]) -> None:
        self._rows["outbound"].extend(
            [
                (
                    (row.lane << SEQUENCE_BITS) + row.sequence,
                    row.entry_index,
                    row.queued_index,
                    row.delivery,
                    row.digest,
                    row.wrap,
                    row.opening,
                    int(row.state),
                    row.reason,
                    row.receipt,
                    row.since_ms,
                )
                for row in rows
            ]
        )
        self._kept_back += len(rows)

    def settle_outbound(self, rows: Sequence[Settlement]) -> None:
        """Write what became of deliveries that stand already."""
        self._write_rows()
        self._db.executemany(
            "UPDATE outbound SET state = ?, reason = ?, receipt = ?, since_ms = ? WHERE id = ?",
            [
                (int(row.state), row.reason, row.receipt, row.since_ms, (row.lane << SEQUENCE_BITS) + row.sequence)
                for row in rows
            ],
        )

    def add_inbound(self, row: InboundRow) -> None:
        key = (row.lane << SEQUENCE_BITS) + row.sequence
        values = (key, row.delivery, row.digest, row.entry_index, row.original_index)
        self._rows["inbound"].append(values)
        self._kept_back += 1

    def answer_inbound(self, row: InboundRow) -> None:
        """Write which entry answers a delivery that stands already: one of a later epoch, once that is asked for."""
        key = (row.lane << SEQUENCE_BITS) + row.sequence
        statement = "UPDATE inbound SET entry_index = ?, original_index = ? WHERE id = ?"
        self._change(statement, (row.entry_index, row.original_index, key))

    def add_record(self, record: AdoptedRecord) -> None:
        order = (record.rank, record.version, record.position)
        values = (record.kind, record.agency, *order, record.digest, record.signed)
        self._db.execute("INSERT INTO records VALUES (?,?,?,?,?,?,?)", values)
        self._adopted_at = None

    def adopted_at(self) -> int:
        if self._adopted_at is None:  # asked for each bulletin, changed by hardly any transaction
            self._adopted_at = super().adopted_at()
        return self._adopted_at

    def add_catalogue(self, digest: bytes, files: Mapping[str, bytes]) -> None:
        rows = [(digest, name, content) for name, content in sorted(files.items())]
        self._db.executemany("INSERT OR IGNORE INTO catalogues VALUES (?,?,?)", rows)

    def set_peer_checkpoint(self, peer: str, size: int, note: str, epoch: int = 1) -> None:
        self._db.execute(
            "INSERT INTO peer_checkpoints VALUES (?,?,?) ON CONFLICT (peer)"
            " DO UPDATE SET size = excluded.size, note = excluded.note",
            (peer_epoch(peer, epoch), size, note),
        )

    def add_notice(self, notice: Notice) -> None:
        values = (notice.sender, notice.target_id, notice.relation, notice.bulletin_id)
        self._db.execute("INSERT OR IGNORE INTO notices VALUES (?,?,?,?)", values)
        self._unnoticed.discard((notice.sender, notice.target_id))

    def take_nonce(self, nonce: bytes) -> bool:
        """Return whether the nonce was new; it is taken from now on."""
        self._db.execute("INSERT OR IGNORE INTO nonces VALUES (?)", (nonce,))
        return self._db.changes() == 1

    def add_reading(self, entry_index: int, random: bytes, request: bytes) -> None:
        self._db.execute("INSERT INTO readings VALUES (?,?,?)", (entry_index, random, request))

    def add_opened(self, entry_index: int, bulletin: int) -> None:
        self._db.execute("INSERT INTO openings VALUES (?,?,0)", (entry_index, bulletin))

    def fail_opened(self, entry_index: int, failed: int) -> None:
        self._db.execute("UPDATE openings SET failed = ? WHERE entry_index = ?", (failed, entry_index))

    def next_number(self, kind_code: str, year: int) -> int:
        """Return the next serial number of a kind and a year, from 1; it is never given again."""
        row = self._one(
            "INSERT INTO numbers VALUES (?, ?, 1) ON CONFLICT (kind, year) DO UPDATE SET last = last + 1 RETURNING last",
            kind_code,
            year,
        )
        return int(row[0])

    def raise_number(self, kind_code: str, year: int, last: int) -> None:
        """Reserve the serial numbers up to *last*."""
        self._db.execute(
            "INSERT INTO numbers VALUES (?, ?, ?) ON CONFLICT (kind, year) DO UPDATE SET last = max(last, excluded.last)",
            (kind_code, year, last),
        )

    def add_attempts(self, pairs: Sequence[tuple[int, int]]) -> None:
        self._db.executemany(
            "INSERT INTO attempts VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET died = died + 1",
            [((lane << SEQUENCE_BITS) + sequence,) for lane, sequence in pairs],
        )

    def erase(self, entry_index: int) -> None:
        """Destroy what opens a bulletin and what could be opened: key, wraps, body, number. Its dispatch stays."""
        self._change("DELETE FROM stored_keys WHERE entry_index = ?", (entry_index,))
        self._change("UPDATE contents SET body = x'', wrap = x'' WHERE entry_index = ?", (entry_index,))
        self._change("UPDATE outbound SET wrap = x'' WHERE entry_index = ?", (entry_index,))
        self._change("UPDATE bulletins SET number = '', reply_due_ms = 0 WHERE entry_index = ?", (entry_index,))
        self._change("UPDATE retention SET erased = 1 WHERE entry_index = ?", (entry_index,))

    def lose_keys(self, living: Collection[bytes]) -> None:
        """Drop the content keys that lie under a storage key that is not here any more."""
        self._write_rows()
        under = {
            bytes(row[0]) for row in self._db.execute("SELECT DISTINCT substr(stored_key, 1, 32) FROM stored_keys")
        }
        for gone in under - set(living):
            self._db.execute("DELETE FROM stored_keys WHERE substr(stored_key, 1, 32) = ?", (gone,))

    def bring_back(self, entry_index: int, facts: Facts, content: Content) -> None:
        """Write the content of a bulletin that had lost it; the dispatch stays."""
        self._write_rows()
        self._db.execute("INSERT INTO stored_keys VALUES (?,?)", (entry_index, content.stored_key))
        self._db.execute(
            "UPDATE contents SET body = ?, wrap = ? WHERE entry_index = ?", (content.body, content.wrap, entry_index)
        )
        self._db.execute(
            "UPDATE bulletins SET kind = ?, number = ?, tlp = ?, classification = ?, urgency = ?, status = ?,"
            " reply_due_ms = ?, expires_ms = ?, not_understood = ? WHERE entry_index = ?",
            (
                *(facts.kind, facts.number, facts.tlp, facts.classification, facts.urgency, facts.status),
                *(facts.reply_due_ms, facts.expires_ms, int(facts.not_understood), entry_index),
            ),
        )
        self._db.execute(
            "DELETE FROM wanted WHERE (sender, bulletin_id) ="
            " (SELECT sender, bulletin_id FROM bulletins WHERE entry_index = ?)",
            (entry_index,),
        )

    def want(self, wanted: Wanted) -> None:
        """Ask a content back, or write who has refused it."""
        values = (wanted.sender, wanted.bulletin_id, wanted.statement_digest, " ".join(wanted.refused))
        self._db.execute("INSERT OR REPLACE INTO wanted VALUES (?,?,?,?)", values)

    def unwant(self, sender: str, bulletin_id: bytes) -> None:
        """Ask it back no more."""
        self._db.execute("DELETE FROM wanted WHERE sender = ? AND bulletin_id = ?", (sender, bulletin_id))

    def add_dispatch(self, queued_index: int, dispatch: bytes) -> None:
        """Add the dispatch of a delivery that was made again."""
        self._db.execute("INSERT INTO dispatches VALUES (?,?)", (queued_index, dispatch))

    def erase_reading(self, entry_index: int) -> None:
        """Destroy what opens the digest of an entry about a reading."""
        self._db.execute("DELETE FROM readings WHERE entry_index = ?", (entry_index,))

    def set_hold(self, entry_index: int, bulletin: int) -> None:
        """Keep a bulletin from erasure until the hold is released."""
        self._db.execute("INSERT INTO holds VALUES (?,?,0)", (entry_index, bulletin))

    def release_hold(self, entry_index: int, released: int) -> None:
        """Release one hold; *released* is the position of its HOLD_RELEASED."""
        self._db.execute("UPDATE holds SET released = ? WHERE entry_index = ?", (released, entry_index))

    def store_keys(self, rows: Sequence[tuple[int, bytes]]) -> None:
        """Write living content keys again, under another storage key."""
        self._write_rows()
        self._db.executemany("UPDATE stored_keys SET stored_key = ? WHERE entry_index = ?", [(k, i) for i, k in rows])

    def add_evidence(self, entry_index: int, what: str, content: bytes) -> None:
        values = (entry_index, what, content)
        self._db.execute("INSERT INTO evidence (entry_index, what, content) VALUES (?,?,?)", values)
