"""``exchange audit compare``: as ``exchange-audit compare``; a home's own roster names agencies without a log here."""

from __future__ import annotations

from pathlib import Path

import click

from audit.cli.compare import compare as offline
from audit.cli.compare import run
from exchange.acts.directory import RecordKind
from exchange.node.config import paths_of
from exchange.store.factory import open_reading, store_exists
from keys.dsse import SignedPayload
from keys.roster import Roster, parse_roster


@click.command(params=offline.params, help=offline.help)
def compare(logs: tuple[str, ...], roster_file: str | None, as_json: bool) -> int:
    """See ``audit.cli.compare``."""
    return run(logs, roster_file, as_json, _roster_of)


def _roster_of(path: Path) -> Roster | None:
    """Return the newest roster that a home's node has adopted; it gives names to numbers, and no key."""
    if not path.is_dir() or not store_exists(paths_of(path).store):
        return None
    store = open_reading(paths_of(path).store)
    try:
        rosters = [each for each in store.reader().records() if each.kind == RecordKind.ROSTER]
    finally:
        store.close()
    return parse_roster(SignedPayload.decode(rosters[-1].signed).payload) if rosters else None
