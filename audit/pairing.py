"""Pair the logs of several agencies: what one says it sent, the other says it received, and the reverse.

An exchange is three entries: QUEUED at the sender; RECEIVED, REFUSED, DUPLICATE or WITHDRAWN at the recipient;
RECEIPT_RECORDED at the sender, naming the recipient's entry by index, leaf hash and a root of the recipient's log. They
are joined by (sender, recipient, delivery digest). Whatever lacks a counterpart that its partner's log must hold is
one-sided. Two things are told apart from that: an exchange that was *under way* when a log ended, by the rule of
``_under_way``; and a log that is *behind*, older than what its partner's log has seen of it.

Memory is bounded: the join is done in parts by the digests' first bytes, each part by one reading of the logs. The
numbers that QUEUED entries give show further that a lane has no hole, even one that both sides keep silent about.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import NamedTuple

from audit.body import Body, parse_body
from audit.entry import HEAD_LENGTH
from audit.grammar import ANSWERS
from audit.kinds import Kind
from audit.merkle import TILE_WIDTH, node_hash
from audit.tiles import TileFolder
from keys.errors import RefusedError

GRACE_US = 10_000_000  # an answer takes milliseconds while both nodes run; so much is granted at a log's end
PART_ENTRIES = 1 << 18  # entries joined at a time: some 150 MB
_WANTED = frozenset(map(int, (Kind.QUEUED, Kind.RECEIPT_RECORDED, Kind.CHECKPOINT_SEEN, *ANSWERS)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One agency's log, verified before, with all its entries."""

    agency: str
    number: int  # of the member, as logs name it
    folder: TileFolder
    size: int


class OneSided(NamedTuple):
    """An entry without its counterpart."""

    agency: str
    entry: int
    kind: str
    peer: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lanes:
    """What the numbers of one agency's deliveries to another say: two lanes, urgent and routine, each from 1 on."""

    sender: str
    recipient: str
    numbers: tuple[int, int]  # the last of each lane, the larger first
    holes: int  # QUEUED entries whose number does not follow
    unnumbered: int  # QUEUED entries without a number: nothing is said about those
    unanswered: int = 0  # QUEUED entries that are one-sided or under way

    @property
    def complete(self) -> bool:
        """Say whether each lane has every number from 1 on, and an answer to each."""
        return not (self.holes or self.unnumbered or self.unanswered)


@dataclass(slots=True, kw_only=True)
class Pairing:
    """What a comparison found."""

    pairs: int = 0
    one_sided: list[OneSided] = field(default_factory=list)
    under_way: list[OneSided] = field(default_factory=list)
    behind: list[str] = field(default_factory=list)
    not_compared: dict[tuple[str, str], int] = field(default_factory=dict)  # (agency, peer without a log here): entries
    lanes: list[Lanes] = field(default_factory=list)


class _Sent(NamedTuple):
    entry: int
    time_us: int
    dispatch: bytes


class _Answer(NamedTuple):
    entry: int
    time_us: int
    dispatch: bytes
    kind: int
    leaf: bytes


class _Recorded(NamedTuple):
    entry: int
    dispatch: bytes
    refers_to: int
    peer_index: int
    peer_leaf: bytes


_Key = tuple[int, int, bytes]  # sender's number, recipient's, delivery digest


@dataclass(slots=True)
class _Part:
    """The entries of one part of the digests."""

    sent: dict[_Key, _Sent] = field(default_factory=dict)
    answers: dict[_Key, _Answer] = field(default_factory=dict)
    recorded: dict[_Key, _Recorded] = field(default_factory=dict)


def own_number(folder: TileFolder, size: int) -> int:
    """Return the member number that a log gives its own agency: in its first MANIFEST_ADOPTED, entry 2.

    Raises:
        RefusedError: MALFORMED; the log does not begin as a log must.
    """
    entries = folder.entries(0, min(size, 3))
    body = parse_body(entries[2][HEAD_LENGTH:]) if len(entries) == 3 else None
    if body is None or body.kind != Kind.MANIFEST_ADOPTED:
        raise RefusedError("MALFORMED", "entry 2: MANIFEST_ADOPTED with the agency's own number was expected")
    return body.peer


def compare(sides: Sequence[Side], names: Mapping[int, str], *, part_entries: int = PART_ENTRIES) -> Pairing:
    """Pair the entries of *sides*.

    Args:
        sides: Each agency once.
        names: Agencies by member number, for those without a log here; a number that is missing reads ``member 7``.
        part_entries: How many entries are joined at a time.

    Raises:
        RefusedError: MALFORMED; a file of a log is missing or broken.
    """
    found = Pairing()
    known = {side.number: side for side in sides}
    names = {**names, **{side.number: side.agency for side in sides}}
    ends, total = _survey(found, sides, known, names)
    parts = -(-total // part_entries) or 1
    for number in range(parts):
        part = _Part()
        for side in sides:
            for index, time_us, body, entry in _entries(side):
                if body.delivery_digest and int.from_bytes(body.delivery_digest[:2], "big") % parts == number:
                    _take(found, part, side, known, index, time_us, body, entry)
        _join(found, part, known, ends)
    for each in (found.one_sided, found.under_way):
        each.sort()
    waiting = Counter(
        (each.agency, each.peer) for each in (*found.one_sided, *found.under_way) if each.kind == Kind.QUEUED.name
    )
    found.lanes = [replace(lane, unanswered=waiting[lane.sender, lane.recipient]) for lane in found.lanes]
    return found


def _entries(side: Side) -> Iterator[tuple[int, int, Body, bytes]]:
    """Yield (index, time, body, entry) of what belongs to an exchange; the rest is not even parsed."""
    for bundle in range(-(-side.size // TILE_WIDTH)):
        width = min(TILE_WIDTH, side.size - bundle * TILE_WIDTH)
        for index, entry in enumerate(side.folder.entries(bundle, width), bundle * TILE_WIDTH):
            if entry[HEAD_LENGTH + 1] in _WANTED:
                yield index, int.from_bytes(entry[12:20], "big"), parse_body(entry[HEAD_LENGTH:]), entry


def _survey(
    found: Pairing, sides: Sequence[Side], known: Mapping[int, Side], names: Mapping[int, str]
) -> tuple[dict[int, int], int]:
    """Read all logs once: numbers of the lanes, roots of each other that they name, entries about absent peers.

    Returns:
        Each log's last time in microseconds, by member number, and the number of entries that will be joined.
    """
    ends: dict[int, int] = {}
    total = 0
    seen: dict[int, dict[int, list[tuple[bytes, OneSided]]]] = {side.number: {} for side in sides}
    for side in sides:
        lanes: dict[int, _LaneNumbers] = {}
        for index, _, body, _ in _entries(side):
            if body.peer not in known:
                if body.delivery_digest:
                    place = (side.agency, names.get(body.peer, f"member {body.peer}"))
                    found.not_compared[place] = found.not_compared.get(place, 0) + 1
                continue
            total += bool(body.delivery_digest)
            peer = known[body.peer]
            if body.kind == Kind.QUEUED:
                lanes.setdefault(body.peer, _LaneNumbers()).add(body.count)
            elif body.peer_size and body.peer_root:
                row = OneSided(side.agency, index, _kind(body), peer.agency, "")
                seen[body.peer].setdefault(body.peer_size, []).append((body.peer_root, row))
        found.lanes += [each.told(side.agency, known[peer].agency) for peer, each in sorted(lanes.items())]
        ends[side.number] = _end(side)
    for number, sizes in seen.items():
        _check_roots(found, known[number], sizes)
    return ends, total


def _end(side: Side) -> int:
    """Return the time of a log's last entry."""
    if side.size == 0:
        return 0
    bundle, place = divmod(side.size - 1, TILE_WIDTH)
    return int.from_bytes(side.folder.entries(bundle, place + 1)[place][12:20], "big")


def _check_roots(found: Pairing, side: Side, sizes: dict[int, list[tuple[bytes, OneSided]]]) -> None:
    """Compare the roots of *side* that others have logged with its own, by one walk over its leaf hashes."""
    largest = max(sizes, default=0)
    if largest > side.size:
        who = sizes[largest][0][1]
        found.behind.append(
            f"{side.agency}: its log ends before entry {side.size}; {who.agency} had seen {largest} entries of it,"
            f" as its entry {who.entry} says"
        )
    for size, root in _roots(side, sizes):
        for told, row in sizes[size]:
            if told != root:
                found.one_sided.append(row._replace(why=f"{side.agency}'s log had another root at size {size}"))


def _roots(side: Side, sizes: Mapping[int, object]) -> Iterator[tuple[int, bytes]]:
    stack: list[bytes] = []
    size = 0
    for tile in range(-(-side.size // TILE_WIDTH)):
        data = side.folder.tile(0, tile, min(TILE_WIDTH, side.size - tile * TILE_WIDTH))
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


def _take(
    found: Pairing,
    part: _Part,
    side: Side,
    known: Mapping[int, Side],
    index: int,
    time_us: int,
    body: Body,
    entry: bytes,
) -> None:
    if body.peer not in known:
        return
    ours, theirs = (side.number, body.peer, body.delivery_digest), (body.peer, side.number, body.delivery_digest)
    if body.kind == Kind.QUEUED:
        twice = part.sent.setdefault(ours, _Sent(index, time_us, body.dispatch_digest)).entry != index
    elif body.kind == Kind.RECEIPT_RECORDED:
        row = _Recorded(index, body.dispatch_digest, body.refers_to, body.peer_index, body.peer_leaf_hash)
        twice = part.recorded.setdefault(ours, row).entry != index
    else:
        leaf = sha256(b"\0" + entry).digest()
        answer = _Answer(index, time_us, body.dispatch_digest, int(body.kind), leaf)
        twice = part.answers.setdefault(theirs, answer).entry != index
    if twice:
        found.one_sided.append(
            OneSided(side.agency, index, _kind(body), known[body.peer].agency, "this delivery stands here twice")
        )


def _join(found: Pairing, part: _Part, known: Mapping[int, Side], ends: Mapping[int, int]) -> None:
    """Judge each delivery of a part: 1. sent and answered, 2. the receipt recorded, 3. nothing left over."""
    for key, sent in part.sent.items():
        sender, recipient = known[key[0]], known[key[1]]
        answer, recorded = part.answers.pop(key, None), part.recorded.pop(key, None)
        queued = OneSided(sender.agency, sent.entry, "QUEUED", recipient.agency, "")
        if answer is None:  # 1
            late = recorded is None and _under_way(sent.time_us, ends[recipient.number])
            why = f"no answer in {recipient.agency}'s log"
            (found.under_way if late else found.one_sided).append(queued._replace(why=why))
            if recorded is not None:
                why = f"no such entry in {recipient.agency}'s log"
                found.one_sided.append(queued._replace(entry=recorded.entry, kind="RECEIPT_RECORDED", why=why))
        elif answer.dispatch != sent.dispatch:
            found.one_sided.append(
                queued._replace(why=f"{recipient.agency}'s entry {answer.entry} has another dispatch")
            )
        elif recorded is None:  # 2
            late = _under_way(answer.time_us, ends[sender.number])
            row = OneSided(recipient.agency, answer.entry, Kind(answer.kind).name, sender.agency, "")
            why = f"no receipt of it in {sender.agency}'s log"
            (found.under_way if late else found.one_sided).append(row._replace(why=why))
        elif why := _receipt_fault(sent, answer, recorded, recipient.agency):
            found.one_sided.append(queued._replace(entry=recorded.entry, kind="RECEIPT_RECORDED", why=why))
        else:
            found.pairs += 1
    for key, answer in part.answers.items():  # 3
        sender, recipient = known[key[0]], known[key[1]]
        late = answer.time_us > ends[sender.number]  # what was answered had been queued before
        row = OneSided(recipient.agency, answer.entry, Kind(answer.kind).name, sender.agency, "")
        why = f"no QUEUED in {sender.agency}'s log"
        (found.under_way if late else found.one_sided).append(row._replace(why=why))
    for key, recorded in part.recorded.items():
        agency, peer = known[key[0]].agency, known[key[1]].agency
        found.one_sided.append(
            OneSided(agency, recorded.entry, "RECEIPT_RECORDED", peer, "no QUEUED with this delivery")
        )


def _receipt_fault(sent: _Sent, answer: _Answer, recorded: _Recorded, recipient: str) -> str:
    if recorded.dispatch != sent.dispatch:
        return f"it names another dispatch than entry {sent.entry}"
    if recorded.refers_to != sent.entry:
        return f"it refers to entry {recorded.refers_to}, the delivery is entry {sent.entry}"
    if (recorded.peer_index, recorded.peer_leaf) != (answer.entry, answer.leaf):
        return f"it names {recipient}'s entry {recorded.peer_index}; the answer is entry {answer.entry}, or has other bytes"
    return ""


def _under_way(time_us: int, end_us: int) -> bool:
    """Say whether a log that ends at *end_us* need not yet hold the counterpart of what its partner did at *time_us*.

    Both are the agencies' own clocks, which peers hold within minutes of each other, and nobody else's: an agency that
    stops its log at the right moment gains such an excuse once, and its log is then behind or ends.
    """
    return time_us > end_us - GRACE_US


class _LaneNumbers:
    """Follows the two lanes to one peer; which is which does not matter, and no entry says."""

    def __init__(self) -> None:
        self.last = [0, 0]
        self.holes = self.unnumbered = 0

    def add(self, count: int) -> None:
        if not count:
            self.unnumbered += 1
        elif count - 1 in self.last:
            self.last[self.last.index(count - 1)] = count
        else:
            self.holes += 1
            self.last[self.last.index(max([n for n in self.last if n < count], default=min(self.last)))] = count

    def told(self, sender: str, recipient: str) -> Lanes:
        larger, smaller = sorted(self.last, reverse=True)
        return Lanes(
            sender=sender,
            recipient=recipient,
            numbers=(larger, smaller),
            holes=self.holes,
            unnumbered=self.unnumbered,
        )


def _kind(body: Body) -> str:
    return Kind(body.kind).name
