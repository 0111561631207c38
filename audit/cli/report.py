"""``exchange audit report``: a log as one page to look at."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from audit.cli.shared import judging, open_folder, shown, write_new
from audit.cli.verify import log_report, report_json
from audit.cli.verify_options import VerifyOptions
from keys.cli.ending import print_json
from keys.cli.failure import CommandError
from keys.cli.options import JSON

if TYPE_CHECKING:
    from audit.tiles.tiles import TileFolder
    from audit.verify.verdict import Report
    from keys.roster import Roster


@click.command()
@click.argument("directory", metavar="DIR")
@click.option("--key", "key_text", metavar="VKEY", help="The log's key, from somebody you trust: NAME+HASH+BASE64.")
@click.option(
    "--roster", "roster_file", metavar="FILE", help="Take keys, witnesses and agencies' names from this roster."
)
@click.option(
    "--against", multiple=True, metavar="CHECKPOINT", help="A checkpoint or receipt that others kept; repeatable."
)
@click.option("-o", "--output", required=True, metavar="FILE", help="The page; an existing file stays.")
@JSON
def report(
    directory: str,
    key_text: str | None,
    roster_file: str | None,
    against: tuple[str, ...],
    output: str,
    as_json: bool,
) -> int:
    """Draw a log as one page: activity, peers, refusals, receipts, witnesses, silences; no content.

    DIR is a log folder, a node's home or a whole bundle.
    The log is verified first and the page says what came of it; the exit code is that of `verify`.
    """
    if key_text and roster_file:
        raise click.UsageError("--key and --roster name the same thing: give one of them")
    if Path(output).exists():
        raise FileExistsError(17, "it is there already", output)
    options = VerifyOptions(key_text=key_text, roster_file=roster_file, against=against, as_json=as_json)
    folder = _log_at(directory)
    verdict = log_report(folder, options)
    with judging(directory):
        page = _page(folder, verdict, roster_file)
    write_new(output, page)
    if as_json:
        print_json({"file": output, **report_json(verdict)})
    else:
        click.echo(shown(f"{output}: {verdict.verdict}"))
    return verdict.exit_code


def _page(folder: "TileFolder", verdict: "Report", roster_file: str | None) -> bytes:
    from audit.report.report import make_report

    roster = _roster(roster_file)
    policy = None
    if roster is not None and verdict.origin is not None:
        from audit.verify.trust import policy_of

        log_name = verdict.origin.rpartition("/")[0]
        agency = next((each.agency for each in roster.members if each.log_name == log_name), None)
        policy = policy_of(roster, agency) if agency is not None else None
    members = {each.number: str(each.agency) for each in roster.members} if roster is not None else {}
    return make_report(folder, verdict, policy=policy, members=members)


def _log_at(directory: str) -> "TileFolder":
    """Open a log folder, or a bundle that is what its README says and holds all entries."""
    from audit.tiles.bundle_folder import BundleFolder
    from audit.verify.bundle import require_whole

    path = Path(directory)
    if not path.is_file():
        return open_folder(directory)
    with judging(directory):
        folder = BundleFolder(path)
        require_whole(folder)
        whole = folder.is_whole()
    if not whole:
        raise CommandError("NOT_CHECKED", f"{directory}: it holds a part of a log; all of it is drawn or none")
    return folder


def _roster(name: str | None) -> "Roster | None":
    from keys.roster import load_signed, verify_first_roster

    return verify_first_roster(load_signed(Path(name))) if name is not None else None
