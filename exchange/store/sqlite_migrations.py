"""The numbered steps of the database's schema, forward only: each a file of SQL, some with what it cannot say.

The number is PRAGMA user_version. All steps of one bringing up and the number are one transaction: a crash leaves the
older file or the newest, whole.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import apsw

from audit.entry.body import parse_body
from audit.entry.entry import parse_entry
from exchange.store.sqlite_positions import fill_positions

_FILES = ("schema.sql", "schema_2.sql", "schema_3.sql")
NEWEST = len(_FILES)


def schema(step: int) -> str:
    """Return the SQL of one step, from 1."""
    return files("exchange").joinpath(_FILES[step - 1]).read_text("utf-8")


def bring_up(connection: apsw.Connection, found: int) -> None:
    """Take every step after *found*, in one transaction.

    Args:
        connection: The only one, or one of a file that nobody else knows yet; no transaction is open.
        found: The file's number; 0 where it is empty.
    """
    with connection:
        for step in range(found + 1, NEWEST + 1):
            connection.execute(schema(step))
            if found:
                _FILLING.get(step, _nothing)(connection)
        connection.pragma("user_version", NEWEST)


def described(connection: apsw.Connection) -> list[tuple[str, str, str]]:
    """List (type, name, SQL) of whatever a database's schema holds."""
    rows = connection.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_schema ORDER BY type, name")
    return [(str(kind), str(name), str(sql)) for kind, name, sql in rows if not str(name).startswith("sqlite_")]


def expected(version: int = NEWEST) -> list[tuple[str, str, str]]:
    """List the same of a database as this program makes it, in one of its versions."""
    fresh = apsw.Connection(":memory:")
    for step in range(1, version + 1):
        fresh.execute(schema(step))
    return described(fresh)


def _nothing(connection: apsw.Connection) -> None:
    return None


def _fill_2(connection: apsw.Connection) -> None:
    """Take the retention of every bulletin out of its entry, and its content key out of its row."""
    connection.execute(
        "INSERT INTO stored_keys SELECT entry_index, stored_key FROM contents; UPDATE contents SET stored_key = x''"
    )
    rows: list[Any] = connection.execute(
        "SELECT entry_index, entry FROM bulletins JOIN entries ON entries.idx = entry_index ORDER BY entry_index"
    ).fetchall()
    bodies = [(index, parse_body(parse_entry(entry).body)) for index, entry in rows]
    connection.executemany(
        "INSERT INTO retention VALUES (?, ?, ?, 0)",
        [(index, body.retain_until_day, body.retention_rule) for index, body in bodies],
    )


_FILLING: dict[int, Callable[[apsw.Connection], None]] = {2: _fill_2, 3: fill_positions}
