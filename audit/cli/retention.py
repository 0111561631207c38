"""``exchange audit retention``: what a log says is kept past its day."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audit.cli.shared import earlier_epochs, judging, open_folder, shown
from audit.cli.verify import log_report
from audit.cli.verify_options import VerifyOptions
from keys.cli.ending import print_json
from keys.cli.failure import CommandError
from keys.cli.options import JSON
from keys.refusals import Exit

if TYPE_CHECKING:
    from audit.compare.overdue import Overdue, Retention
    from audit.note.policy import WitnessPolicy
    from audit.tiles.tiles import TileFolder

WITNESSES = "witnesses.vkeys"


@click.command()
@click.argument("directory", metavar="DIR")
@click.option("--key", "key_text", metavar="VKEY", help="The log's key, from somebody you trust: NAME+HASH+BASE64.")
@click.option("--roster", "roster_file", metavar="FILE", help="Take the log's key and its witnesses from this roster.")
@JSON
def retention(directory: str, key_text: str | None, roster_file: str | None, as_json: bool) -> int:
    from audit.compare.overdue import check_retention
    from audit.verify.bundle import require_whole

    if key_text and roster_file:
        raise click.UsageError("--key and --roster name the same thing: give one of them")
    options = VerifyOptions(key_text=key_text, roster_file=roster_file, against=(), as_json=as_json)
    try:
        with judging(directory):
            folder = _log_at(directory)
            require_whole(folder)
            report = log_report(folder, options, whole=_is_whole(folder))
            if report.is_refuted:
                raise CommandError("REFUTED", f"{directory}: {report.verdict}")
            earlier = _earlier(directory, options)
            found = check_retention(folder, _policy(folder, directory, roster_file), earlier)
    except LookupError as error:
        raise CommandError("NO_SUCH_ENTRY", f"{directory}: {error.args[0]}") from error
    if as_json:
        print_json({"overdue": [_to_json(each, found) for each in found.overdue]})
    else:
        for line in to_lines(found):
            click.echo(shown(line))
    return Exit.INCOMPLETE if found.overdue or not found.whole else Exit.DONE


def to_lines(found: "Retention") -> list[str]:
    """Write the list for people."""
    from audit.entry.names import instant

    lines = [
        f"{each.entry:>9}  {_uuid(each.bulletin_id)}  kept past {_day(each.until_day)}{_in_epoch(each.epoch)}"
        for each in found.overdue
    ]
    at = instant(found.time.seconds * 1_000_000)[:19]
    lines.append(f"As of {at}Z, {found.time.source}: {found.kept:,} bulletins with a day, {found.erased:,} erased,")
    lines.append(f"{found.on_hold:,} on hold, {len(found.overdue):,} overdue.")
    if not found.whole:
        seen = ", ".join(map(str, found.epochs))
        lines.append(f"Not checked: entries that are not here; epochs looked at: {seen}.")
    return lines


def _log_at(directory: str) -> "TileFolder":
    from audit.tiles.bundle_folder import folder_at

    path = Path(directory)
    return folder_at(path) if path.is_file() else open_folder(directory)


def _earlier(directory: str, options: VerifyOptions) -> "list[TileFolder]":
    """Open and verify the logs of earlier epochs that a home has kept; a refuted one ends the command."""
    found = []
    for path in earlier_epochs(Path(directory)):
        folder = open_folder(path)
        # A key that was given is the newest epoch's by its name; an earlier log is then checked under its own.
        report = log_report(folder, replace(options, key_text=None), whole=True)
        if report.is_refuted:
            raise CommandError("REFUTED", f"{path}: {report.verdict}")
        found.append(folder)
    return found


def _is_whole(folder: "TileFolder") -> bool:
    from audit.note.checkpoint import parse_note
    from audit.tiles.bundle_folder import BundleFolder

    size = parse_note(folder.note()).checkpoint.size
    return not isinstance(folder, BundleFolder) or folder.stored(size) == (0, size)


def _policy(folder: "TileFolder", directory: str, roster_file: str | None) -> "WitnessPolicy | None":
    """Take the witnesses from the roster that was given, or else from the file beside the log: they tell but the time."""
    from audit.note.checkpoint import parse_note
    from audit.note.policy import parse_vkeys
    from audit.tiles.tiles import MissingError, TileFolder
    from audit.verify.trust import trust_of

    if roster_file:
        return trust_of(Path(roster_file), parse_note(folder.note()).checkpoint.origin).policy
    for path in (Path(directory) / WITNESSES, folder.root.parent / WITNESSES):
        if path.is_file():
            return parse_vkeys(TileFolder(path.parent).text(WITNESSES))
    try:
        return parse_vkeys(folder.text(WITNESSES)) if folder.root.is_file() else None
    except MissingError:
        return None


def _to_json(each: "Overdue", found: "Retention") -> dict[str, object]:
    row = {"entry": each.entry, "bulletin": _uuid(each.bulletin_id), "since": _day(each.until_day)}
    return row if each.epoch == found.epochs[-1] else {"epoch": each.epoch, **row}  # an entry of an earlier log


def _in_epoch(epoch: int) -> str:
    return "" if epoch == 1 else f", epoch {epoch}"


def _uuid(raw: bytes) -> str:
    from uuid import UUID

    return str(UUID(bytes=raw))


def _day(day: int) -> str:
    from datetime import date, timedelta

    try:
        return str(date(1970, 1, 1) + timedelta(days=day))
    except OverflowError:
        return f"day {day}"
