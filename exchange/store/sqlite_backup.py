"""A consistent copy of a database that may be in use, without what erasing destroys.

One transaction reads it, so the copy is one committed state, and in write-ahead mode that stops no writer. Content keys,
wraps, bodies, numbers and the openings of readings are never written into the copy: no page of it has ever held them.
"""

from __future__ import annotations

from pathlib import Path

import apsw

from exchange.store import sqlite_migrations
from exchange.store.sqlite import readable
from exchange.store.sqlite_migrations import described, expected
from keys.errors import IntegrityError

# What ``SqliteTransaction.erase`` and ``erase_reading`` destroy, whatever the schema's version.
WITHOUT = frozenset({"stored_keys", "readings"})
EMPTY = {
    ("contents", "body"): "x''",
    ("contents", "wrap"): "x''",
    ("contents", "stored_key"): "x''",
    ("outbound", "wrap"): "x''",
    ("bulletins", "number"): "''",
    ("bulletins", "reply_due_ms"): "0",
}


def back_up(path: Path, target: Path) -> None:
    """Write the copy; *target* is not there yet.

    Raises:
        IntegrityError: There is no database, it is damaged, newer than this program, or was changed by somebody else.
        UnavailableError: A disk cannot be read, or is full.
    """
    if not path.exists():
        raise IntegrityError(f"{path}: no database here")
    target.touch(mode=0o600)
    with readable(path):
        connection = apsw.Connection(str(target))
        try:
            _copy(connection, path)
        finally:
            connection.close()


def _copy(connection: apsw.Connection, path: Path) -> None:
    connection.pragma("synchronous", "OFF")  # whoever reads it afterwards is this process, and a crash makes it anew
    connection.pragma("trusted_schema", False)
    connection.execute("ATTACH ? AS old", (str(path),))
    connection.set_busy_timeout(5000)
    version = int(connection.pragma("user_version", schema="old"))
    rows = connection.execute("SELECT type, name, coalesce(sql, '') FROM old.sqlite_schema ORDER BY type, name")
    found = [(str(kind), str(name), str(sql)) for kind, name, sql in rows if not str(name).startswith("sqlite_")]
    if not 0 < version <= sqlite_migrations.NEWEST or found != expected(version):
        raise IntegrityError(f"{path}: schema {version} is not one that this program knows, or was changed by somebody")
    for step in range(1, version + 1):
        connection.execute(sqlite_migrations.schema(step))
    connection.pragma("user_version", version)
    with connection:
        for kind, table, _ in described(connection):
            if kind == "table" and table not in WITHOUT:
                names = [str(row[1]) for row in connection.execute(f'PRAGMA main.table_info("{table}")')]
                columns = ", ".join(EMPTY.get((table, name), f'"{name}"') for name in names)
                connection.execute(f'INSERT INTO main."{table}" SELECT {columns} FROM old."{table}"')  # noqa: S608 - our schema
    connection.execute("DETACH old")
