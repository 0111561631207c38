"""What a node must know before it signs: whether anybody holds more of its log, or another log, than it has itself.

A restored copy is sound in itself, lock and all; only other members can tell that it is old. Whatever they show counts
only if it is signed with this log's key. What is larger than the log, or another history at its size, means that this
node was rolled back, or that its key signs elsewhere: either way a signature of this node would be a fork.

The same holds for key sheets, which only the node itself makes: one under our operations key that this node did not make
means that the key signs elsewhere, and whoever has it could have everything sealed to keys of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from audit.note.checkpoint import Checkpoint, parse_note, verify_note
from audit.note.epochs import split_origin
from exchange.acts import forks
from exchange.acts.node_view import NodeView
from exchange.store.store import Reads
from keys.dsse import SignedPayload
from keys.errors import IntegrityError, RefusedError
from keys.files import PUBLIC, write_file
from keys.identity import short
from keys.key_sheet import key_sheet_digest, parse_key_sheet
from keys.roster import save_signed
from keys.timed_key import shown_rank

EVIDENCE_FOLDER = "evidence"
T = TypeVar("T")


class RolledBackError(IntegrityError):
    """Another member holds a checkpoint of ours, under our key, that this node's log does not contain."""

    def __init__(self, peer: str, shown: Checkpoint, own: Checkpoint, *, running: bool = False) -> None:
        """Word who holds what; *running* if this node has signed something since its start."""
        copy = "another copy of this node runs" if running else "it is an older copy"
        if shown.origin != own.origin:
            where = f"of {shown.origin}, and this node is still in {own.origin}: {copy}"
        elif shown.size > own.size:
            where = f"of size {shown.size}, and this log ends at {own.size}: {copy}"
        else:
            where = f"of size {shown.size} with another history than this log, which has {own.size} entries"
            where += f": {copy}" if running else ""
        signed = "nothing more is signed here" if running else "nothing is signed"
        super().__init__(f"{peer} holds our checkpoint {where}, or our log's key signs elsewhere; {signed}")
        self.hint = (
            "look for the other copy: if it goes on, leave this one off; if none does, run"
            if running
            else "stop every other copy of this node; then bring back the newest database, or run"
        ) + " exchange node recover --from-peers, which begins a new epoch"
        self.peer, self.shown, self.own = peer, shown, own


class KeyMisuseError(IntegrityError):
    """Somebody else makes key sheets of this agency."""

    def __init__(self, peer: str, signed: SignedPayload, file: Path) -> None:
        """Word who holds what; *peer* is empty where it was found before this start."""
        sheet = parse_key_sheet(signed.payload)
        who, by = f"{peer} holds" if peer else "there is", short(signed.signatures[0].key_id)
        super().__init__(
            f"{who} key sheet {shown_rank(sheet.rank)} of {sheet.agency}, signed by its operations key {by}, that this node"
            " did not make; nothing more is signed"
        )
        self.hint = (
            f"if your agency made it, exchange node adopt {file}; else that key is stolen: sign a manifest with another"
            " operations key, adopt it, and tell the other members"
        )


def is_strange_sheet(signed: SignedPayload, view: NodeView, now_ms: int) -> bool:
    """Return whether a key sheet of ours that somebody shows is one that we did not make.

    What is below our own newest one, or under an earlier manifest, is replaced already; what does not verify nobody
    adopts.

    Raises:
        RefusedError: It does not verify.
    """
    if parse_key_sheet(signed.payload).manifest_version < view.federation.newest_manifest(view.agency).version:
        return False
    try:
        return view.federation.with_key_sheet(signed, now_ms) is not view.federation
    except RefusedError as refusal:
        if refusal.code not in ("EQUIVOCATION", "REPLAYED"):
            raise
        return refusal.code == "EQUIVOCATION"


def save_strange_sheet(home: Path, signed: SignedPayload) -> Path:
    """Write the sheet as a file, once; return where."""
    folder = home / EVIDENCE_FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"own-key-sheet-{key_sheet_digest(signed).hex()[:16]}"
    if not path.exists():
        save_signed(path, signed)
    return path


def check_own_sheets(reads: Reads, view: NodeView, home: Path) -> None:
    """Refuse to sign while a strange key sheet of ours stands above what we have.

    It no longer does once it was adopted as ours, or a manifest above the one that it names was.

    Raises:
        KeyMisuseError: One does.
    """
    known = view.federation.key_sheets.get(view.agency)
    for signed in forks.strange_sheets(reads):
        sheet, digest = parse_key_sheet(signed.payload), key_sheet_digest(signed)
        replaced = sheet.manifest_version < view.federation.newest_manifest(view.agency).version
        if not replaced and (known is None or (known.rank <= sheet.rank and known.digest != digest)):
            raise KeyMisuseError("", signed, save_strange_sheet(home, signed))


def read_answer(note: str, view: NodeView) -> Checkpoint | None:
    """Read what a peer shows as our checkpoint; None where it holds none, or one of an epoch that has ended since.

    Raises:
        RefusedError: It is malformed or not signed by us, so it says nothing.
    """
    if not note:
        return None
    _, epoch = split_origin(parse_note(note).checkpoint.origin)
    shown = verify_note(note, view.log_key(view.agency, epoch))
    return shown if epoch >= view.epoch else None


def check_answer(peer: str, shown: Checkpoint, own: Checkpoint, root: bytes) -> None:
    """Hold a checkpoint of ours that a peer shows against our log.

    Args:
        peer: Who shows it.
        shown: From ``read_answer``.
        own: What our log commits to.
        root: Our log's at the shown size; empty where it is smaller.

    Raises:
        RolledBackError: It is no part of our log, or of a later epoch of it.
    """
    if shown.origin != own.origin or shown.size > own.size or shown.root != root:
        raise RolledBackError(peer, shown, own)


def save_evidence(folder: Path, name: str, text: str) -> Path:
    """Write evidence as a file, once and whole; what is there stays."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / name
    if not path.exists():
        write_file(path, text.encode(), mode=PUBLIC, replace=True)
    return path


def export_forks(reads: Reads, home: Path) -> None:
    """Write every pair of notes that is kept as a file that anybody can verify."""
    for name, text in forks.kept(reads):
        save_evidence(home / EVIDENCE_FOLDER, f"{name}.fork", text)
