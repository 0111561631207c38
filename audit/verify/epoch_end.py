"""What EPOCH_CLOSED says, judged: the size and root that a quorum had cosigned when the epoch was closed in order.

It is the last entry of its epoch; whatever follows it refutes the log (step 8). What it names must be the log's own
past: else the operator who closed it covers that another history was cosigned.
"""

from audit.entry.body import Body, parse_body
from audit.entry.entry import HEAD_LENGTH
from audit.entry.kinds import Kind
from audit.tiles.subtree_roots import SubtreeRoots
from audit.tiles.tiles import TileFolder
from audit.tree.merkle import TILE_WIDTH
from keys.errors import RefusedError


def closing_of(folder: TileFolder, size: int) -> Body | None:
    """Return the EPOCH_CLOSED at the end of a log of *size* entries; None where it goes on, or its end is not here."""
    if not size:
        return None
    bundle, offset = divmod(size - 1, TILE_WIDTH)
    try:
        body = parse_body(folder.entries(bundle, offset + 1)[offset][HEAD_LENGTH:])
    except RefusedError:
        return None
    return body if body.kind == Kind.EPOCH_CLOSED else None


def closing_fault(folder: TileFolder, size: int) -> str:
    """Return what is wrong with the EPOCH_CLOSED at the end of a log whose tiles hold; empty where nothing is."""
    body = closing_of(folder, size)
    if body is None or not body.digest:
        return ""
    if not 0 < body.count < size:
        return f"EPOCH_CLOSED names size {body.count:,} of {size - 1:,} entries before it"
    if SubtreeRoots(folder, size).root(body.count) != body.digest:
        return f"EPOCH_CLOSED names another root than the log's at size {body.count:,}"
    return ""


def tell_closed(folder: TileFolder, size: int) -> str:
    """Return how a report says that an epoch was closed in order; empty where it was not."""
    body = closing_of(folder, size)
    if body is None:
        return ""
    seen = f", {body.count:,} entries of it cosigned by then" if body.count else ""
    return f"; closed in order by entry {size - 1:,}{seen}"
