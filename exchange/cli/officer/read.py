"""``exchange read``: one bulletin, after the request to open it is signed, logged and durable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from exchange.cli.officer import shown
from exchange.cli.options import json_option, officer_options
from keys.cli.ending import print_json

if TYPE_CHECKING:
    from exchange.client import Client, Opened, Received, Sent

_PURPOSES = ("case-work", "triage", "reply", "oversight", "automated")


@click.command()
@click.argument("name", metavar="ID")
@click.option("--for", "case", metavar="CASE", help="The case that you read it for.")
@click.option("--because", metavar="TEXT", help="Why, in your own words.")
@click.option("--purpose", type=click.Choice(_PURPOSES), default=_PURPOSES[0], show_default=True, help="For the log.")
@click.option("--again", is_flag=True, help="For the case and reason of your last reading of it.")
@json_option
@officer_options
def read(
    node: Client, name: str, case: str | None, because: str | None, purpose: str, again: bool, as_json: bool
) -> None:
    """Open one bulletin and show it.

    The request with your case and reason is signed by you and stands in the log before anything is opened. Author,
    audience and signature are verified on this machine. ID is a number, an id, or its first eight characters. What you
    have read before, or could not be shown, is read again for the same case and reason.
    """
    from exchange.client import ReadPurpose

    number = ReadPurpose(_PURPOSES.index(purpose) + 1)
    item = node.find(name)
    if again or (not case and not because and _failed(node, item)):
        opened = node.read_again(item)
    elif case and because:
        opened = node.read(item, case=case, because=because, purpose=number)
    else:
        raise click.UsageError(f"Missing option '{'--because' if case else '--for'}'.")
    if as_json:
        print_json({"ok": True, **to_json(node, opened)})
        return
    click.echo(to_text(node, opened), nl=False)


def _failed(node: Client, item: Received | Sent) -> bool:
    last = node.own_reading(item)
    return last is not None and last.failed


def to_text(node: Client, opened: Opened) -> str:
    """Render it, with how we know under the first line."""
    from exchange.authoring.render import render

    understood = opened.received is None or not opened.received.not_understood
    lines = render(opened.bulletin, now_ms=node.now_ms, understood=understood).split("\n")
    rows = [
        ("signed", f"good: {opened.author}, key {opened.key_id.hex()[:8]}"),
        ("sealed", f"for {', '.join(opened.statement.recipients)}"),
        ("logged", f"your reading is entry {opened.log_index} of {node.agency}; receipt verified"),
    ]
    if opened.received is not None:
        for kind, by in opened.received.notices:
            rows.append(("notice", f"{shown.relation(kind)} by {by}"))
    return "\n".join([lines[0], *shown.columns(rows), *lines[1:]])


def to_json(node: Client, opened: Opened) -> dict[str, Any]:
    """Build an opened bulletin for programs; field names as in YAML."""
    from google.protobuf.json_format import MessageToDict

    return {
        "number": opened.bulletin.header.number,
        "bulletin_id": opened.bulletin.header.bulletin_id,
        "author": opened.author,
        "key_id": opened.key_id.hex(),
        "statement_digest": opened.statement_digest.hex(),
        "recipients": list(opened.statement.recipients),
        "log_index": opened.log_index,
        "agency": node.agency,
        "bulletin": MessageToDict(opened.bulletin, preserving_proto_field_name=True),
    }
