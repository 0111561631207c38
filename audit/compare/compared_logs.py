"""What is compared: each agency's logs, one for each epoch here, and what an epoch lost that was never given back.

A later epoch says by its first RESTORED at which size the one before had ended. What of it is not here is lost, or
was not given to anybody who compares: an exchange that can stand only there is neither paired nor charged to anybody.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from audit.entry.body import Body, parse_body
from audit.entry.entry import HEAD_LENGTH
from audit.entry.grammar import ANSWERS
from audit.entry.kinds import Kind
from audit.tiles.tiles import TileFolder
from audit.tree.merkle import TILE_WIDTH, node_hash
from audit.verify.epoch_end import closing_of

GRACE_US = 10_000_000  # an answer takes milliseconds while both nodes run; so much is granted at a log's end
_WANTED = frozenset(map(int, (Kind.QUEUED, Kind.RECEIPT_RECORDED, Kind.CHECKPOINT_SEEN, *ANSWERS)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedLog:
    """One epoch of one agency's log, verified before, with all its entries."""

    agency: str
    number: int  # of the member, as logs name it
    folder: TileFolder
    size: int
    epoch: int = 1


class OneSided(NamedTuple):
    """An entry without its counterpart."""

    agency: str
    entry: int
    kind: str
    peer: str
    why: str
    epoch: int = 1  # of the agency's log


class Loss(NamedTuple):
    """The end of an agency's epoch, and how much of it is here."""

    number: int  # of the member
    epoch: int  # that ended
    stored: int  # entries that are here; from there to ``end`` they are not
    end: int  # size at which it ended
    restored: OneSided  # RESTORED of the epoch after it
    restored_us: int  # its time
    stored_us: int  # time of the last entry here; 0 where there is none

    @property
    def misses(self) -> bool:
        """Return whether entries are missing."""
        return self.stored < self.end

    def told(self) -> str:
        """Return the words of a report."""
        row = self.restored
        ended = f"entry {row.entry} of epoch {row.epoch} of {row.agency}, RESTORED, says that epoch {self.epoch} ended"
        missing = f"; from {self.stored} on its entries are not here" if self.misses else ""
        return f"{ended} at size {self.end}{missing}"


class Lost(NamedTuple):
    """An entry whose counterpart stood, or would have come, where an epoch was lost."""

    row: OneSided
    loss: Loss


def entries(log: ComparedLog, kinds: frozenset[int] = _WANTED) -> Iterator[tuple[int, int, Body, bytes]]:
    """Yield (index, time, body, entry) of these kinds; what else there is, is not even parsed."""
    for bundle in range(-(-log.size // TILE_WIDTH)):
        width = min(TILE_WIDTH, log.size - bundle * TILE_WIDTH)
        for index, entry in enumerate(log.folder.entries(bundle, width), bundle * TILE_WIDTH):
            if entry[HEAD_LENGTH + 1] in kinds:
                yield index, int.from_bytes(entry[12:20], "big"), parse_body(entry[HEAD_LENGTH:]), entry


def end_us(log: ComparedLog) -> int:
    """Return the time of a log's last entry; 0 of an empty one."""
    if log.size == 0:
        return 0
    bundle, offset = divmod(log.size - 1, TILE_WIDTH)
    return int.from_bytes(log.folder.entries(bundle, offset + 1)[offset][12:20], "big")


def losses_of(logs: Sequence[ComparedLog]) -> tuple[list[Loss], list[OneSided]]:
    """Read where each epoch before a RESTORED ended.

    Args:
        logs: Of all agencies, in any order.

    Returns:
        One loss for each such epoch, though nothing of it may be missing; and RESTORED entries that a log here
        contradicts.
    """
    by_epoch = {(log.number, log.epoch): log for log in logs}
    found, wrong = [], []
    for log in logs:
        if log.epoch == 1:
            continue
        for index, time_us, body, _ in entries(log, frozenset((int(Kind.RESTORED),))):
            if body.peer:
                continue
            row = OneSided(log.agency, index, Kind.RESTORED.name, log.agency, "", log.epoch)
            before = by_epoch.get((log.number, log.epoch - 1))
            stored = before.size if before is not None else 0
            if before is not None and dict(roots(before, {body.peer_size})).get(body.peer_size, body.peer_root) != (
                body.peer_root
            ):
                why = f"epoch {before.epoch} had another root at size {body.peer_size}"
                wrong.append(row._replace(why=why))
            elif before is not None and closing_of(before.folder, stored) is not None and stored != body.peer_size:
                why = f"epoch {before.epoch} was closed in order at size {stored}, not {body.peer_size}"
                wrong.append(row._replace(why=why))
            last = end_us(before) if before is not None else 0
            found.append(Loss(log.number, log.epoch - 1, stored, body.peer_size, row, time_us, last))
            break
    return found, wrong


def given_back(log: ComparedLog) -> set[int]:
    """Return the indices of QUEUED entries that a later epoch took back from peers: their numbers are old ones.

    They stand in the group that begins with RESTORED, each with its RECEIPT_RECORDED.
    """
    found: set[int] = set()
    restored_us = None
    if log.epoch == 1:
        return found
    for _, time_us, body, _ in entries(log, frozenset((int(Kind.RESTORED), int(Kind.RECEIPT_RECORDED)))):
        if restored_us is None and body.kind == Kind.RESTORED:
            restored_us = time_us
        elif restored_us is not None and time_us > restored_us:
            break
        elif body.kind == Kind.RECEIPT_RECORDED and not body.refers_to_epoch:
            found.add(body.refers_to)
    return found


def roots(log: ComparedLog, sizes: Mapping[int, object] | set[int]) -> Iterator[tuple[int, bytes]]:
    """Yield (size, root) of a log at these sizes, as far as it reaches, by one walk over its leaf hashes."""
    stack: list[bytes] = []
    size = 0
    for tile in range(-(-log.size // TILE_WIDTH)):
        data = log.folder.tile(0, tile, min(TILE_WIDTH, log.size - tile * TILE_WIDTH))
        for at in range(0, len(data), 32):
            value, size = data[at : at + 32], size + 1
            complete = size
            while not complete & 1:
                value, complete = node_hash(stack.pop(), value), complete >> 1
            stack.append(value)
            if size in sizes:
                root = stack[-1]
                for left in stack[-2::-1]:
                    root = node_hash(left, root)
                yield size, root
