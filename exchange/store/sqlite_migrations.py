"""The numbered steps of the database's schema, forward only: each a file of SQL, some with what it cannot say.

The number is PRAGMA user_version. A step and its number are one transaction; a crash between leaves the older file,
and the next start goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import apsw

from audit.entry.body import parse_body
from audit.entry.entry import parse_entry

_FILES = ("schema.sql", "schema_2.sql")
NEWEST = len(_FILES)


def schema(step: int) -> str:
    """Return the SQL of one step, from 1."""
    return files("exchange").joinpath(_FILES[step - 1]).read_text("utf-8")


def bring_up(connection: apsw.Connection, found: int) -> None:
    """Take every step after *found*.

    Args:
        connection: The writer's; no transaction is open.
        found: The file's number; 0 where it is empty.
    """
    for step in range(found + 1, NEWEST + 1):
        with connection:
            connection.execute(schema(step))
            if found:
                _FILLING.get(step, _nothing)(connection)
            connection.pragma("user_version", step)


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


_FILLING: dict[int, Callable[[apsw.Connection], None]] = {2: _fill_2}
