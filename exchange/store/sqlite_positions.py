"""Step 3 of the schema: behind which entry each record came into force, and which bulletins were opened, from the log.

The file holds the entries of one epoch. In the first one the log says all of it. In a later one a record that was in
force before is only said again at its beginning, or not at all; it gets its place among the bulletins by the time at
which it was issued, because whoever came before that was judged by the record before it.
"""

from __future__ import annotations

from typing import Any

import apsw

from audit.entry.body import parse_body
from audit.entry.entry import Kind, genesis_previous, parse_entry, parse_head
from exchange.store.log_position import log_position
from keys.dsse import SignedPayload
from keys.key_sheet import parse_key_sheet
from keys.manifest import parse_manifest
from keys.roster import parse_roster

_ROSTER, _MANIFEST, _KEY_SHEET = 1, 2, 3  # exchange.v1.RecordKind
_ADOPTED = frozenset({Kind.ROSTER_ADOPTED, Kind.MANIFEST_ADOPTED, Kind.KEY_SHEET_ADOPTED})
_WANTED = "x'0804', x'0805', x'0806', x'0813'"  # how their bodies begin, behind a head of 52 bytes; x'0813' is OPENED


def fill_positions(connection: apsw.Connection) -> None:
    """Write the positions of records and of readings."""
    first = _one(connection, "SELECT entry FROM entries WHERE idx = 0")
    if first is None:
        return
    head, epoch = parse_head(first[0]), _epoch(connection, parse_head(first[0]).previous)
    rows = connection.execute(
        f"SELECT idx, entry FROM entries WHERE substr(entry, 53, 2) IN ({_WANTED}) ORDER BY idx"  # noqa: S608 - above
    )
    said: dict[bytes, int] = {}
    found: list[Any] = rows.fetchall()
    for index, entry in found:
        body, position = parse_body(parse_entry(entry).body), log_position(epoch, index)
        if body.kind in _ADOPTED:
            said.setdefault(body.digest, position)
        elif body.kind == Kind.OPENED and body.refers_to:
            of = log_position(body.refers_to_epoch or epoch, body.refers_to)
            connection.execute("INSERT INTO openings VALUES (?, ?, 0)", (position, of))
    records: list[Any] = connection.execute("SELECT kind, digest, signed FROM records").fetchall()
    for kind, digest, signed in records:
        position = said.get(digest, log_position(epoch, 0))
        if epoch > 1:
            position = _among_bulletins(connection, kind, signed, position, head.time_us // 1000)
        rank = parse_key_sheet(SignedPayload.decode(signed).payload).rank if kind == _KEY_SHEET else None
        statement = "UPDATE records SET position = ?, rank = coalesce(?, rank) WHERE digest = ?"
        connection.execute(statement, (position, rank, digest))


def _epoch(connection: apsw.Connection, genesis: bytes) -> int:
    """Return the epoch of the log that is in the file: the one whose first entry begins so."""
    agency = _one(connection, "SELECT value FROM meta WHERE name = 'agency'")
    roster = _one(connection, "SELECT signed FROM records WHERE kind = 1 ORDER BY rank LIMIT 1")
    if agency is None or roster is None:
        return 1
    own = bytes(agency[0]).decode()
    name = parse_roster(SignedPayload.decode(roster[0]).payload).federation_name
    newest = _one(
        connection, "SELECT signed FROM records WHERE kind = 2 AND agency = ? ORDER BY rank DESC LIMIT 1", own
    )
    opened = parse_manifest(SignedPayload.decode(newest[0]).payload).log_epochs if newest is not None else ()
    for each in opened:
        root = each.previous_root or None
        if genesis_previous(f"{own.lower()}.{name}/log/{each.epoch}", root) == genesis:
            return each.epoch
    return 1


def _among_bulletins(connection: apsw.Connection, kind: int, signed: bytes, said: int, began_ms: int) -> int:
    """Return where a record stands that may be older than the epoch: before the first bulletin after its issue."""
    issued_ms = _issued_ms(kind, SignedPayload.decode(signed).payload)
    if issued_ms >= began_ms:
        return said
    after = _one(connection, "SELECT min(entry_index) FROM bulletins WHERE at_ms >= ?", issued_ms)
    return min(said, after[0] - 1) if after is not None and after[0] is not None else said


def _issued_ms(kind: int, payload: bytes) -> int:
    if kind == _ROSTER:
        return parse_roster(payload).issued_ms
    return (parse_manifest(payload) if kind == _MANIFEST else parse_key_sheet(payload)).issued_ms


def _one(connection: apsw.Connection, statement: str, *values: Any) -> Any:
    return next(iter(connection.execute(statement, values)), None)
