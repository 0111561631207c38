"""``exchange hold``: an officer keeps a bulletin from erasure, or lets it go again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from exchange.cli.options import json_option, officer_options
from keys.cli.ending import print_json

if TYPE_CHECKING:
    from exchange.client.client import Client


@click.command()
@click.argument("name", metavar="ID")
@click.option("--because", required=True, metavar="TEXT", help="Why, in your own words.")
@click.option(
    "--for", "case", default="", metavar="CASE", help="The case that needs it; the bulletin's id if not given."
)
@click.option("--release", is_flag=True, help="Let it go again: its day of retention counts from now on.")
@json_option
@officer_options
def hold(node: Client, name: str, because: str, case: str, release: bool, as_json: bool) -> None:
    """Keep a bulletin from erasure until the hold is released.

    The request with your case and reason is signed by you and stands in the log. ID is a number, an id, or its first
    eight characters.
    """
    item = node.find(name)
    done = node.hold(item, case=case or item.bulletin_id, because=because, release=release)
    if as_json:
        print_json(
            {
                "ok": True,
                "bulletin_id": item.bulletin_id,
                "number": item.number,
                "held": not release,
                "count": done.count,
                "log_index": done.log_index,
            }
        )
        return
    what = "may be erased when its day comes" if release else "is kept until you release it"
    click.echo(f"{item.number} {what}; entry {done.log_index} of {node.agency}, receipt verified")
