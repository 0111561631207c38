"""Legal holds: an officer keeps a bulletin from erasure, for a case and with a reason, or lets it go again.

The request is signed as one to read is, with a purpose of its own, and stands in the log as HOLD_SET or HOLD_RELEASED
in the same transaction that changes what the retention job sees. Case and reason stay beside the log, and go with the
bulletin.
"""

from __future__ import annotations

from dataclasses import dataclass

from audit.entry.entry import Body, Kind, Outcome, Role
from audit.record.statement import Asked, opened_digest
from exchange.acts.node_view import NodeView
from exchange.acts.reading import Reader, check_allowed, check_nonce, check_statement, find_stored
from exchange.acts.unit_of_work import RandomBytes, UnitOfWork
from exchange.store.rows import StoredBulletin
from keys.errors import RefusedError
from keys.identity import short


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the log says of a hold."""

    entry_index: int  # position of the last entry written
    blind: bytes  # 32 bytes; with it the officer's program checks that the entry commits to the request
    count: int  # holds set or released
    denied: RefusedError | None = None


def hold(work: UnitOfWork, reader: Reader, view: NodeView, random_bytes: RandomBytes) -> Kept:
    """Set a hold, or release every open one of a bulletin; ACCESS_DENIED where it is not allowed.

    1 the request is one to hold or to release; 2 the bulletin is here and not erased; 3 it is the statement meant;
    4 there is a hold to release; 5 the nonce is new; 6 role and ceiling.

    Args:
        work: The open transaction.
        reader: ``reading.check_request`` has passed.
        view: Ours, now.
        random_bytes: For the blind.

    Raises:
        RefusedError: MALFORMED, NO_SUCH_BULLETIN, KEY_GONE, REPLAYED. Nothing is logged.
    """
    request = reader.request
    check_purpose(reader)  # 1
    stored = find_stored(work, request.sender, request.bulletin_id)  # 2
    check_statement(stored, request)  # 3
    open_holds = work.rows.open_holds(stored.entry_index)
    if request.asked is Asked.RELEASE:
        check_on_hold(stored, open_holds)  # 4
    check_nonce(work, request)  # 5
    random = random_bytes(32)
    shared = _HoldRequest(reader=reader, view=view, stored=stored, blind=random)
    try:
        check_allowed(reader, (stored,))  # 6
    except RefusedError as refusal:
        index = _log(work, shared, Kind.ACCESS_DENIED, stored.entry_index, refusal)
        return Kept(entry_index=index, blind=random, count=0, denied=refusal)
    if request.asked is Asked.HOLD:
        index = _log(work, shared, Kind.HOLD_SET, stored.entry_index)
        work.rows.set_hold(index, stored.entry_index)
        return Kept(entry_index=index, blind=random, count=1)
    for each in open_holds:
        index = _log(work, shared, Kind.HOLD_RELEASED, each)
        work.rows.release_hold(each, index)
    return Kept(entry_index=index, blind=random, count=len(open_holds))


def check_purpose(reader: Reader) -> None:
    """Refuse a request that its officer signed for something else."""
    if reader.request.asked not in (Asked.HOLD, Asked.RELEASE):
        raise RefusedError("MALFORMED", "this request is neither to hold nor to release one bulletin")


def check_on_hold(stored: StoredBulletin, open_holds: list[int]) -> None:
    """Refuse to release what nobody holds."""
    if not open_holds:
        raise RefusedError("NO_SUCH_BULLETIN", f"bulletin {short(stored.bulletin_id)} is not on hold")


@dataclass(frozen=True, slots=True, kw_only=True)
class _HoldRequest:
    """What all entries of one request share."""

    reader: Reader
    view: NodeView
    stored: StoredBulletin
    blind: bytes


def _log(work: UnitOfWork, request: _HoldRequest, kind: Kind, target: int, denied: RefusedError | None = None) -> int:
    """Write one entry about *target*, with what opens its digest beside the log; return its position."""
    reader, view, stored = request.reader, request.view, request.stored
    index = work.log.add(
        Body(
            kind=kind,
            actor=view.pseudonym(reader.key.owner),
            actor_epoch=view.pseudonym_epoch,
            role=Role.READER,
            bulletin_id=stored.bulletin_id,
            purpose=int(reader.request.purpose or 0),
            outcome=Outcome[denied.code] if denied else 0,
            retain_until_day=stored.retain_until_day if kind is Kind.HOLD_SET else 0,
            retention_rule=stored.retention_rule if kind is Kind.HOLD_SET else 0,
            digest=opened_digest(request.blind, reader.digest),
            **work.refers(target),
        )
    )
    position = work.position(index)
    work.rows.add_reading(position, request.blind, reader.signed.encode())
    return position
