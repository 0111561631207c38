"""``exchange audit report``: a log as one page to look at."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from audit.cli.shared import EXIT_INCOMPLETE, EXIT_REFUTED, EXIT_USAGE, fail, open_folder, print_json, safe, write_new
from audit.cli.verify import log_report, report_json
from audit.cli.verify_options import VerifyOptions

if TYPE_CHECKING:
    from audit.tiles.tiles import TileFolder
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
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.pass_context
def report(
    ctx: click.Context,
    directory: str,
    key_text: str | None,
    roster_file: str | None,
    against: tuple[str, ...],
    output: str,
    as_json: bool,
) -> None:
    """Draw a log as one page: activity, peers, refusals, receipts, witnesses, silences; no content.

    DIR is a log folder, a node's home or a whole bundle.
    The log is verified first and the page says what came of it; the exit code is that of `verify`.
    """
    from audit.report.report import make_report
    from keys.errors import RefusedError

    if key_text and roster_file:
        raise click.UsageError("--key and --roster name the same thing: give one of them")
    if Path(output).exists():
        fail(ctx, EXIT_USAGE, f"{output} is there already", as_json)
    options = VerifyOptions(key_text=key_text, roster_file=roster_file, against=against, as_json=as_json)
    folder = _log_at(ctx, directory, as_json)
    verdict = log_report(ctx, folder, options)
    try:
        roster = _roster(roster_file)
        policy = None
        if roster is not None and verdict.origin is not None:
            from audit.verify.trust import policy_of

            log_name = verdict.origin.rpartition("/")[0]
            agency = next((each.agency for each in roster.members if each.log_name == log_name), None)
            policy = policy_of(roster, agency) if agency is not None else None
        members = {each.number: str(each.agency) for each in roster.members} if roster is not None else {}
        page = make_report(folder, verdict, policy=policy, members=members)
    except (RefusedError, OSError) as error:
        fail(ctx, EXIT_REFUTED, f"{directory}: {error}", as_json)
    write_new(ctx, output, page, as_json)
    if as_json:
        print_json({"file": output, **report_json(verdict)})
    else:
        print(safe(f"{output}: {verdict.verdict}"))
    ctx.exit(verdict.exit_code)


def _log_at(ctx: click.Context, directory: str, as_json: bool) -> "TileFolder":
    """Open a log folder, or a bundle that is what its README says and holds all entries."""
    from audit.tiles.bundle_folder import BundleFolder
    from audit.verify.bundle import require_whole
    from keys.errors import RefusedError

    path = Path(directory)
    if not path.is_file():
        return open_folder(ctx, directory, as_json)
    try:
        folder = BundleFolder(path)
        require_whole(folder)
        whole = folder.is_whole()
    except RefusedError as error:
        fail(ctx, EXIT_REFUTED, f"{directory}: {error}", as_json)
    if not whole:
        fail(ctx, EXIT_INCOMPLETE, f"{directory}: it holds a part of a log; all of it is drawn or none", as_json)
    return folder


def _roster(name: str | None) -> "Roster | None":
    from keys.roster import load_signed, verify_first_roster

    return verify_first_roster(load_signed(Path(name))) if name is not None else None
