"""A log's tables in SQLite, the least that keeps the ``LogStore`` contract, and bodies to fill it with."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import apsw

from audit.entry.entry import Body, Kind
from audit.log.log import Log, Row
from keys.identity import records_digest

ORIGIN = "hk-sb.exercise.example/log/1"
UPGRADED = 60  # bulletins of a lower number were logged by a program that said nothing of records
START_US = 1_795_000_000_000_000


class TableStore:
    """Entries and tiles in two tables; ``execute`` lets a test damage them."""

    def __init__(self, path: Path | str = ":memory:") -> None:
        self.connection = apsw.Connection(str(path))
        self.execute("CREATE TABLE IF NOT EXISTS entries (i INTEGER PRIMARY KEY, entry BLOB, leaf BLOB) STRICT")
        self.execute("CREATE TABLE IF NOT EXISTS tiles (level INT, i INT, hashes BLOB, PRIMARY KEY (level, i)) STRICT")

    def execute(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        return list(self.connection.execute(sql, values))

    def append_entries(self, rows: Sequence[Row]) -> None:
        self.connection.executemany("INSERT INTO entries VALUES (?, ?, ?)", rows)

    def put_tiles(self, rows: Sequence[tuple[int, int, bytes]]) -> None:
        self.connection.executemany("INSERT INTO tiles VALUES (?, ?, ?)", rows)

    def read_entries(self, first: int, count: int) -> list[bytes]:
        sql = "SELECT entry FROM entries WHERE i >= ? AND i < ? ORDER BY i"
        return [row[0] for row in self.connection.execute(sql, (first, first + count))]

    def leaf_hashes(self, first: int, count: int) -> list[bytes]:
        sql = "SELECT leaf FROM entries WHERE i >= ? AND i < ? ORDER BY i"
        return [row[0] for row in self.connection.execute(sql, (first, first + count))]

    def get_tile(self, level: int, index: int) -> bytes | None:
        row = self.connection.execute("SELECT hashes FROM tiles WHERE level = ? AND i = ?", (level, index)).fetchone()
        return row[0] if row else None

    def size(self) -> int:
        row = self.connection.execute("SELECT coalesce(max(i) + 1, 0) FROM entries").fetchone()
        return int(row[0])


def digest(number: int, salt: int = 0) -> bytes:
    """Return 32 bytes that no other pair of numbers gives."""
    return sha256(salt.to_bytes(8, "big") + number.to_bytes(8, "big")).digest()


def first_bodies() -> list[Body]:
    """Return what every log begins with."""
    return [
        Body(kind=Kind.GENESIS, digest=digest(1)),
        Body(kind=Kind.ROSTER_ADOPTED, count=1, digest=digest(1)),
        Body(kind=Kind.MANIFEST_ADOPTED, peer=1, count=1, digest=digest(2)),
        Body(kind=Kind.KEY_SHEET_ADOPTED, peer=1, count=1, digest=digest(3)),
    ]


def exchange_bodies(number: int, index: int) -> list[Body]:
    """Return eight bodies of one bulletin sent and one received and read; *index* is that of the first."""
    sent, got, actor = number.to_bytes(16, "big"), (number + (1 << 64)).to_bytes(16, "big"), digest(number % 7)[16:]
    lane = {"peer": 2, "dispatch_digest": digest(number, 1), "delivery_digest": digest(number, 2)}
    back = {"peer": 3, "dispatch_digest": digest(number, 3), "delivery_digest": digest(number, 4)}
    peer = {"peer_index": number + 4, "peer_leaf_hash": digest(number, 5), "peer_size": number + 9}
    new = number >= UPGRADED
    ours = records_digest(digest(1), digest(2), digest(3)) if new else b""
    theirs = records_digest(digest(1), bytes(32), bytes(32)) if new else b""  # no manifest, no key sheet of theirs
    return [
        Body(
            kind=Kind.PUBLISHED,
            actor=actor,
            actor_epoch=1,
            role=1,
            bulletin_id=sent,
            dispatch_digest=digest(number, 1),
            statement_digest=digest(number, 6),
            retain_until_day=21_000,
            retention_rule=2,
            records=ours,
        ),
        Body(kind=Kind.QUEUED, bulletin_id=sent, refers_to=index, count=number + 1, **lane),
        Body(
            kind=Kind.RECEIPT_RECORDED,
            bulletin_id=sent,
            refers_to=index + 1,
            outcome=1,
            peer_root=digest(number, 7),
            records=theirs,
            **lane,
            **peer,
        ),
        Body(
            kind=Kind.RECEIVED,
            bulletin_id=got,
            opening=digest(number, 8),
            retain_until_day=21_000,
            records=theirs,
            **back,
        ),
        Body(
            kind=Kind.OPENED,
            actor=actor,
            actor_epoch=1,
            role=3,
            bulletin_id=got,
            purpose=2,
            refers_to=index + 3,
            digest=digest(number, 9),
            records=ours,
        ),
        Body(
            kind=Kind.REFUSED,
            peer=4,
            dispatch_digest=digest(number, 10),
            delivery_digest=digest(number, 11),
            outcome=70,
        ),
        Body(kind=Kind.CHECKPOINT_SEEN, peer=2, peer_size=number + 9, peer_root=digest(number, 7)),
        Body(kind=Kind.HEARTBEAT),
    ]


def grow(log: Log, store: TableStore, size: int, group: int = 1000) -> None:
    """Append exchanges until the log has exactly *size* entries, one transaction a group."""
    while log.size < size:
        stage = log.begin(START_US + log.size * 1000)
        while log.size + len(stage) < size and len(stage) < group:
            index = log.size + len(stage)
            bodies = first_bodies() if index == 0 else exchange_bodies(index, index)
            for body in bodies[: size - index]:
                stage.add(body)
        with store.connection:
            stage.write(store)
        stage.verify_read_back(store)
        log.commit(stage)
