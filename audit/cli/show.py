"""``exchange audit show`` and ``exchange audit prove``: entries as they are stored, and the proof that one is there."""

import click

from audit.cli.shared import judging, open_folder, write_new
from keys.cli.ending import print_json
from keys.cli.failure import CommandError
from keys.cli.options import JSON


@click.command()
@click.argument("directory", metavar="DIR")
@click.option("--from", "first", type=click.IntRange(min=0), default=0, help="First entry, from 0.")
@click.option("--to", "last", type=click.IntRange(min=0), help="Last entry, included.")
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Only this kind, as RECEIVED; may be repeated.")
@JSON
def show(directory: str, first: int, last: int | None, kinds: tuple[str, ...], as_json: bool) -> None:
    """Print entries as they are stored; `verify` says whether they are true.

    With --json one object a line.
    """
    from audit.entry.kinds import Kind
    from audit.report.show import describe, line, read_range

    wanted = {kind.upper() for kind in kinds}
    if unknown := wanted - set(Kind.__members__):
        raise click.UsageError(f"no kind {', '.join(sorted(unknown))}; kinds are {', '.join(Kind.__members__)}")
    folder = open_folder(directory)
    with judging(directory):
        for index, entry in read_range(folder, first, last):
            row = describe(index, entry)
            if wanted and row["kind"] not in wanted:
                continue
            if as_json:
                print_json(row)
            else:
                click.echo(line(row))


@click.command()
@click.argument("directory", metavar="DIR")
@click.argument("index", type=click.IntRange(min=0))
@click.option("-o", "--output", metavar="FILE", help="Write here instead of stdout; an existing file stays.")
@JSON
def prove(directory: str, index: int, output: str | None, as_json: bool) -> None:
    """Write the proof that entry INDEX is in the log: a C2SP tlog-proof with the entry as its extra line.

    Whoever has the log's key can verify it without the log.
    """
    from audit.tiles.entry_proof import prove_entry

    folder = open_folder(directory)
    try:
        with judging(directory):
            text = prove_entry(folder, index)
    except LookupError as error:
        raise CommandError("NO_SUCH_ENTRY", str(error)) from error
    if output is not None:
        write_new(output, text.encode())
    if as_json:
        print_json({"ok": True, "entry": index, "file": output, "proof": text})
    elif output is None:
        click.echo(text, nl=False)
