"""Retention, checked by others: which bulletins a log says are kept past their day.

Overdue is every PUBLISHED and RECEIVED whose ``retain_until_day`` had ended when the newest checkpoint was cosigned,
and that neither an ERASED nor an open HOLD_SET names. The time is the witnesses' median, because the log's own clock is
its operator's; only where no quorum is known is the last entry's time taken, and the report says so.

What an epoch says of an entry of an earlier one (``refers_to_epoch``) counts for that one's log: both are given.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from audit.entry.entry import HEAD_LENGTH, Body, Kind, parse_body, parse_head
from audit.note.checkpoint import parse_note
from audit.note.epochs import epoch_of_origin
from audit.note.policy import WitnessPolicy
from audit.tiles.bundle_folder import BundleFolder
from audit.tiles.tiles import TileFolder
from audit.tree.merkle import TILE_WIDTH
from audit.verify.witnesses import own_notes
from keys.errors import RefusedError

DAY_SECONDS = 86_400
_KEPT = (Kind.PUBLISHED, Kind.RECEIVED)
_WANTED = frozenset((*_KEPT, Kind.ERASED, Kind.HOLD_SET, Kind.HOLD_RELEASED))


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """One bulletin that is kept past its day."""

    entry: int  # of PUBLISHED or RECEIVED
    bulletin_id: bytes  # 16 bytes
    until_day: int  # counted from 1970-01-01
    epoch: int = 1  # of the log that the entry stands in


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditTime:
    """At which time the days are judged, and who says so."""

    seconds: int  # since 1970
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What a log says of keeping and erasing."""

    time: AuditTime
    overdue: tuple[Overdue, ...]  # ascending by epoch and entry
    kept: int  # bulletins with a day, whether it has come or not
    erased: int
    on_hold: int  # open holds
    epochs: tuple[int, ...]  # of the logs that were looked at, ascending
    whole: bool  # False where entries or epochs are missing: then an ERASED may be among them


_Position = tuple[int, int]


@dataclass(slots=True)
class _Seen:
    """By position: epoch and index."""

    kept: dict[_Position, Body] = field(default_factory=dict)
    erased: set[_Position] = field(default_factory=set)  # positions of what they refer to
    holds: dict[_Position, _Position] = field(default_factory=dict)  # open ones: of HOLD_SET, of what it refers to


def check_retention(folder: TileFolder, policy: WitnessPolicy | None, earlier: Sequence[TileFolder] = ()) -> Retention:
    """List what is overdue in a log that is verified already.

    Args:
        folder: A log's files, or a bundle.
        earlier: Logs of the same agency's earlier epochs, verified too; their entries are judged as well.
        policy: Whose cosignatures tell the time; None where nobody knows any witness.

    Raises:
        RefusedError: A file is missing or malformed, or a known witness's line does not verify.
        LookupError: The log is empty.
    """
    size = parse_note(folder.note()).checkpoint.size
    if not size:
        raise LookupError("the log is empty")
    logs = (*sorted(earlier, key=_epoch), folder)
    epochs = tuple(_epoch(log) for log in logs)
    seen, whole = _Seen(), epochs == tuple(range(1, epochs[-1] + 1))
    for log in logs:
        length = parse_note(log.note()).checkpoint.size
        first, end = log.stored(length) if isinstance(log, BundleFolder) else (0, length)
        whole = whole and (first, end) == (0, length)
        for index, body in _bodies(log, first, end, length):
            _see(seen, (_epoch(log), index), body)
    time = _time(folder, size, policy)
    return Retention(
        time=time,
        overdue=tuple(_overdue(seen, time)),
        kept=len(seen.kept),
        erased=len(seen.erased),
        on_hold=len(seen.holds),
        epochs=epochs,
        whole=whole,
    )


def _epoch(folder: TileFolder) -> int:
    return epoch_of_origin(parse_note(folder.note()).checkpoint.origin)


def _bodies(folder: TileFolder, first: int, end: int, size: int) -> Iterator[tuple[int, Body]]:
    """Yield the bodies that matter here; a body begins with its kind in one byte after the tag 08."""
    for bundle in range(first // TILE_WIDTH, -(-end // TILE_WIDTH)):
        entries = folder.entries(bundle, min(TILE_WIDTH, size - bundle * TILE_WIDTH))
        for index, entry in enumerate(entries, bundle * TILE_WIDTH):
            if entry[HEAD_LENGTH + 1] in _WANTED:
                yield index, parse_body(entry[HEAD_LENGTH:])


def _see(seen: _Seen, position: _Position, body: Body) -> None:
    """Take one entry."""
    named = (body.refers_to_epoch or position[0], body.refers_to)
    if body.kind in _KEPT:
        if body.retain_until_day:
            seen.kept[position] = body
    elif body.kind == Kind.ERASED:
        seen.erased.add(named)
    elif body.kind == Kind.HOLD_SET:
        seen.holds[position] = named
    else:
        seen.holds.pop(named, None)


def _overdue(seen: _Seen, time: AuditTime) -> Iterator[Overdue]:
    today, on_hold = time.seconds // DAY_SECONDS, set(seen.holds.values())
    for position, body in seen.kept.items():
        if body.retain_until_day < today and position not in seen.erased and position not in on_hold:
            epoch, index = position
            day = body.retain_until_day
            yield Overdue(entry=index, bulletin_id=body.bulletin_id, until_day=day, epoch=epoch)


def _time(folder: TileFolder, size: int, policy: WitnessPolicy | None) -> AuditTime:
    """Return the median of the newest quorum's cosignatures, or else the last entry's time."""
    if policy is not None:
        for _, note in sorted(own_notes(folder), key=lambda each: -parse_note(each[1]).checkpoint.size):
            witnessed = policy.judge(note)
            if witnessed.reached and witnessed.median_s is not None:
                return AuditTime(seconds=witnessed.median_s, source=f"median of {len(witnessed.times)} witnesses")
    bundle, offset = divmod(size - 1, TILE_WIDTH)
    try:
        last = parse_head(folder.entries(bundle, offset + 1)[offset])
    except RefusedError as error:
        raise RefusedError(
            error.code, f"no time: no quorum of witnesses, and the last entry is not here ({error})"
        ) from error
    return AuditTime(seconds=last.time_us // 1_000_000, source="the log's own clock: no quorum of witnesses is known")
