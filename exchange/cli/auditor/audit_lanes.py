"""``exchange audit lanes``: show that nothing of what peers sent to this agency is missing, by the peers' signatures."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from audit.cli.shared import open_folder, parse_now
from audit.note.checkpoint import parse_note
from audit.tiles.tiles import TileFolder
from exchange.evidence.completeness import Completeness, ReadEntry, prove_lanes
from exchange.node.config import paths_of
from exchange.node.federation_store import restore_federation
from exchange.store.factory import open_reading, store_exists
from keys.cli.ending import print_json
from keys.cli.failure import CommandError
from keys.cli.options import JSON, now_ms
from keys.errors import IntegrityError, RefusedError
from keys.identity import AgencyId
from keys.refusals import Exit


@click.command()
@click.argument("home", metavar="HOME")
@click.option("--now", metavar="TIME", help="When was HOME copied? As 2026-11-22T10:00:00Z; else this computer's time.")
@JSON
def lanes(home: str, now: str | None, as_json: bool) -> int:
    """Prove lane by lane that all that peers numbered for this agency is answered in its log.

    Exit 0: every lane is complete, as its sender has signed within the last two minutes. 7: something is still to come,
    or a sender has signed nothing for longer. 6: a contradiction.
    """
    at_s = parse_now(now)
    at_ms = now_ms() if at_s is None else at_s * 1000
    folder = open_folder(home)
    store = paths_of(Path(home)).store
    if not store_exists(store):
        raise CommandError("NO_SUCH_ENTRY", f"{home}: no node's database here; lanes are proven from it")
    try:
        found = _prove(store, folder)
    except (RefusedError, IntegrityError) as error:
        raise CommandError("REFUTED", f"{home}: {error}") from error
    if as_json:
        print_json({"lanes": [_row(each, at_ms) for each in found]})
    else:
        for each in found:
            print(lane_line(each, at_ms))
    return Exit.DONE if all(each.complete and not each.overdue(at_ms) for each in found) else Exit.INCOMPLETE


def _prove(uri: str, folder: TileFolder) -> list[Completeness]:
    store = open_reading(uri)
    try:
        reads = store.reader()
        agency = reads.meta("agency")
        if agency is None:
            raise IntegrityError("the database holds no agency")
        federation, _ = restore_federation(reads, now_ms())
        return prove_lanes(reads, federation, AgencyId(agency.decode()), _reader(folder))
    finally:
        store.close()


def _reader(folder: TileFolder) -> ReadEntry:
    size = parse_note(folder.note()).checkpoint.size
    cached: tuple[int, list[bytes]] = (-1, [])

    def read(index: int) -> bytes | None:
        nonlocal cached
        bundle, offset = divmod(index, 256)
        if index >= size:
            return None
        if cached[0] != bundle:
            cached = bundle, folder.entries(bundle, min(256, size - bundle * 256))
        return cached[1][offset]

    return read


def _row(each: Completeness, at_ms: int) -> dict[str, object]:
    return {
        "sender": each.lane.sender,
        "class": each.lane.lane_class.name.lower(),
        "epoch": each.lane.epoch,
        "answered": each.answered,
        "latest": each.latest,
        "head_ms": each.head_ms,
        "complete": each.complete,
        "overdue": each.overdue(at_ms),
    }


def lane_line(each: Completeness, at_ms: int) -> str:
    """Return what is said of one lane at *at_ms*, milliseconds UTC."""
    head = datetime.fromtimestamp(each.head_ms / 1000, UTC)
    state = f"complete as of {head:%H:%M}" if each.complete else "not complete yet"
    if each.overdue(at_ms):
        state += f", and nothing newer for {age_text((at_ms - each.head_ms) // 1000)}: is {each.lane.sender} connected?"
    return f"{each.lane}: 1 to {each.answered} answered here, {each.latest} signed for at {head:%Y-%m-%dT%H:%M:%SZ}: {state}"


def age_text(seconds: int) -> str:
    """Return a span in its largest whole unit, as ``14 hours``."""
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"
