"""Closing an epoch of our log in order, while the log and its key are still there: after a theft, a fork, or by choice.

EPOCH_CLOSED is the last entry that the epoch ever has. It names the size and root that the witnesses' quorum had
cosigned by then, so that what was added afterwards stands apart. It is signed like any other entry, and only after
every member has said that it holds nothing of this log that the log does not contain.
"""

from __future__ import annotations

from collections.abc import Iterable

from audit.entry.entry import Body, Kind
from audit.note.checkpoint import Checkpoint, parse_note, sign_checkpoint
from audit.note.epochs import epoch_of_origin
from audit.verify.trust import policy_of
from exchange.acts.unit_of_work import UnitOfWork
from exchange.node.node import Node, closed_at
from exchange.node.rollback_check import check_answer


def close_epoch(node: Node, shown: Iterable[tuple[str, Checkpoint]]) -> str:
    """Write and sign EPOCH_CLOSED, unless it stands there already.

    Args:
        node: Opened, not begun: it has answered nobody in this run.
        shown: Each member, and a checkpoint of ours, under our key, that it holds.

    Returns:
        The closing checkpoint, with the log's own line.

    Raises:
        RolledBackError: A member holds more than this log, or another history; nothing is written.
        UnavailableError: This machine's clock is in doubt.
    """
    own = node.log.checkpoint()
    for peer, checkpoint in shown:
        if epoch_of_origin(checkpoint.origin) >= node.view.epoch:
            root = node.log.root(checkpoint.size) if checkpoint.size <= own.size else b""
            check_answer(peer, checkpoint, own, root)
    node.open()
    node.writer.resume()
    if closed_at(node.reads) is None:
        return node.writer.run(lambda work: _close(work, node.witnessed[1]), lambda _, group: group.note)
    # It was cut off between the entry and whoever was to see it. The start has brought the lock up to this very end.
    end = node.log.checkpoint()
    note = sign_checkpoint(end, node.view.log_signer)
    node.files.want(end.size, note)
    return note


def finish(node: Node, note: str) -> None:
    """Keep the closing checkpoint in the log's files, where its quorum has cosigned it."""
    checkpoint = parse_note(note).checkpoint
    if policy_of(node.view.federation.roster, node.view.agency).judge(note).reached:
        node.files.publish_now()
        node.files.add_cosigned(checkpoint.size, note)


def _close(work: UnitOfWork, witnessed: str) -> None:
    seen = parse_note(witnessed).checkpoint if witnessed else None
    body = Body(kind=Kind.EPOCH_CLOSED)
    if seen is not None:
        body = Body(kind=Kind.EPOCH_CLOSED, count=seen.size, digest=seen.root)
    work.log.add(body)
