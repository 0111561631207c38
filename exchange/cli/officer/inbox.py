"""``exchange inbox``: what has come. Facts of the dispatch only; subjects after a signed request that is logged first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from exchange.cli.officer import shown
from exchange.cli.options import json_option, officer_options
from keys.cli.ending import print_json

if TYPE_CHECKING:
    from exchange.client import Client, Received


@click.command()
@click.option("--after", type=click.IntRange(0), default=0, metavar="CURSOR", help="Only what came after this cursor.")
@click.option("--watch", is_flag=True, help="Go on with what arrives, one line each, until interrupted.")
@click.option("--subjects", is_flag=True, help="Show subjects too: needs --for and --because, and is logged.")
@click.option("--for", "case", metavar="CASE", help="The case that you look for.")
@click.option("--because", metavar="TEXT", help="Why you look.")
@json_option
@officer_options
def inbox(
    node: Client, after: int, watch: bool, subjects: bool, case: str | None, because: str | None, as_json: bool
) -> None:
    """List the bulletins that your agency has received: who, when, what kind, how marked. Never their text.

    With --json one object; with --watch --json one object a line, whose cursor --after takes.
    """
    if subjects and (not case or not because or watch):
        raise click.UsageError("--subjects needs --for CASE and --because TEXT, and does not go with --watch")
    ending = say_ending(node, silent=as_json)
    if watch:
        _watch(node, after, as_json)
        return
    items = list(node.inbox(after))
    told = node.subjects(items, case=case, because=because) if subjects and case and because else {}
    if as_json:
        print_json({"ok": True, "items": [to_json(each, told) for each in items], "ending": ending})
        return
    for line in to_lines(items, told, now_ms=node.now_ms):
        click.echo(line)


def say_ending(node: Client, *, silent: bool = False) -> list[dict[str, Any]]:
    """Say on stderr what ends soon, a line each; return it for programs."""
    ending, at_ms = node.countdown(), node.now_ms
    for each in () if silent else ending:
        click.echo(f"exchange: {each.line(at_ms)}", err=True)
    return [each.to_json(at_ms) for each in ending]


def _watch(node: Client, after: int, as_json: bool) -> None:
    for item in node.subscribe(after):
        if as_json:
            click.echo(json.dumps(to_json(item, {})))
        else:
            click.echo(shown.columns([_row(item, node.now_ms)])[0])


def to_lines(items: Iterable[Received], subjects: Mapping[tuple[str, str], str], *, now_ms: int) -> list[str]:
    """Write the table: marking of all first and last, newest line last."""
    listed = list(items)
    if not listed:
        return ["Nothing has come."]
    first = shown.highest([(each.tlp, each.classification) for each in listed]) if subjects else ""
    lines = [first] if first else []
    table = shown.columns([_HEAD, *(_row(each, now_ms) for each in listed)])
    lines.append(table[0])
    for each, line in zip(listed, table[1:], strict=True):
        lines.append(line)
        said = subjects.get((each.sender, each.bulletin_id))
        if said is not None:
            lines.append(f"      {shown.field(said, 100)}")
    unread = sum(1 for each in listed if not each.opened and not each.erased)
    lines.append(f"{len(listed)} received, {unread} not opened yet")
    return [*lines, first] if first else lines


_HEAD = ("", "NUMBER", "FROM", "KIND", "MARKING", "RECEIVED", "REPLY BY", "STATE", "ID")


def _row(item: Received, now_ms: int) -> tuple[str, ...]:
    urgent = {1: "!!", 2: "!"}.get(item.urgency, "")
    return (
        urgent,
        shown.field(item.number) or "-",
        shown.field(item.sender),
        shown.field(item.kind.replace("_", " ")) or "not understood",
        shown.marking(item.tlp, item.classification),
        shown.time_text(item.received_ms),
        shown.time_text(item.reply_due_ms) or "-",
        _state(item, now_ms),
        item.bulletin_id,
    )


def _state(item: Received, now_ms: int) -> str:
    words = [shown.status(item.status), *(shown.relation(kind) for kind, _ in item.notices)]
    if item.expires_ms and item.expires_ms <= now_ms:
        words.append("EXPIRED")
    if item.reply_due_ms and item.reply_due_ms <= now_ms:
        words.append("OVERDUE")
    if item.not_understood:
        words.append("not fully understood")
    words.append("erased" if item.erased else "opened" if item.opened else "new")
    return " ".join(filter(None, words))


def to_json(item: Received, subjects: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """Build one item for programs."""
    told: dict[str, Any] = {
        "cursor": item.cursor,
        "number": item.number,
        "bulletin_id": item.bulletin_id,
        "sender": item.sender,
        "kind": item.kind,
        "marking": shown.marking(item.tlp, item.classification),
        "urgency": shown.urgency(item.urgency),
        "status": shown.status(item.status) or "ACTUAL",
        "statement_digest": item.statement_digest.hex(),
        "received_ms": item.received_ms,
        "reply_due_ms": item.reply_due_ms or None,
        "expires_ms": item.expires_ms or None,
        "opened": item.opened,
        "erased": item.erased,
        "notices": [{"relation": shown.relation(kind), "bulletin_id": by} for kind, by in item.notices],
    }
    said = subjects.get((item.sender, item.bulletin_id))
    return told if said is None else {**told, "subject": said}
