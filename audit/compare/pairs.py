"""Pair the logs of several agencies: what one says it sent, the other says it received, and the reverse.

An exchange is three entries: QUEUED at the sender; RECEIVED, REFUSED, DUPLICATE or WITHDRAWN at the recipient;
RECEIPT_RECORDED at the sender, naming the recipient's entry by index, leaf hash and a root of the recipient's log. They
are joined by (sender, recipient, delivery digest). Whatever lacks a counterpart that its partner's log must hold is
one-sided. Two things are told apart from that: an exchange that was *under way* when a log ended, by the rule of
``_under_way``; and a log that is *behind*, older than what its partner's log has seen of it.

An agency may have several epochs: its entries are joined over all of them, and what can stand only where an epoch was
lost is *lost*, with the RESTORED that says so (``audit.compare.compared_logs``).

Memory is bounded: the join is done in parts by the digests' first bytes, each part by one reading of the logs. The
numbers that QUEUED entries give show further that a lane has no hole, even one that both logs keep silent about.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import NamedTuple, TypeVar

from audit.compare.compared_logs import (
    GRACE_US,
    ComparedLog,
    Loss,
    Lost,
    OneSided,
    end_us,
    entries,
    given_back,
    losses_of,
    roots,
)
from audit.compare.lane_numbers import LaneNumbers, Lanes
from audit.entry.body import Body, parse_body
from audit.entry.entry import HEAD_LENGTH
from audit.entry.kinds import Kind
from audit.tiles.tiles import TileFolder
from keys.errors import RefusedError

__all__ = ["GRACE_US", "ComparedLog", "Lanes", "Lost", "OneSided", "Pairing", "compare", "own_number"]
PART_ENTRIES = 1 << 18  # entries joined at a time: some 150 MB


@dataclass(slots=True, kw_only=True)
class Pairing:
    """What a comparison found."""

    pairs: int = 0
    one_sided: list[OneSided] = field(default_factory=list)
    under_way: list[OneSided] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    behind: list[str] = field(default_factory=list)
    not_compared: dict[tuple[str, str], int] = field(default_factory=dict)  # (agency, peer without a log here): entries
    lanes: list[Lanes] = field(default_factory=list)


class _Sent(NamedTuple):
    epoch: int
    entry: int
    time_us: int
    dispatch: bytes


class _Answer(NamedTuple):
    epoch: int
    entry: int
    time_us: int
    dispatch: bytes
    kind: int
    leaf: bytes


class _Recorded(NamedTuple):
    epoch: int
    entry: int
    time_us: int
    dispatch: bytes
    refers_to: tuple[int, int]  # epoch, index
    peer_index: int
    peer_leaf: bytes


_Row = TypeVar("_Row", _Sent, _Answer, _Recorded)
_Key = tuple[int, int, bytes]  # sender's number, recipient's, delivery digest


@dataclass(slots=True)
class _Part:
    """The entries of one part of the digests; of one delivery, one of each epoch."""

    sent: dict[_Key, list[_Sent]] = field(default_factory=dict)
    answers: dict[_Key, list[_Answer]] = field(default_factory=dict)
    recorded: dict[_Key, list[_Recorded]] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class _Known:
    """What is known of the logs as a whole."""

    names: dict[int, str]  # of the agencies whose logs are here
    ends: dict[int, int]  # last time of each agency's newest epoch
    losses: dict[int, list[Loss]]
    again: dict[tuple[int, int, bytes], int]  # (sender, recipient, dispatch): newest epoch in which it was queued


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


def compare(logs: Sequence[ComparedLog], names: Mapping[int, str], *, part_entries: int = PART_ENTRIES) -> Pairing:
    """Pair the entries of *logs*.

    Args:
        logs: Each agency once.
        names: Agencies by member number, for those without a log here; a number that is missing reads ``member 7``.
        part_entries: How many entries are joined at a time.

    Raises:
        RefusedError: MALFORMED; a file of a log is missing or broken.
    """
    found = Pairing()
    known = _known_of(found, logs)
    total = _read_logs(found, logs, known, {**names, **known.names})
    parts = -(-total // part_entries) or 1
    for number in range(parts):
        part = _Part()
        for log in logs:
            for index, time_us, body, entry in entries(log):
                if body.delivery_digest and int.from_bytes(body.delivery_digest[:2], "big") % parts == number:
                    _take(found, part, log, known, _LoggedEntry(index, time_us, body, entry))
        for key in dict.fromkeys((*part.sent, *part.answers, *part.recorded)):
            _join(found, part, known, key)
    found.one_sided.sort()
    found.under_way.sort()
    found.lost.sort()
    waiting = Counter(
        (each.agency, each.peer)
        for each in (*found.one_sided, *found.under_way, *(lost.row for lost in found.lost))
        if each.kind == Kind.QUEUED.name
    )
    found.lanes = [replace(lane, unanswered=waiting[lane.sender, lane.recipient]) for lane in found.lanes]
    return found


def _known_of(found: Pairing, logs: Sequence[ComparedLog]) -> _Known:
    known = _Known(names={log.number: log.agency for log in logs}, ends={}, losses={}, again={})
    losses, wrong = losses_of(logs)
    found.one_sided += wrong
    for loss in losses:
        known.losses.setdefault(loss.number, []).append(loss)
    for log in sorted(logs, key=lambda each: each.epoch):
        known.ends[log.number] = end_us(log)
        for _, _, body, _ in entries(log, frozenset((int(Kind.QUEUED),))) if log.epoch > 1 else ():
            known.again[log.number, body.peer, body.dispatch_digest] = log.epoch
    return known


def _read_logs(found: Pairing, logs: Sequence[ComparedLog], known: _Known, names: Mapping[int, str]) -> int:
    """Read all logs once: numbers of the lanes, roots of each other that they name, entries about absent peers.

    Returns:
        The number of entries that will be joined.
    """
    total = 0
    seen: dict[int, dict[int, list[tuple[bytes, OneSided]]]] = {number: {} for number in known.names}
    for log in logs:
        lanes: dict[int, LaneNumbers] = {}
        old = given_back(log)
        for index, _, body, _ in entries(log):
            if body.peer not in known.names:
                if body.delivery_digest:
                    key = (log.agency, names.get(body.peer, f"member {body.peer}"))
                    found.not_compared[key] = found.not_compared.get(key, 0) + 1
                continue
            total += bool(body.delivery_digest)
            peer = known.names[body.peer]
            if body.kind == Kind.QUEUED and index not in old:
                lanes.setdefault(body.peer, LaneNumbers()).add(body.count)
            elif body.peer_size and body.peer_root:
                row = OneSided(log.agency, index, _kind(body), peer, "", log.epoch)
                seen[body.peer].setdefault(body.peer_size, []).append((body.peer_root, row))
        cut = any(loss.misses and loss.epoch == log.epoch for loss in known.losses.get(log.number, ()))
        for number, each in sorted(lanes.items()):
            told = each.told(log.agency, known.names[number])
            found.lanes.append(replace(told, epoch=log.epoch, cut=cut))
    for number, sizes in seen.items():
        own = [log for log in logs if log.number == number]
        _check_roots(found, own, known.losses.get(number, []), sizes)
    return total


def _check_roots(
    found: Pairing, logs: Sequence[ComparedLog], losses: Sequence[Loss], sizes: dict[int, list[tuple[bytes, OneSided]]]
) -> None:
    """Compare the roots that others have logged of an agency with its own logs', of whichever epoch."""
    agency, reach = logs[0].agency, max(log.size for log in logs)
    furthest = max((reach, *(loss.end for loss in losses)))
    if (largest := max(sizes, default=0)) > furthest:
        who = sizes[largest][0][1]
        found.behind.append(
            f"{agency}: its log ends before entry {reach}; {who.agency} had seen {largest} entries of it,"
            f" as its entry {who.entry} says"
        )
    own = {root for log in logs for root in roots(log, sizes)}
    for size, told in sizes.items():
        if size > reach or any(loss.stored < size <= loss.end for loss in losses):
            continue  # nothing here can say what it was
        wrong = [row for root, row in told if (size, root) not in own]
        found.one_sided += [row._replace(why=f"{agency}'s log had another root at size {size}") for row in wrong]


class _LoggedEntry(NamedTuple):
    position: int
    time_us: int
    body: Body
    entry: bytes


def _take(found: Pairing, part: _Part, log: ComparedLog, known: _Known, logged: _LoggedEntry) -> None:
    index, time_us, body, entry = logged
    if body.peer not in known.names:
        return
    ours, theirs = (log.number, body.peer, body.delivery_digest), (body.peer, log.number, body.delivery_digest)
    epoch, dispatch = log.epoch, body.dispatch_digest
    if body.kind == Kind.QUEUED:
        twice = _put(part.sent.setdefault(ours, []), _Sent(epoch, index, time_us, dispatch))
    elif body.kind == Kind.RECEIPT_RECORDED:
        refers = (body.refers_to_epoch or epoch, body.refers_to)
        row = _Recorded(epoch, index, time_us, dispatch, refers, body.peer_index, body.peer_leaf_hash)
        twice = _put(part.recorded.setdefault(ours, []), row)
    else:
        leaf = sha256(b"\0" + entry).digest()
        answer = _Answer(epoch, index, time_us, dispatch, int(body.kind), leaf)
        twice = _put(part.answers.setdefault(theirs, []), answer)
    if twice:
        why = "this delivery stands here twice"
        found.one_sided.append(OneSided(log.agency, index, _kind(body), known.names[body.peer], why, epoch))


def _put(rows: list[_Row], row: _Row) -> bool:
    """Add a row, and say whether its epoch has one already: then it is not added."""
    if any(each.epoch == row.epoch for each in rows):
        return True
    rows.append(row)
    return False


def _join(found: Pairing, part: _Part, known: _Known, key: _Key) -> None:
    """Judge one delivery: 1. sent and answered, 2. the receipt recorded, 3. nothing left over."""
    sent, answers, recorded = part.sent.get(key, []), part.answers.get(key, []), part.recorded.get(key, [])
    if sent and not answers:  # 1
        _unanswered(found, known, key, sent[-1], recorded)
    elif sent:
        _answered(found, known, key, sent, answers, recorded)
    else:  # 3
        sender, recipient = known.names[key[0]], known.names[key[1]]
        for answer in answers[:1]:
            late = answer.time_us > known.ends[key[0]]  # what was answered had been queued before
            row = OneSided(recipient, answer.entry, Kind(answer.kind).name, sender, "", answer.epoch)
            row = row._replace(why=f"no QUEUED in {sender}'s log")
            _tell(found, row, late, _loss_at(known.losses.get(key[0], ()), answer.time_us, counterpart_first=True))
        for each in recorded[:1]:
            row = OneSided(
                sender, each.entry, "RECEIPT_RECORDED", recipient, "no QUEUED with this delivery", each.epoch
            )
            _tell(found, row, False, _loss_of(known.losses.get(key[0], ()), each.refers_to[1], each.refers_to[0]))


def _unanswered(found: Pairing, known: _Known, key: _Key, sent: _Sent, recorded: Sequence[_Recorded]) -> None:
    sender, recipient = known.names[key[0]], known.names[key[1]]
    queued = OneSided(sender, sent.entry, "QUEUED", recipient, f"no answer in {recipient}'s log", sent.epoch)
    losses = known.losses.get(key[1], ())
    if not recorded:
        if known.again.get((key[0], key[1], sent.dispatch), 0) > sent.epoch:
            return  # it was queued again in a later epoch, under another number, and is judged there
        ended = next((loss for loss in known.losses.get(key[0], ()) if loss.epoch == sent.epoch), None)
        late = _under_way(sent.time_us, known.ends[key[1]])
        _tell(found, queued, late, ended or _loss_at(losses, sent.time_us))
        return
    row = recorded[-1]
    loss = _loss_of(losses, row.peer_index)
    _tell(found, queued, False, loss)
    why = f"no such entry in {recipient}'s log"
    _tell(found, OneSided(sender, row.entry, "RECEIPT_RECORDED", recipient, why, row.epoch), False, loss)


def _answered(
    found: Pairing,
    known: _Known,
    key: _Key,
    sent: Sequence[_Sent],
    answers: Sequence[_Answer],
    recorded: Sequence[_Recorded],
) -> None:
    sender, recipient = known.names[key[0]], known.names[key[1]]
    answer = answers[0]
    other = next((each for each in sent if each.dispatch != answer.dispatch), None)
    if other is not None:
        why = f"{recipient}'s entry {answer.entry} has another dispatch"
        found.one_sided.append(OneSided(sender, other.entry, "QUEUED", recipient, why, other.epoch))
    elif not recorded:  # 2
        late = _under_way(answer.time_us, known.ends[key[0]])
        row = OneSided(recipient, answer.entry, Kind(answer.kind).name, sender, "", answer.epoch)
        row = row._replace(why=f"no receipt of it in {sender}'s log")
        _tell(found, row, late, _loss_at(known.losses.get(key[0], ()), answer.time_us))
    else:
        lost = known.losses.get(key[0], ())
        faults = [_receipt_fault(sent, answers, each, recipient, lost) for each in recorded]
        if all(faults):
            row = OneSided(sender, recorded[0].entry, "RECEIPT_RECORDED", recipient, faults[0], recorded[0].epoch)
            _tell(found, row, False, _loss_of(known.losses.get(key[1], ()), recorded[0].peer_index))
        else:
            found.pairs += 1


def _tell(found: Pairing, row: OneSided, late: bool, loss: Loss | None) -> None:
    if loss is not None:
        found.lost.append(Lost(row, loss))
    else:
        (found.under_way if late else found.one_sided).append(row)


def _loss_of(losses: Iterable[Loss], index: int, epoch: int = 0) -> Loss | None:
    """Find the lost part in which an entry stood; no epoch is named where entries name none."""
    return next((each for each in losses if each.stored <= index < each.end and epoch in (0, each.epoch)), None)


def _loss_at(losses: Iterable[Loss], time_us: int, *, counterpart_first: bool = False) -> Loss | None:
    """Find the lost part in which the counterpart of what was done at *time_us* can have stood.

    It was lost if it was written before the recovery; what had to come first (*counterpart_first*) not where the part here
    goes on beyond it.
    """
    for each in losses:
        begun = not counterpart_first or each.stored_us <= time_us + GRACE_US
        if each.misses and begun and time_us <= each.restored_us + GRACE_US:
            return each
    return None


def _receipt_fault(
    sent: Sequence[_Sent], answers: Sequence[_Answer], recorded: _Recorded, recipient: str, losses: Iterable[Loss]
) -> str:
    first, answer = sent[0], answers[0]
    epoch, index = recorded.refers_to
    if recorded.dispatch != first.dispatch:
        return f"it names another dispatch than entry {first.entry}"
    if recorded.refers_to not in [(each.epoch, each.entry) for each in sent] and not _loss_of(losses, index, epoch):
        return f"it refers to entry {index}, the delivery is entry {first.entry}"
    if (recorded.peer_index, recorded.peer_leaf) not in [(each.entry, each.leaf) for each in answers]:
        return f"it names {recipient}'s entry {recorded.peer_index}; the answer is entry {answer.entry}, or has other bytes"
    return ""


def _under_way(time_us: int, end_us: int) -> bool:
    """Return whether a log that ends at *end_us* may still lack the counterpart of what its partner did at *time_us*.

    Both are the agencies' own clocks, which peers hold within minutes of each other, and nobody else's: an agency that
    stops its log at the right moment gains such an excuse once, and its log is then behind or ends.
    """
    return time_us > end_us - GRACE_US


def _kind(body: Body) -> str:
    return Kind(body.kind).name
