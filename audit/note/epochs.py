"""Epochs of a log: which origin is which, how one is bound to the one before, and when a witness may cosign it.

A log's key name is ``<log>/<epoch>``. A later epoch is opened by the agency's manifest alone, signed by its root, which
names where the one before ended; the first entry of the new log commits to that root. When a witness cosigns in a new
epoch, ``audit.witness`` decides; nothing is cosigned in one that has a successor: whoever still signs there is an old
copy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.entry.entry import genesis_previous
from audit.note.checkpoint import Checkpoint
from keys.errors import RefusedError
from keys.identity import short

if TYPE_CHECKING:
    from keys.manifest import LogEpoch


def split_origin(origin: str) -> tuple[str, int]:
    """Split an origin into the log's name and the epoch.

    Raises:
        RefusedError: MALFORMED, the last part is no number from 1 in its shortest form.
    """
    name, _, last = origin.rpartition("/")
    if not name or not last.isascii() or not last.isdecimal() or last.startswith("0") or len(last) > 10:
        raise RefusedError("MALFORMED", f"origin {origin!a} does not end in an epoch")
    return name, int(last)


def epoch_of_origin(origin: str) -> int:
    """Return the epoch that an origin names; 1 where it names none."""
    try:
        return split_origin(origin)[1]
    except RefusedError:
        return 1


def opening_of(epochs: "Sequence[LogEpoch]", epoch: int) -> "LogEpoch | None":
    """Find what a manifest says of an epoch; None where it has not opened it."""
    return next((each for each in epochs if each.epoch == epoch), None)


def end_before(opening: "LogEpoch") -> Checkpoint | None:
    """Return where the epoch before an opened one ended; None for the first epoch."""
    if opening.epoch == 1:
        return None
    return Checkpoint(origin=opening.previous_origin, size=opening.previous_size, root=opening.previous_root)


def check_first_entry(previous: bytes, origin: str, end: Checkpoint | None) -> None:
    """Check that entry 0 of an epoch commits to its origin and to where the epoch before ended.

    Args:
        previous: 32 bytes, of entry 0's head.
        origin: Of the epoch.
        end: Where the one before ended; None in the first epoch.

    Raises:
        RefusedError: RECEIPT_INVALID; it is the beginning of another log.
    """
    if previous != genesis_previous(origin, end.root if end is not None else None):
        after = f" after size {end.size} of {end.origin}, root {short(end.root)}" if end is not None else ""
        raise RefusedError("RECEIPT_INVALID", f"it does not begin a log of {origin}{after}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochEnd:
    """Where an epoch ended, and who says so."""

    checkpoint: Checkpoint
    source: str  # for reports: ``manifest 2``


def link_fault(previous: bytes | None, origin: str, before: EpochEnd | None) -> str:
    """Return what is wrong with how a log begins; empty where nothing is, or where there is nothing to compare with.

    Args:
        previous: 32 bytes, of entry 0's head.
        origin: Of the log.
        before: Where the epoch before ended, from outside the log; not looked at for the first epoch.
    """
    if epoch_of_origin(origin) > 1 and before is None:
        return ""
    try:
        check_first_entry(
            previous or b"", origin, before.checkpoint if before and epoch_of_origin(origin) > 1 else None
        )
    except RefusedError as error:
        return str(error)
    return ""


def tell_link(origin: str, before: EpochEnd | None) -> tuple[bool, str]:
    """Return whether the link to the epoch before was checked, and how a report puts it."""
    if epoch_of_origin(origin) == 1:
        return True, ""
    if before is None:
        return False, "; entry 0's link to the epoch before was not checked: --manifest says where it ended"
    end = before.checkpoint
    return True, f"; begun after size {end.size:,} of {end.origin}, by {before.source}"


def scar(restored: int | None) -> str:
    """Return what every verdict must show of a log that went on after a break; empty for one that never did.

    Args:
        restored: Index of the first RESTORED; None where there is none.
    """
    return f"; restored at entry {restored}, so the epoch before may have lost entries" if restored is not None else ""
