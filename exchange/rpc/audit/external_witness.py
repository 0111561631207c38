"""Asking witnesses without a node how much of our log they have cosigned, before anything new of it is signed.

The question is a checkpoint of the empty tree, which is the beginning of every history, so that signing it can never
fork a log, whoever asks. By C2SP tlog-witness the answer to it is 409 with the size that the witness holds. That word is
not signed: it can keep a node from signing, and proves nothing to anybody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from audit.note.checkpoint import Checkpoint, sign_checkpoint
from audit.tree.merkle import EMPTY_ROOT
from audit.witness.request import format_request
from audit.witness.witness import WitnessRefusal
from exchange.rpc.audit.witness_transport import ask_http
from exchange.rpc.transport import status
from keys.errors import IntegrityError, RefusedError, UnavailableError
from keys.signer import Signer

UNKNOWN_LOG = 404


class WitnessAheadError(IntegrityError):
    """A witness says that it has cosigned more of our log than there is here."""

    def __init__(self, name: str, origin: str, size: int, own: int) -> None:
        super().__init__(
            f"{name} has cosigned size {size} of {origin}, and this log ends at {own}: it is an older copy, or our log's"
            " key signs elsewhere; nothing is signed"
        )
        self.hint = (
            "stop every other copy of this node; then bring back the newest database, or run exchange node recover"
            " --from-peers; a witness that is known to be wrong is taken out of [witnesses] in node.toml"
        )
        self.name, self.size, self.own = name, size, own


async def known_sizes(witnesses: Mapping[str, str], origin: str, signer: Signer) -> dict[str, int | str]:
    """Ask witnesses at once how much of a log they hold.

    Args:
        witnesses: Submission prefix by name.
        origin: Of our log.
        signer: The log's; it signs for nothing but the empty tree.

    Returns:
        By name the size, 0 where it holds nothing of it; or why it said nothing.
    """
    empty = sign_checkpoint(Checkpoint(origin=origin, size=0, root=EMPTY_ROOT), signer)
    names = sorted(witnesses)
    found = await asyncio.gather(*(_known_size(witnesses[name], format_request(0, [], empty)) for name in names))
    return dict(zip(names, found, strict=True))


def check_sizes(found: Mapping[str, int | str], origin: str, own: int) -> None:
    """Refuse to go on where a witness holds more than so many entries.

    Raises:
        WitnessAheadError: The first that does, by name.
    """
    for name, size in found.items():
        if isinstance(size, int) and size > own:
            raise WitnessAheadError(name, origin, size, own)


async def _known_size(prefix: str, body: bytes) -> int | str:
    try:
        await ask_http(prefix)(body)
    except WitnessRefusal as refusal:
        if refusal.status == status.ELSEWHERE and refusal.size is not None:
            return refusal.size
        if refusal.status in (
            status.FORBIDDEN,
            UNKNOWN_LOG,
        ):  # it knows nothing of this epoch, or of the next one already
            return 0
        return f"{prefix}: {refusal}"
    except (RefusedError, UnavailableError) as error:
        return f"{prefix}: {error}"
    return 0
