"""``exchange audit show`` and ``exchange audit prove``: entries as they are stored, and the proof that one is there."""

import json
import sys

import click

from audit.cli.shared import EXIT_NONE, EXIT_REFUTED, fail, open_folder, write_new


@click.command()
@click.argument("directory", metavar="DIR")
@click.option("--from", "first", type=click.IntRange(min=0), default=0, help="First entry, from 0.")
@click.option("--to", "last", type=click.IntRange(min=0), help="Last entry, included.")
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Only this kind, as RECEIVED; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def show(
    ctx: click.Context, directory: str, first: int, last: int | None, kinds: tuple[str, ...], as_json: bool
) -> None:
    """Print entries as they are stored; `verify` says whether they are true."""
    from audit.entry.kinds import Kind
    from audit.report.show import describe, line, read_range
    from keys.errors import RefusedError

    wanted = {kind.upper() for kind in kinds}
    if unknown := wanted - set(Kind.__members__):
        raise click.UsageError(f"no kind {', '.join(sorted(unknown))}; kinds are {', '.join(Kind.__members__)}")
    folder = open_folder(ctx, directory, as_json)
    try:
        for index, entry in read_range(folder, first, last):
            told = describe(index, entry)
            if not wanted or told["kind"] in wanted:
                print(json.dumps(told) if as_json else line(told))
    except RefusedError as error:
        fail(ctx, EXIT_REFUTED, str(error), as_json)


@click.command()
@click.argument("directory", metavar="DIR")
@click.argument("index", type=click.IntRange(min=0))
@click.option("-o", "--output", metavar="FILE", help="Write here instead of stdout; an existing file stays.")
@click.pass_context
def prove(ctx: click.Context, directory: str, index: int, output: str | None) -> None:
    """Write the proof that entry INDEX is in the log: a C2SP tlog-proof with the entry as its extra line.

    Whoever has the log's key can verify it without the log.
    """
    from audit.verify.prove import prove_entry
    from keys.errors import RefusedError

    folder = open_folder(ctx, directory, False)
    try:
        text = prove_entry(folder, index)
    except RefusedError as error:
        fail(ctx, EXIT_REFUTED, str(error), False)
    except LookupError as error:
        fail(ctx, EXIT_NONE, str(error), False)
    if output is None:
        sys.stdout.write(text)
    else:
        write_new(ctx, output, text.encode())
