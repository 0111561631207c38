"""``exchange outbox``: one state and one reason a recipient, each receipt verified on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from exchange.cli.officer import shown
from exchange.cli.options import json_option, officer_options
from keys.cli.ending import print_json

if TYPE_CHECKING:
    from exchange.client import Client, Sent, SentState

_WORDS = {
    "waiting": "on its way: not yet answered",
    "received": "received and opened by its node",
    "refused": "refused",
    "duplicate": "had it already",
    "withdrawn": "withdrawn before it left",
    "absent": "not served",
    "not_understood": "answered, in a way that is newer than this program",
}


@click.command()
@click.argument("name", required=False, metavar="[ID]")
@click.option("--after", type=click.IntRange(0), default=0, metavar="CURSOR", help="Only what was sent after it.")
@json_option
@officer_options
def outbox(node: Client, name: str | None, after: int, as_json: bool) -> None:
    """Say what became of what your agency sent.

    Every receipt, and its proof that the recipient's node opened the bulletin, is verified on this machine against the
    log key in the roster. ID is a number, an id, or its first eight characters.
    """
    items = list(node.outbox(after))
    if name is not None:
        wanted = node.find(name).bulletin_id
        items = [each for each in items if each.bulletin_id == wanted]
        if not items:
            from keys.errors import RefusedError

            raise RefusedError("NO_SUCH_BULLETIN", f"{wanted} was not sent from here")
    if as_json:
        print_json({"ok": True, "items": [to_json(each) for each in items]})
        return
    for line in to_lines(items):
        click.echo(line)


def to_lines(items: Sequence[Sent]) -> list[str]:
    """Write one block a bulletin."""
    if not items:
        return ["Nothing was sent."]
    lines = []
    for item in items:
        words = (item.kind.replace("_", " "), shown.status(item.status), "erased" if item.erased else "")
        what = " ".join(filter(None, words))
        lines.append(f"{item.number or '-'}  {shown.marking(item.tlp, item.classification)}  {what}")
        lines.append(f"  id {item.bulletin_id}  published {shown.time_text(item.published_ms)}")
        lines += shown.columns([(each.agency, _words(each), _proof(each)) for each in item.recipients])
    waiting = sum(1 for item in items for each in item.recipients if each.word == "waiting")
    lines.append(f"{len(items)} sent, {waiting} {'delivery' if waiting == 1 else 'deliveries'} on their way")
    return lines


def _words(state: SentState) -> str:
    if state.silent_since_ms:
        return f"on its way: {state.agency} has not connected since {shown.clock_text(state.silent_since_ms)}"
    return f"{_WORDS[state.word]}: {state.reason}" if state.reason else _WORDS[state.word]


def _proof(state: SentState) -> str:
    if state.log_index is None:
        return ""
    return f"entry {state.log_index} of their log, {shown.time_text(state.since_ms)}, receipt verified"


def to_json(item: Sent) -> dict[str, Any]:
    """Build one item for programs."""
    return {
        "cursor": item.cursor,
        "number": item.number,
        "bulletin_id": item.bulletin_id,
        "kind": item.kind,
        "marking": shown.marking(item.tlp, item.classification),
        "urgency": shown.urgency(item.urgency),
        "statement_digest": item.statement_digest.hex(),
        "published_ms": item.published_ms,
        "erased": item.erased,
        "recipients": [
            {
                "agency": each.agency,
                "state": each.word,
                "reason": each.reason or None,
                "sequence": each.sequence or None,
                "since_ms": each.since_ms or None,
                "silent_since_ms": each.silent_since_ms or None,
                "log_index": each.log_index,
                "verified": each.receipt is not None,
            }
            for each in item.recipients
        ],
    }
