"""Answers of an earlier epoch of our log, said once more in this one when a peer still lacks their proof.

A receipt proves an entry under the newest checkpoint of its epoch. An epoch that ended in a loss may have none that
reaches its last entries. So what is still owed is written again, once, in the same words.
"""

from __future__ import annotations

from collections.abc import Callable

from audit.entry.entry import Kind, parse_body, parse_entry
from exchange.acts import directory
from exchange.acts.unit_of_work import UnitOfWork
from exchange.store.log_position import epoch_of, index_of, log_position
from keys.errors import UnavailableError

OldEntry = Callable[[int], bytes]
"""Reads an entry of an earlier epoch by its position."""


def renew(work: UnitOfWork, position: int, old_entry: OldEntry | None) -> int:
    """Return the position of an entry in this epoch of our log; one of an earlier epoch is written once more.

    Args:
        work: The open transaction.
        position: Of an answer to a delivery, or of PUBLISHED.
        old_entry: None where this home has no earlier epoch.

    Raises:
        UnavailableError: The earlier epoch's log is not in the home any more.
    """
    if epoch_of(position) == work.epoch:
        return position
    name = f"renewed/{position}"
    if (known := work.rows.meta(name)) is not None and epoch_of(int.from_bytes(known, "big")) == work.epoch:
        return int.from_bytes(known, "big")
    if old_entry is None:
        raise UnavailableError(f"entry {index_of(position)} of epoch {epoch_of(position)} is not here", 60)
    body = parse_body(parse_entry(old_entry(position)).body)
    # The records in force are those of now; what was in force then the first entry says.
    body = body._replace(records=_records_now(work, position, body.kind))
    if body.refers_to:
        earlier = log_position(body.refers_to_epoch or epoch_of(position), body.refers_to)
        if body.kind == Kind.DUPLICATE:
            earlier = renew(work, earlier, old_entry)
        body = body._replace(**work.refers(earlier))
    new = work.position(work.log.add(body))
    work.rows.set_meta(name, new.to_bytes(8, "big"))
    return new


def _records_now(work: UnitOfWork, position: int, kind: int) -> bytes:
    """Return the digest over the records in force of whoever made the bulletin of a PUBLISHED or RECEIVED."""
    if kind not in (Kind.PUBLISHED, Kind.RECEIVED):
        return b""
    stored = work.rows.stored_since(position - 1, 1, sent=kind == Kind.PUBLISHED)
    return directory.records_of(work.rows, stored[0].sender) if stored else b""
