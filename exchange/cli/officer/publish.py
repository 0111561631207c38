"""``exchange publish`` and ``exchange reply``: what is signed, and who can open it, is shown before it is signed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exchange.cli.officer import shown
from exchange.cli.options import json_option, officer_options
from exchange.rules.complaint import Complaint, RulesError
from keys.cli.ending import print_json

if TYPE_CHECKING:
    from exchange.client import Client, Composed, Published

YES = click.option("-y", "--yes", is_flag=True, help="Do not ask; for scripts.")


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@YES
@json_option
@officer_options
def publish(node: Client, files: tuple[Path, ...], yes: bool, as_json: bool) -> None:
    """Sign bulletins and hand them to your node, which seals and sends them.

    All files are judged before the first is signed. Ends with 0 once your node holds them durably, logged and
    receipted; with 2 for errors in a draft (Y, S, R), with 3 where policy refuses (P).
    """
    composed = [_compose(node, file) for file in files]
    _agree(composed, yes, as_json)
    _tell(node, [node.publish(each) for each in composed], composed, as_json)


@click.command()
@click.argument("name", metavar="ID")
@click.argument("file", required=False, type=click.Path(path_type=Path), metavar="[FILE]")
@click.option("-m", "--message", "texts", multiple=True, metavar="TEXT", help="An answer; once for each question.")
@click.option(
    "--for", "case", metavar="CASE", help="The case that you read it for; the bulletin's number if not given."
)
@click.option("--because", default="to reply to it", show_default=True, metavar="TEXT", help="Why you read it.")
@YES
@json_option
@officer_options
def reply(
    node: Client,
    name: str,
    file: Path | None,
    texts: tuple[str, ...],
    case: str | None,
    because: str,
    yes: bool,
    as_json: bool,
) -> None:
    """Answer a bulletin: with -m TEXT as an information reply, or with a FILE of your own.

    Marking, audience, case and status are inherited where you leave them out. The original is opened for it, so that
    is logged first. ID is a number, an id, or its first eight characters.
    """
    from exchange.authoring.reply import inherit, make_reply
    from exchange.client import ReadPurpose
    from exchange.client.compose import read_source

    if bool(texts) == (file is not None):
        raise click.UsageError("give either -m TEXT or a FILE")
    item = node.find(name)
    opened = node.read(item, case=case or item.number, because=because, purpose=ReadPurpose.REPLY)
    if file is None:
        message = make_reply(opened.bulletin, texts, agency=node.agency)
    else:
        message = read_source(file).message
        inherit(message.header, opened.bulletin.header, agency=node.agency)
    composed = [node.compose(message)]
    _agree(composed, yes, as_json)
    _tell(node, [node.publish(each) for each in composed], composed, as_json)


class DraftError(RulesError):
    """What is wrong in one file."""

    def __init__(self, file: Path, complaints: tuple[Complaint, ...]) -> None:
        super().__init__(complaints)
        self.file = str(file)


def _compose(node: Client, file: Path) -> Composed:
    """Compose one file; DraftError names it beside its complaints."""
    try:
        return node.compose(file)
    except RulesError as error:
        raise DraftError(file, error.complaints) from error


def _agree(composed: Sequence[Composed], yes: bool, as_json: bool) -> None:
    """Show marking, audience and who can open it; ask, unless told not to."""
    if as_json and not yes:
        raise click.UsageError("--json cannot ask; say --yes")
    if as_json:
        return
    for each in composed:
        for line in to_lines(each):
            click.echo(line)
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("nobody is there to ask; say --yes")
    if not click.confirm("Publish?" if len(composed) == 1 else f"Publish these {len(composed)}?", err=True):
        raise click.Abort


def to_lines(composed: Composed) -> list[str]:
    """Print what would be signed."""
    from exchange.authoring.render import marking_line

    header, several = composed.bulletin.header, len(composed.recipients) > 1
    subject = next((line.text for line in header.subject), "")
    told = f"{len(composed.recipients)} {'agencies' if several else 'agency'} and your own can open this; nobody else"
    rows = [
        ("Subject", shown.field(subject, 100)),
        ("Kind", f"{composed.kind.replace('_', ' ')}, {shown.urgency(header.urgency)}"),
        ("Number", shown.field(header.number)),
        ("From", f"{header.author} at {header.originator}"),
        ("To", ", ".join(composed.recipients)),
        ("", told),
    ]
    if header.HasField("expires_at"):
        rows.append(("Expires", shown.time_text(header.expires_at.ToMilliseconds())))
    if header.HasField("reply_by"):
        rows.append(("Reply by", shown.time_text(header.reply_by.ToMilliseconds())))
    first = " · ".join(filter(None, (marking_line(composed.bulletin), shown.status(header.status))))
    return [first, *shown.columns(rows)]


def _tell(node: Client, published: Sequence[Published], composed: Sequence[Composed], as_json: bool) -> None:
    if as_json:
        print_json({"ok": True, "published": [to_json(each) for each in published]})
        return
    for each in published:
        click.echo(f"Published {each.number}")
        rows = [
            ("id", each.bulletin_id),
            ("log", f"entry {each.log_index} of {node.agency}; receipt verified"),
            *((agency, "sealed for it, on its way") for agency in each.recipients),
            *((agency, f"not served: {why}") for agency, why in each.absent.items()),
        ]
        for line in shown.columns(rows):
            click.echo(line)
    click.echo(f"exchange: follow it with: exchange outbox {published[-1].bulletin_id}", err=True)


def to_json(published: Published) -> dict[str, Any]:
    """Build one publication for programs."""
    return {
        "number": published.number,
        "bulletin_id": published.bulletin_id,
        "statement_digest": published.statement_digest.hex(),
        "log_index": published.log_index,
        "recipients": list(published.recipients),
        "absent": dict(published.absent),
    }
