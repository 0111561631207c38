"""The tables of the lock, all of them in one place, and the one step that brings an older file up to them.

Whatever must survive a restore lies in ``lock.db``, because no backup ever brings that file back: what was signed
(``head``), what was cosigned for others and the first pair of notes that contradict each other (``cosigned``,
``conflicts``: ``audit.log.sqlite_witness``), and which statements were erased (``erased``: ``audit.log.sqlite_lock``). Steps are
numbered, forward only; the number is PRAGMA user_version.
"""

import apsw

FORMAT = 2
HEAD = "CREATE TABLE head (origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL) STRICT"
COSIGNED = (
    "CREATE TABLE IF NOT EXISTS cosigned"
    " (origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, note TEXT NOT NULL) STRICT"
)
CONFLICTS = (
    "CREATE TABLE IF NOT EXISTS conflicts"
    " (origin TEXT PRIMARY KEY, first_note TEXT NOT NULL, second_note TEXT NOT NULL, proof BLOB NOT NULL) STRICT"
)
ERASED = "CREATE TABLE IF NOT EXISTS erased (statement_digest BLOB PRIMARY KEY) STRICT, WITHOUT ROWID"


def bring_up(connection: apsw.Connection) -> int:
    """Bring a lock of an older format up to this one, in one transaction.

    Args:
        connection: To an existing lock; its ``head`` stays as it is.

    Returns:
        The format that the file has now; a number above ``FORMAT`` is a later program's, and was left alone.

    Raises:
        apsw.Error: It cannot be read or written.
    """
    found = int(connection.pragma("user_version"))
    if found == 1:
        with connection:
            for table in (COSIGNED, CONFLICTS, ERASED):
                connection.execute(table)
            connection.pragma("user_version", FORMAT)
        return FORMAT
    return found
