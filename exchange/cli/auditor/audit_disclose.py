"""``exchange audit disclose``: some fields of one bulletin, to be shown outside while the rest stays shut."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from exchange.cli.options import json_option, officer_options
from keys.cli.ending import print_json

if TYPE_CHECKING:
    from exchange.client.client import Client


@click.command()
@click.argument("name", metavar="ID")
@click.option(
    "--field", "fields", multiple=True, required=True, metavar="NAME", help="kind, subject, body …; repeat it."
)
@click.option("--for", "case", required=True, metavar="CASE", help="The case that you show it for.")
@click.option("--because", required=True, metavar="TEXT", help="To whom and why, in your own words.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write here; a file that is there stays.",
)
@json_option
@officer_options
def disclose(
    node: Client, name: str, fields: tuple[str, ...], case: str, because: str, output: Path, as_json: bool
) -> None:
    """Write some fields of a bulletin with the proof that the log committed to them.

    The request with your case and reason is signed by you and stands in the log as EXPORTED before anything is opened.
    Whoever has the roster verifies the file with `exchange audit verify`; the other fields stay shut. ID is a number,
    an id, or its first eight characters.
    """
    from audit.record.commitments import SLOTS
    from audit.record.disclosure import format_disclosure, open_fields
    from exchange.records.receipt import format_receipt
    from keys.files import PRIVATE, write_file

    if unknown := sorted(set(fields) - set(SLOTS)):
        raise click.UsageError(f"no field {', '.join(unknown)}; fields are {', '.join(SLOTS)}")
    if output.exists():
        raise click.UsageError(f"{output} is there already")
    item = node.find(name)
    exported = node.export(item, case=case, because=because)
    statement = exported.opened.statement
    disclosure = open_fields(statement.salt, statement.bulletin, fields)
    text = format_disclosure(disclosure, format_receipt(exported.proof))
    write_file(output, text.encode(), mode=PRIVATE)
    names = [each.field for each in disclosure.fields]
    told = {"file": str(output), "bulletin_id": item.bulletin_id, "fields": names}
    if as_json:
        print_json({"ok": True, **told, "log_index": exported.opened.log_index})
        return
    click.echo(f"{output}: {', '.join(names)} of {item.bulletin_id}")
    click.echo(f"logged as entry {exported.opened.log_index} of {node.agency}; receipt verified")
