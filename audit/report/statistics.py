"""What a log shows from afar: how busy, with whom, how quickly answered, how often refused, where it was silent.

One pass over the entries, in constant memory but for what is still unanswered. Nothing is judged here; times are the
log's own, and whoever reads the figures reads the verdict beside them.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from audit.entry.body import Body, parse_body
from audit.entry.entry import HEAD_LENGTH, parse_head
from audit.entry.grammar import ANSWERS
from audit.entry.kinds import RULES, Kind, Outcome
from audit.note.checkpoint import parse_note
from audit.tiles.tiles import TileFolder
from audit.tree.merkle import TILE_WIDTH

SLOTS = 60  # columns of the chart of activity
GAP_US = 180 * 1_000_000  # three heartbeats: a node that runs is never silent so long
MAX_GAPS, MAX_SCARS = 200, 200
WAITING = 100_000  # deliveries whose answer is awaited at one time; more are counted, but not timed
BINS_MS = (10, 30, 100, 300, 1_000, 3_000, 10_000, 60_000, 600_000, 3_600_000, 86_400_000)
"""Upper ends of the latency bins; one more lies above the last."""

GROUPS, OTHER = ("sent", "received", "receipts", "read", "refused"), "upkeep"
"""As the chart shows them; which kind is of which group stands in ``RULES``."""


@dataclass(slots=True)
class Peer:
    """What passed between the log's agency and one other."""

    queued: int = 0
    answered: int = 0
    received: int = 0
    refused_by_us: int = 0
    refused_by_them: int = 0
    latencies: list[int] = field(default_factory=lambda: [0] * (len(BINS_MS) + 1))

    @property
    def unanswered(self) -> int:
        """Deliveries whose receipt is not recorded."""
        return max(0, self.queued - self.answered)


@dataclass(slots=True)
class Statistics:
    """The figures of one log."""

    origin: str
    size: int
    first_us: int = 0
    last_us: int = 0
    activity: dict[str, list[int]] = field(default_factory=dict)  # by group: SLOTS counts
    kinds: Counter[str] = field(default_factory=Counter)
    peers: dict[int, Peer] = field(default_factory=dict)  # by member number
    refusals: Counter[str] = field(default_factory=Counter)
    latencies: list[int] = field(default_factory=lambda: [0] * (len(BINS_MS) + 1))
    gaps: list[tuple[int, int, int]] = field(default_factory=list)  # (entry after it, from, to) in microseconds
    gap_count: int = 0
    scars: list[tuple[int, int, str]] = field(default_factory=list)  # (entry, microseconds, kind)
    silent_us: int = 0  # all gaps together

    def slot(self, time_us: int) -> int:
        """Return the column of an instant."""
        span = max(1, self.last_us - self.first_us)
        return min(SLOTS - 1, max(0, (time_us - self.first_us) * SLOTS // span))


def gather_statistics(folder: TileFolder) -> Statistics:
    """Read a log once.

    Raises:
        RefusedError: A file is missing or an entry is not in its form.
    """
    checkpoint = parse_note(folder.note()).checkpoint
    found = Statistics(checkpoint.origin, checkpoint.size)
    found.activity = {name: [0] * SLOTS for name in (*GROUPS, OTHER)}
    if checkpoint.size == 0:
        return found
    found.first_us = parse_head(_one(folder, 0, checkpoint.size)).time_us
    found.last_us = parse_head(_one(folder, checkpoint.size - 1, checkpoint.size)).time_us
    waiting: dict[int, int] = {}
    before = found.first_us
    for index, entry in _entries(folder, checkpoint.size):
        time_us = parse_head(entry).time_us
        body = parse_body(entry[HEAD_LENGTH:])
        if time_us - before > GAP_US:
            _gap(found, index, before, time_us)
        before = time_us
        _count(found, index, time_us, body)
        _pair(found, index, time_us, body, waiting)
    return found


def bin_of(milliseconds: int) -> int:
    """Return the latency bin."""
    return bisect_right(BINS_MS, milliseconds - 1)


def median_bin(latencies: list[int]) -> int | None:
    """Return the bin in which the median lies; None of nothing."""
    total, seen = sum(latencies), 0
    for number, count in enumerate(latencies):
        seen += count
        if total and 2 * seen >= total:
            return number
    return None


def _count(found: Statistics, index: int, time_us: int, body: Body) -> None:
    kind = Kind(body.kind) if body.kind in Kind._value2member_map_ else None
    found.kinds[kind.name if kind is not None else f"kind {body.kind}"] += 1
    found.activity[RULES[kind].group if kind is not None else OTHER][found.slot(time_us)] += 1
    if kind is not None and RULES[kind].scar and len(found.scars) < MAX_SCARS:
        found.scars.append((index, time_us, kind.name))
    if kind in (Kind.REFUSED, Kind.ACCESS_DENIED):
        # One entry may stand for a minute of refusals that were no deliveries.
        found.refusals[_reason(body.outcome)] += body.count if body.count and not body.delivery_digest else 1


def _pair(found: Statistics, index: int, time_us: int, body: Body, waiting: dict[int, int]) -> None:
    """Count by peer, and time from QUEUED to RECEIPT_RECORDED."""
    if not body.peer or body.kind not in (Kind.QUEUED, Kind.RECEIPT_RECORDED, *ANSWERS):
        return
    peer = found.peers.setdefault(body.peer, Peer())
    if body.kind == Kind.QUEUED:
        peer.queued += 1
        if len(waiting) < WAITING:
            waiting[index] = time_us
    elif body.kind == Kind.RECEIPT_RECORDED:
        peer.answered += 1
        peer.refused_by_them += body.outcome >= Outcome.MALFORMED
        began = waiting.pop(body.refers_to, None) if not body.refers_to_epoch else None
        if began is not None:
            number = bin_of(max(0, time_us - began) // 1000)
            peer.latencies[number] += 1
            found.latencies[number] += 1
    elif body.kind == Kind.REFUSED:
        peer.refused_by_us += 1
    else:
        peer.received += body.kind == Kind.RECEIVED


def _gap(found: Statistics, index: int, before: int, after: int) -> None:
    """Keep the longest ones."""
    found.gap_count += 1
    found.silent_us += after - before
    found.gaps.append((index, before, after))
    if len(found.gaps) > MAX_GAPS:
        found.gaps.remove(min(found.gaps, key=lambda gap: gap[2] - gap[1]))


def _reason(outcome: int) -> str:
    return Outcome(outcome).name if outcome in Outcome._value2member_map_ else f"reason {outcome}"


def _entries(folder: TileFolder, size: int) -> Iterator[tuple[int, bytes]]:
    for bundle in range(-(-size // TILE_WIDTH)):
        width = min(TILE_WIDTH, size - bundle * TILE_WIDTH)
        yield from enumerate(folder.entries(bundle, width), bundle * TILE_WIDTH)


def _one(folder: TileFolder, index: int, size: int) -> bytes:
    bundle, offset = divmod(index, TILE_WIDTH)
    return folder.entries(bundle, min(TILE_WIDTH, size - bundle * TILE_WIDTH))[offset]
