"""Erasing: what opens a bulletin is destroyed, and the log says so; not one byte of the log changes.

The statement's digest is in the lock before the transaction: a crash between erases it at the next start, and a
database from before is erased again. Destroyed are the content key, our wrap and the recipients', the body and with it
the statement and its salt, and what opens the entries about its reading. The dispatch stays; it names no content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from audit.entry.entry import Body, Kind
from audit.log.lock import Lock
from audit.record.statement import parse_stored_read
from exchange.acts import retention_rules
from exchange.acts.retention_rules import day_of, is_due
from exchange.acts.unit_of_work import UnitOfWork
from exchange.store.rows import StoredBulletin
from exchange.store.store import NodeStore, Reads
from keys.dsse import SignedPayload

MAX_ERASED = 200  # of one act: others wait for the same writer
Remember = Callable[[Iterable[bytes]], None]
WasErased = Callable[[bytes], bool]
Run = Callable[[Callable[[UnitOfWork], Any]], Any]  # runs an act, and returns its value


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What one act destroyed."""

    bulletins: tuple[int, ...]  # positions of their PUBLISHED and RECEIVED


def erase(work: UnitOfWork, wanted: Sequence[StoredBulletin], was_erased: WasErased, remember: Remember) -> Erased:
    """Erase those of the wanted bulletins that are still due, judged inside the transaction.

    Args:
        work: The open transaction; its time gives the day that counts.
        wanted: At most ``MAX_ERASED``, as somebody read them before.
        was_erased: Asks the lock.
        remember: Tells the lock; durable when it returns.
    """
    today = day_of(work.now_ms)
    due = []
    for each in wanted[:MAX_ERASED]:
        stored = work.rows.find(each.sender, each.bulletin_id)
        if stored is not None and _due(work.rows, stored, today, was_erased):
            due.append(stored)
    if due:
        remember([stored.statement_digest for stored in due])
        # The lock has it. A crash from here on leaves content that the next start erases.
    for stored in due:
        work.rows.erase(stored.entry_index)
        work.log.add(
            Body(
                kind=Kind.ERASED,
                bulletin_id=stored.bulletin_id,
                retain_until_day=stored.retain_until_day,
                retention_rule=stored.retention_rule,
                **work.refers(stored.entry_index),
            )
        )
    return Erased(bulletins=tuple(stored.entry_index for stored in due))


def due_after(
    reads: Reads, after: int, today: int, was_erased: WasErased, *, everything: bool = False
) -> tuple[list[StoredBulletin], int | None]:
    """Read the next bulletins that are due.

    Args:
        reads: What is committed.
        after: A position; from 0 at first.
        today: ``day_of`` now.
        was_erased: Asks the lock.
        everything: Ask the lock about every bulletin that is kept, not only about those whose day has passed.

    Returns:
        Those due, and the position to go on after; None at the end.
    """
    rows = reads.kept(after, MAX_ERASED, until_before_day=None if everything else today)
    due = [stored for stored in rows if _due(reads, stored, today, was_erased)]
    return due, rows[-1].entry_index if len(rows) == MAX_ERASED else None


def spent_readings(reads: Reads, after: int) -> tuple[list[int], int | None]:
    """Name the readings all of whose bulletins are erased: their case and reason have nothing left to explain.

    Returns:
        Their positions, and the position to go on after; None at the end.
    """
    rows = reads.readings_after(after, MAX_ERASED)
    spent = [position for position, request in rows if _spent(reads, request)]
    return spent, rows[-1][0] if len(rows) == MAX_ERASED else None


def erase_readings(work: UnitOfWork, positions: Sequence[int]) -> None:
    """Destroy what opens the digests of entries about reading; the entries stay."""
    for position in positions:
        work.rows.erase_reading(position)


def _due(reads: Reads, stored: StoredBulletin, today: int, was_erased: WasErased) -> bool:
    on_hold = bool(reads.open_holds(stored.entry_index))
    return is_due(stored, today, on_hold=on_hold, erased_before=was_erased(stored.statement_digest))


def _spent(reads: Reads, request: bytes) -> bool:
    read = parse_stored_read(SignedPayload.decode(request).payload)
    while read.position:  # about a reading: it is spent when that is
        before = reads.reading(read.position)
        if before is None:
            return True
        read = parse_stored_read(SignedPayload.decode(before[1]).payload)
    wanted = read.listed or ((read.sender, read.bulletin_id),)
    bulletins = [reads.find(sender, bulletin_id) for sender, bulletin_id in wanted]
    return all(stored is None or stored.erased for stored in bulletins)


def _always() -> None:
    return None


def erase_due(
    store: NodeStore,
    run: Run,
    lock: Lock,
    now_ms: int,
    *,
    everything: bool = False,
    go_on: Callable[[], None] = _always,
) -> int:
    """Erase what is due, in small acts; returns how many bulletins that were.

    Args:
        store: Ours.
        run: Runs an act: the writer's, or for a thread beside an event loop what hands it to that loop.
        lock: Ours.
        now_ms: Milliseconds UTC; the acts judge again by their own time.
        everything: Also what the lock says was erased, whatever its day: after a database has come back.
        go_on: Asked before each act; raises where there is to be none.
    """
    count, after = 0, -1
    while True:
        go_on()
        due, following = due_after(
            store.reads(), after, retention_rules.day_of(now_ms), lock.is_erased, everything=everything
        )
        if due:
            store.drop_copies()  # a database of before an upgrade would still open them
            act = partial(erase, wanted=due, was_erased=lock.is_erased, remember=lock.remember_erased)
            count += len(run(act).bulletins)
        if following is None:
            return count
        after = following


def erase_again(store: NodeStore, run: Run, lock: Lock, now_ms: int, go_on: Callable[[], None] = _always) -> int:
    """Erase what the lock says was erased and the database still has; looks only where the two count differently."""
    if lock.erased_count() == store.reads().erased_count():
        return 0
    return erase_due(store, run, lock, now_ms, everything=True, go_on=go_on)
