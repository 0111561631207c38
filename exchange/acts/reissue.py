"""Answers of an earlier epoch of our log, said once more in this one when a peer still lacks their proof.

A receipt proves an entry under the newest checkpoint of its epoch. An epoch that ended in a loss may have none that
reaches its last entries. So what is still owed is written again, once, in the same words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from audit.entry.entry import Kind, parse_body, parse_entry
from exchange.store.log_position import epoch_of, index_of, place_of
from exchange.acts.unit_of_work import Writing
from keys.errors import UnavailableError

OldEntry = Callable[[int], bytes]
"""Reads an entry of an earlier epoch by its place."""


def renew(writing: Writing, place: int, old_entry: OldEntry | None) -> int:
    """Give the place of an entry in this epoch of our log; one of an earlier epoch is written once more.

    Args:
        writing: The open transaction.
        place: Of an answer to a delivery, or of PUBLISHED.
        old_entry: None where this home has no earlier epoch.

    Raises:
        UnavailableError: The earlier epoch's log is not in the home any more.
    """
    if epoch_of(place) == writing.epoch:
        return place
    name = f"renewed/{place}"
    if (known := writing.rows.meta(name)) is not None and epoch_of(int.from_bytes(known, "big")) == writing.epoch:
        return int.from_bytes(known, "big")
    if old_entry is None:
        raise UnavailableError(f"entry {index_of(place)} of epoch {epoch_of(place)} is not here", 60)
    body = parse_body(parse_entry(old_entry(place)).body)
    if body.refers_to:
        earlier = place_of(body.refers_to_epoch or epoch_of(place), body.refers_to)
        if body.kind == Kind.DUPLICATE:
            earlier = renew(writing, earlier, old_entry)
        body = replace(body, **writing.refers(earlier))
    new = writing.place(writing.log.add(body))
    writing.rows.set_meta(name, new.to_bytes(8, "big"))
    return new
