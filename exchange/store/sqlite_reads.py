"""Questions to the SQLite engine: each one statement, parameters only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import apsw

from exchange.store.log_position import peer_epoch
from exchange.store.rows import (
    AdoptedRecord,
    AgencyRecords,
    Content,
    DeliveryState,
    Facts,
    InboundRow,
    LaneState,
    LoggedReading,
    Notice,
    OutboundRow,
    StoredBulletin,
    Wanted,
)

SEQUENCE_BITS = 40  # a delivery's key is lane << 40 | sequence

_STORED = (
    "SELECT entry_index, sender, bulletin_id, statement_digest, kind, number, tlp, classification, urgency, status,"
    " reply_due_ms, expires_ms, not_understood, at_ms, opened, until_day, rule, erased"
    " FROM bulletins JOIN retention USING (entry_index)"
)
STORED_BY_ID = _STORED + " WHERE sender = ? AND bulletin_id = ?"
_LANE = "SELECT id, outgoing, peer, class, epoch, sequence, digest, head, head_time_ms, taken, stopped FROM lanes"
_OUTBOUND = "SELECT id, entry_index, queued_index, delivery, digest, wrap, opening, state, reason, receipt, since_ms FROM outbound"
_STATES = {int(state): state for state in DeliveryState}
_RECORD = "SELECT kind, agency, version, rank, position, digest, signed FROM records"
_INBOUND = "SELECT id, delivery, digest, entry_index, original_index FROM inbound"


class SqliteReads:
    """Reads on one connection."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._db = connection

    def _one(self, statement: str, *values: Any) -> Any:
        return next(iter(self._db.execute(statement, values)), None)

    def _ask(self, statement: str, values: tuple[Any, ...] = ()) -> Iterator[Any]:
        """Ask about bulletins, their contents or deliveries, which a transaction writes many at a time."""
        return self._db.execute(statement, values)

    def _first(self, statement: str, *values: Any) -> Any:
        return next(iter(self._ask(statement, values)), None)

    def _column(self, statement: str, values: tuple[Any, ...]) -> list[bytes]:
        """Return the one column of bytes that is asked for; many come without a row around each."""
        found = self._db.execute(statement, values).get
        return found if isinstance(found, list) else [] if found is None else [found]

    def size(self) -> int:
        return int(self._one("SELECT coalesce(max(idx) + 1, 0) FROM entries")[0])

    def read_entries(self, first: int, count: int) -> list[bytes]:
        statement = "SELECT entry FROM entries WHERE idx >= ? AND idx < ? ORDER BY idx"
        return self._column(statement, (first, first + count))

    def leaf_hashes(self, first: int, count: int) -> list[bytes]:
        statement = "SELECT leaf_hash FROM entries WHERE idx >= ? AND idx < ? ORDER BY idx"
        return self._column(statement, (first, first + count))

    def get_tile(self, level: int, index: int) -> bytes | None:
        row = self._one("SELECT hashes FROM tiles WHERE level = ? AND idx = ?", level, index)
        return row and bytes(row[0])

    def meta(self, name: str) -> bytes | None:
        row = self._one("SELECT value FROM meta WHERE name = ?", name)
        return row and bytes(row[0])

    def find(self, sender: str, bulletin_id: bytes) -> StoredBulletin | None:
        row = self._first(STORED_BY_ID, sender, bulletin_id)
        return stored_of(row) if row else None

    def statement_digests(self, sender: str, bulletin_ids: Sequence[bytes]) -> dict[bytes, bytes]:
        statement = "SELECT bulletin_id, statement_digest FROM bulletins WHERE sender = ? AND bulletin_id = ?"
        return dict(chain.from_iterable(self._ask(statement, (sender, each)) for each in bulletin_ids))

    def find_any(self, bulletin_id: bytes) -> list[StoredBulletin]:
        rows = self._ask(_STORED + " WHERE bulletin_id = ? ORDER BY entry_index", (bulletin_id,))
        return [stored_of(row) for row in rows]

    def stored_since(self, after: int, limit: int, *, sent: bool) -> list[StoredBulletin]:
        where = " WHERE entry_index > ? AND sent = ? ORDER BY entry_index LIMIT ?"
        return [stored_of(row) for row in self._ask(_STORED + where, (after, int(sent), limit))]

    def content(self, entry_index: int) -> Content | None:
        statement = (
            "SELECT dispatch, body, wrap, coalesce(stored_keys.stored_key, x'')"
            " FROM contents LEFT JOIN stored_keys USING (entry_index) WHERE contents.entry_index = ?"
        )
        row = self._first(statement, entry_index)
        return row and Content(dispatch=row[0], body=row[1], wrap=row[2], stored_key=row[3])

    def lane(self, *, outgoing: bool, peer: str, lane_class: int, epoch: int) -> LaneState | None:
        where = " WHERE outgoing = ? AND peer = ? AND class = ? AND epoch = ?"
        row = self._one(_LANE + where, int(outgoing), peer, lane_class, epoch)
        return _lane(row) if row else None

    def lanes(self) -> list[LaneState]:
        return [_lane(row) for row in self._db.execute(_LANE + " ORDER BY id")]

    def outbound(self, lane: int, after: int, limit: int) -> list[OutboundRow]:
        where = " WHERE id > ? AND id < ? ORDER BY id LIMIT ?"
        bounds = ((lane << SEQUENCE_BITS) + after, (lane + 1) << SEQUENCE_BITS, limit)
        return [_outbound(row) for row in self._ask(_OUTBOUND + where, bounds)]

    def outbound_of(self, entry_index: int) -> list[OutboundRow]:
        rows = self._ask(_OUTBOUND + " WHERE entry_index = ? ORDER BY id", (entry_index,))
        return [_outbound(row) for row in rows]

    def inbound(self, lane: int, sequence: int) -> InboundRow | None:
        row = self._first(_INBOUND + " WHERE id = ?", (lane << SEQUENCE_BITS) + sequence)
        return _inbound(row) if row else None

    def inbound_after(self, lane: int, after: int, limit: int) -> list[InboundRow]:
        where = " WHERE id > ? AND id < ? ORDER BY id LIMIT ?"
        bounds = ((lane << SEQUENCE_BITS) + after, (lane + 1) << SEQUENCE_BITS, limit)
        return [_inbound(row) for row in self._ask(_INBOUND + where, bounds)]

    def records(self) -> list[AdoptedRecord]:
        return [_record(row) for row in self._db.execute(_RECORD + " ORDER BY kind, agency, rank")]

    def standing_records(self) -> list[AdoptedRecord]:
        where = " WHERE kind <> 3 OR rank = (SELECT max(rank) FROM records AS r WHERE r.kind = 3 AND r.agency = records.agency)"
        return [_record(row) for row in self._db.execute(_RECORD + where + " ORDER BY kind, agency, rank")]

    def record(self, kind: int, agency: str, version: int) -> AdoptedRecord | None:
        where = " WHERE kind = ? AND agency = ? AND version = ? ORDER BY rank DESC LIMIT 1"
        row = self._one(_RECORD + where, kind, agency, version)
        return row and _record(row)

    def record_by_digest(self, digest: bytes) -> AdoptedRecord | None:
        row = self._one(_RECORD + " WHERE digest = ?", digest)
        return row and _record(row)

    def records_at(self, agency: str, position: int) -> AgencyRecords:
        where = " WHERE kind = ? AND agency = ? AND position < ? ORDER BY position DESC, rank DESC LIMIT 1"
        rows = [
            self._one(_RECORD + where, kind, owner, position) for kind, owner in ((1, ""), (2, agency), (3, agency))
        ]
        return AgencyRecords(*(row and _record(row) for row in rows))

    def adopted_at(self) -> int:
        return int(self._one("SELECT coalesce(max(position), -1) FROM records")[0])

    def catalogue(self, digest: bytes) -> dict[str, bytes]:
        rows = self._db.execute("SELECT name, content FROM catalogues WHERE digest = ? ORDER BY name", (digest,))
        return {name: bytes(content) for name, content in rows}

    def peer_checkpoint(self, peer: str, epoch: int = 1) -> tuple[int, str] | None:
        """Return size and note of the newest checkpoint that is known of one epoch of a peer's log."""
        row = self._one("SELECT size, note FROM peer_checkpoints WHERE peer = ?", peer_epoch(peer, epoch))
        return row and (int(row[0]), str(row[1]))

    def notices(self, sender: str, target_id: bytes) -> list[Notice]:
        statement = "SELECT relation, bulletin_id FROM notices WHERE sender = ? AND target_id = ? ORDER BY bulletin_id"
        rows = self._db.execute(statement, (sender, target_id))
        return [Notice(sender=sender, target_id=target_id, relation=r, bulletin_id=b) for r, b in rows]

    def kept(self, after: int, limit: int, *, until_before_day: int | None = None) -> list[StoredBulletin]:
        """Return bulletins that are not erased, after a position; with a day only those kept until a day before it."""
        where = " WHERE erased = 0 AND entry_index > ?"
        values: tuple[int, ...] = (after, limit)
        if until_before_day is not None:
            where, values = where + " AND until_day > 0 AND until_day < ?", (after, until_before_day, limit)
        return [stored_of(row) for row in self._ask(_STORED + where + " ORDER BY entry_index LIMIT ?", values)]

    def bulletin_counts(self) -> tuple[int, int, int]:
        """Return how many were received, how many of those nobody has opened, and how many were sent."""
        row = self._first(
            "SELECT count(*), coalesce(sum(sent), 0), coalesce(sum(NOT sent AND NOT opened), 0) FROM bulletins"
        )
        return int(row[0] - row[1]), int(row[2]), int(row[1])

    def erased_count(self) -> int:
        """Count the bulletins that were erased."""
        return int(self._first("SELECT count(*) FROM retention WHERE erased = 1")[0])

    def open_holds(self, bulletin: int) -> list[int]:
        """Return where the HOLD_SET entries stand that still keep a bulletin from erasure."""
        statement = "SELECT entry_index FROM holds WHERE bulletin = ? AND released = 0 ORDER BY entry_index"
        return [row[0] for row in self._db.execute(statement, (bulletin,))]

    def readings_after(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Return the signed requests that open the digests of entries, after a position."""
        statement = "SELECT entry_index, request FROM readings WHERE entry_index > ? ORDER BY entry_index LIMIT ?"
        return [(row[0], row[1]) for row in self._db.execute(statement, (after, limit))]

    def readings_of(self, bulletin: int) -> list[LoggedReading]:
        """Return the readings of a bulletin, and which of them could not be shown."""
        statement = "SELECT entry_index, failed FROM openings WHERE bulletin = ? ORDER BY entry_index"
        return [LoggedReading(*row) for row in self._db.execute(statement, (bulletin,))]

    def stored_keys(self, after: int, limit: int) -> list[tuple[int, bytes, bytes]]:
        """Return (position, statement digest, stored key) of living content keys, after a position."""
        statement = (
            "SELECT stored_keys.entry_index, statement_digest, stored_key FROM stored_keys"
            " JOIN bulletins USING (entry_index) WHERE stored_keys.entry_index > ? ORDER BY 1 LIMIT ?"
        )
        return [(row[0], row[1], row[2]) for row in self._ask(statement, (after, limit))]

    def attempts(self, lane: int, first: int, last: int) -> dict[int, int]:
        begin = lane << SEQUENCE_BITS
        bounds = (begin + first, begin + last)
        rows = self._db.execute("SELECT id, died FROM attempts WHERE id BETWEEN ? AND ?", bounds)
        return {identity - begin: died for identity, died in rows}

    def reading(self, entry_index: int) -> tuple[bytes, bytes] | None:
        """Return the random bytes and the signed request that open an entry's digest, or None once erased."""
        row = self._one("SELECT random, request FROM readings WHERE entry_index = ?", entry_index)
        return row and (bytes(row[0]), bytes(row[1]))

    def lost(self, after: int, limit: int) -> list[StoredBulletin]:
        """Return bulletins that are not erased and have no content key, after a position."""
        where = (
            " LEFT JOIN stored_keys USING (entry_index)"
            " WHERE erased = 0 AND stored_key IS NULL AND entry_index > ? ORDER BY entry_index LIMIT ?"
        )
        return [stored_of(row) for row in self._ask(_STORED + where, (after, limit))]

    def wanted(self, after: tuple[str, bytes], limit: int) -> list[Wanted]:
        """Return what is asked back."""
        statement = "SELECT * FROM wanted WHERE (sender, bulletin_id) > (?, ?) ORDER BY sender, bulletin_id LIMIT ?"
        return [
            Wanted(sender=s, bulletin_id=b, statement_digest=d, refused=tuple(str(r).split()))
            for s, b, d, r in self._ask(statement, (*after, limit))
        ]

    def dispatch_of(self, queued_index: int) -> bytes | None:
        """Return the dispatch of a delivery that was made again."""
        row = self._one("SELECT dispatch FROM dispatches WHERE queued_index = ?", queued_index)
        return row and bytes(row[0])

    def evidence(self) -> Iterator[tuple[int, str, bytes]]:
        yield from self._db.execute("SELECT entry_index, what, content FROM evidence ORDER BY id")


def stored_of(row: Any) -> StoredBulletin:
    """Make what a row of bulletins and retention says."""
    return StoredBulletin(
        entry_index=row[0],
        sender=row[1],
        bulletin_id=row[2],
        statement_digest=row[3],
        facts=Facts(
            kind=row[4],
            number=row[5],
            tlp=row[6],
            classification=row[7],
            urgency=row[8],
            status=row[9],
            reply_due_ms=row[10],
            expires_ms=row[11],
            not_understood=bool(row[12]),
        ),
        at_ms=row[13],
        opened=bool(row[14]),
        retain_until_day=row[15],
        retention_rule=row[16],
        erased=bool(row[17]),
    )


def _record(row: Any) -> AdoptedRecord:
    kind, agency, version, rank, position, digest, signed = row
    return AdoptedRecord(
        kind=kind, agency=agency, version=version, rank=rank, position=position, digest=digest, signed=signed
    )


def _lane(row: Any) -> LaneState:
    return LaneState(
        row=row[0],
        outgoing=bool(row[1]),
        peer=row[2],
        lane_class=row[3],
        epoch=row[4],
        sequence=row[5],
        digest=row[6],
        head=row[7],
        head_time_ms=row[8],
        taken=row[9],
        stopped=bool(row[10]),
    )


def _outbound(row: Any) -> OutboundRow:
    return OutboundRow(
        lane=row[0] >> SEQUENCE_BITS,
        sequence=row[0] & ((1 << SEQUENCE_BITS) - 1),
        entry_index=row[1],
        queued_index=row[2],
        delivery=row[3],
        digest=row[4],
        wrap=row[5],
        opening=row[6],
        state=_STATES[row[7]],
        reason=row[8],
        receipt=row[9],
        since_ms=row[10],
    )


def _inbound(row: Any) -> InboundRow:
    return InboundRow(
        lane=row[0] >> SEQUENCE_BITS,
        sequence=row[0] & ((1 << SEQUENCE_BITS) - 1),
        delivery=row[1],
        digest=row[2],
        entry_index=row[3],
        original_index=row[4],
    )
