"""What is entered when a log contradicts itself (FORK_SEEN), or our own keys sign elsewhere (OWN_KEY_MISUSE).

The two notes are kept beside the entry, whose digest is of them; of one origin the first pair is kept, for ever, and
what comes after it adds nothing. As a file (``audit.note.fork``) the pair is valid for anybody.
"""

from __future__ import annotations

from collections.abc import Sequence

from audit.entry.entry import Body, Kind
from audit.note.checkpoint import parse_note
from audit.note.fork import Fork, format_fork, pair
from exchange.acts.unit_of_work import UnitOfWork
from exchange.store.store import Reads
from keys.dsse import SignedPayload
from keys.key_sheet import key_sheet_digest, parse_key_sheet

SEEN, MISUSED = "fork", "own-key"  # what evidence is called, before its origin
STRANGE_SHEET = "own-key-sheet"  # the same of a key sheet of ours that we did not make, before its digest
Source = tuple[str, str]  # what it is called, its text


def enter_fork(
    work: UnitOfWork, peer: int, first_note: str, second_note: str, proven: Fork | None = None
) -> int | None:
    """Enter that another member's log has forked, and keep the pair.

    Args:
        work: Open.
        peer: The log's member number.
        first_note: The one known before, verified.
        second_note: The other one, verified.
        proven: The same two with what proves that they contradict each other, where something does.

    Returns:
        The entry's index; None where a pair of this origin is kept already.
    """
    made = proven or pair(first_note, second_note)
    return _enter(work, SEEN, Kind.FORK_SEEN, peer, made, second_note)


def enter_misuse(work: UnitOfWork, peer: int, shown: str, made: Fork) -> int | None:
    """Enter that somebody else signs with our log's key, and keep the pair.

    Args:
        work: Open; our own log is sound.
        peer: Who showed it, by member number.
        shown: The note that we never signed.
        made: That one and one of ours.

    Returns:
        The entry's index; None where a pair is kept already.
    """
    return _enter(work, MISUSED, Kind.OWN_KEY_MISUSE, peer, made, shown)


def enter_strange_sheet(work: UnitOfWork, peer: int, signed: SignedPayload) -> int | None:
    """Enter that somebody else signs key sheets of ours, and keep the sheet.

    Args:
        work: Open.
        peer: Who showed it, by member number.
        signed: The sheet, verified as ours.

    Returns:
        The entry's index; None where this one is kept already.
    """
    digest = key_sheet_digest(signed)
    name = f"{STRANGE_SHEET} {digest.hex()}"
    if any(kept == name for _, kept, _ in work.rows.evidence()):
        return None
    version, key_id = parse_key_sheet(signed.payload).version, signed.signatures[0].key_id
    body = Body(kind=Kind.OWN_KEY_MISUSE, peer=peer, key_id=key_id, count=version, digest=digest)
    index = work.log.add(body)
    work.rows.add_evidence(work.position(index), name, signed.encode())
    return index


def strange_sheets(reads: Reads) -> Sequence[SignedPayload]:
    """Return every key sheet of ours that is kept as one that we did not make."""
    names = f"{STRANGE_SHEET} "
    return [SignedPayload.decode(content) for _, name, content in reads.evidence() if name.startswith(names)]


def _enter(work: UnitOfWork, what: str, kind: Kind, peer: int, made: Fork, strange: str) -> int | None:
    other = parse_note(strange).checkpoint
    name = f"{what} {other.origin}"
    if is_kept(work.rows, what, other.origin):
        return None
    index = work.log.add(Body(kind=kind, peer=peer, peer_size=other.size, peer_root=other.root, digest=made.digest))
    work.rows.add_evidence(work.position(index), name, format_fork(made).encode())
    return index


def is_kept(reads: Reads, what: str, origin: str) -> bool:
    """Return whether a pair of notes of this origin is kept."""
    name = f"{what} {origin}"
    return any(kept == name for _, kept, _ in reads.evidence())


def kept(reads: Reads) -> Sequence[Source]:
    """Return every pair that is kept: what it is called, its text."""
    pairs = []
    for _, name, content in reads.evidence():
        what, _, origin = name.partition(" ")
        if what in (SEEN, MISUSED):
            pairs.append((f"{what}-{origin.replace('/', '-')}", content.decode()))
    return pairs
