"""``exchange audit compare``: hold the logs of several agencies against each other; offline, like all that audits.

Each log is verified first; a log that is refuted is evidence by itself and is paired with nothing. Members' numbers come
from the logs themselves, names of agencies without a log here from a roster.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audit.cli.shared import earlier_epochs, judging, open_folder, shown, working
from audit.cli.verify import PROCESSES
from keys.cli.ending import print_json
from keys.cli.failure import CommandError
from keys.cli.options import JSON
from keys.refusals import Exit

if TYPE_CHECKING:  # loaded when they are needed: help stays quick
    from audit.compare.pairs import ComparedLog, Lanes, Lost, OneSided, Pairing
    from keys.roster import Roster

_SHOWN = 50  # one-sided entries for people; --json has all

FindRoster = Callable[[Path], "Roster | None"]


@click.command()
@click.argument("logs", metavar="LOG LOG...", nargs=-1, required=True)
@click.option("--roster", "roster_file", metavar="FILE", help="Take the logs' keys and the members' names from here.")
@JSON
def compare(logs: tuple[str, ...], roster_file: str | None, as_json: bool) -> int:
    """Pair what agencies say they sent with what others say they received, and the reverse.

    LOG is a node's home with whatever earlier epochs it has kept, a log folder or a whole bundle; of one agency, each
    epoch once. Exit 0: nothing is one-sided. 7: something is, be it only under way, or was lost with an epoch, or a log is
    older than what its partner saw of it. 6: a log is refuted. 5: no such folder.
    """
    return run(logs, roster_file, as_json, lambda path: None)


def run(logs: Sequence[str], roster_file: str | None, as_json: bool, find_roster: FindRoster) -> int:
    """Compare logs; *find_roster* looks for a roster beside a log where none was given."""
    from audit.compare.pairs import compare as pair

    if len(logs) < 2:
        raise click.UsageError("two logs or more are compared")
    logs = [each for log in logs for each in (log, *earlier_epochs(Path(log)))]
    roster = _given_roster(roster_file)
    opened, refuted = _open_logs(logs, roster)
    if refuted:
        _tell_refuted(refuted, as_json)
        return Exit.UNVERIFIED
    beside = roster or next((each for log in logs if (each := find_roster(Path(log)))), None)
    names = {member.number: str(member.agency) for member in beside.members} if beside else {}
    found = pair(opened, names)
    if as_json:
        print_json(to_json(found))
    else:
        _tell(opened, found)
    return Exit.INCOMPLETE if _one_sided(found) or found.lost or found.behind else Exit.DONE


def _one_sided(found: "Pairing") -> "list[OneSided]":
    """Return every entry without its counterpart; that it may be under way excuses it, and does not prove it."""
    return sorted((*found.one_sided, *found.under_way))


def _given_roster(roster_file: str | None) -> "Roster | None":
    from keys.roster import load_signed, verify_first_roster

    if roster_file is None:
        return None
    with judging(roster_file):
        return verify_first_roster(load_signed(Path(roster_file)))


def _open_logs(logs: Sequence[str], roster: "Roster | None") -> "tuple[list[ComparedLog], list[tuple[str, str]]]":
    """Open and verify every log; return those that hold, and (log, verdict) of those that do not."""
    opened: list[ComparedLog] = []
    refuted: list[tuple[str, str]] = []
    for log in logs:
        one, verdict = _open_log(log, roster)
        if one is None:
            refuted.append((log, verdict))
            continue
        double = next((each for each in opened if one.number == each.number or one.agency == each.agency), None)
        if double is not None and (double.number, double.agency) != (one.number, one.agency):
            why = f"{log}: {one.agency}'s log gives it number {one.number}; {double.agency} is {double.number}"
            raise click.UsageError(why)
        if any((each.number, each.epoch) == (one.number, one.epoch) for each in opened):
            raise click.UsageError(f"{log}: a second log of {one.agency}; each epoch is given once")
        opened.append(one)
    return opened, refuted


def _open_log(log: str, roster: "Roster | None") -> "tuple[ComparedLog | None, str]":
    from audit.compare.pairs import ComparedLog, own_number
    from audit.note.epochs import epoch_of_origin
    from audit.tiles.bundle_folder import BundleFolder
    from audit.verify.bundle import require_whole
    from audit.verify.trust import log_key
    from audit.verify.trust_steps import SourcedKey
    from audit.verify.verify import verify_log
    from keys.errors import RefusedError

    try:
        folder = BundleFolder(Path(log)) if Path(log).is_file() else open_folder(log)
        key = log_key(roster, _origin(folder)) if roster is not None else None
        if isinstance(folder, BundleFolder) and not folder.is_whole():
            raise CommandError("NOT_CHECKED", f"{log}: it holds a part of a log; all entries are compared or none")
        require_whole(folder)
        given = SourcedKey(key, "of the roster") if key is not None else None
        with working(log):
            report = verify_log(folder.root, key=given, processes=PROCESSES)
        if report.is_refuted or report.origin is None or report.size is None:
            return None, report.verdict
        agency = report.origin.partition(".")[0].upper()
        number, epoch = own_number(folder, report.size), epoch_of_origin(report.origin)
        return ComparedLog(agency=agency, number=number, folder=folder, size=report.size, epoch=epoch), ""
    except RefusedError as error:
        return None, f"refuted: {error}"


def _origin(folder: Any) -> str:
    from audit.note.checkpoint import parse_note

    return parse_note(folder.note()).checkpoint.origin


def to_json(found: "Pairing") -> dict[str, Any]:
    """Return a comparison as the one object of --json."""
    return {
        "pairs": found.pairs,
        "one_sided": [_one_sided_row(each) for each in _one_sided(found)],
        "why": [each.why for each in _one_sided(found)],  # of each one-sided entry, in the same order
        "under_way": [_row(each) for each in found.under_way],
        "lost": [_lost(each) for each in found.lost],
        "behind": list(found.behind),
        "lanes": [
            {
                "sender": lane.sender,
                "recipient": lane.recipient,
                "epoch": lane.epoch,
                "numbers": list(lane.numbers),
                "holes": lane.holes,
                "complete": lane.complete,
            }
            for lane in found.lanes
        ],
        "not_compared": [
            {"agency": agency, "peer": peer, "entries": count}
            for (agency, peer), count in sorted(found.not_compared.items())
        ],
    }


def _one_sided_row(each: "OneSided") -> dict[str, Any]:
    later = {"epoch": each.epoch} if each.epoch > 1 else {}
    return {"agency": each.agency, "entry": each.entry, "kind": each.kind, "peer": each.peer, **later}


def _row(each: "OneSided") -> dict[str, Any]:
    return {**_one_sided_row(each), "epoch": each.epoch, "why": each.why}


def _lost(each: "Lost") -> dict[str, Any]:
    row = each.loss.restored
    return {**_row(each.row), "restored": {"agency": row.agency, "epoch": row.epoch, "entry": row.entry}}


def _tell_refuted(refuted: Sequence[tuple[str, str]], as_json: bool) -> None:
    if as_json:
        rows = [{"log": log, "verdict": verdict} for log, verdict in refuted]
        print_json({"pairs": 0, "one_sided": [], "refuted": rows})
        return
    for log, verdict in refuted:
        print(f"{shown(log)}: {shown(verdict)}")
    print("Nothing was compared. Keep these files as they are: they are the evidence.")


def _say(text: str) -> None:
    """Print a line; a log without a trusted key may call itself anything."""
    print(shown(text))


def _tell(opened: "Sequence[ComparedLog]", found: "Pairing") -> None:
    for one in opened:
        _say(f"{_log_name(one.agency, one.epoch)}: {one.size:,} entries")
    _say(f"{found.pairs:,} exchanges stand in both logs: queued, answered, receipt recorded.")
    for lane in found.lanes:
        _say(f"  {_lane_line(lane)}")
    for what, rows in (("one-sided", found.one_sided), ("one-sided, perhaps under way", found.under_way)):
        for each in rows[:_SHOWN]:
            _say(f"  {what}: {_told(each)}")
        if len(rows) > _SHOWN:
            _say(f"  {what}: {len(rows) - _SHOWN:,} more; --json lists all")
    for lost in found.lost[:_SHOWN]:
        _say(f"  lost: {_told(lost.row)}; {lost.loss.told()}")
    if len(found.lost) > _SHOWN:
        _say(f"  lost: {len(found.lost) - _SHOWN:,} more; --json lists all")
    for line in found.behind:
        _say(f"  behind: {line}")
    for (agency, peer), count in sorted(found.not_compared.items()):
        _say(f"  not compared: {count:,} entries of {agency} about {peer}, whose log was not given")
    if found.under_way:
        _say(
            "Perhaps under way: the other log ends before it, or at most ten seconds after, by the agencies' own clocks;"
        )
        _say("compare again with newer logs of both.")
    if found.lost:
        _say(
            "Lost means: it can stand only in a part of an epoch that is not here. Nobody can check it any more, unless"
        )
        _say(
            "somebody has kept that part; what others kept of it, exchange audit verify --against holds against the log."
        )
    if not _one_sided(found) and not found.behind and not found.lost:
        _say("Nothing is one-sided. What two agencies both keep silent about shows only as a hole in a lane's numbers.")


def _told(each: "OneSided") -> str:
    return f"{_log_name(each.agency, each.epoch)} entry {each.entry}, {each.kind}, {each.peer}: {each.why}"


def _log_name(agency: str, epoch: int) -> str:
    return agency if epoch == 1 else f"{agency} (epoch {epoch})"


def _lane_line(lane: "Lanes") -> str:
    numbers = " and ".join(f"1 to {last:,}" for last in lane.numbers if last)
    state = "complete" if lane.complete else f"{lane.holes:,} holes, {lane.unnumbered:,} without a number"
    state += ", and entries are missing" if lane.cut else ""
    return (
        f"{_log_name(lane.sender, lane.epoch)} to {lane.recipient}: deliveries {numbers or 'without numbers'}, {state}"
    )
