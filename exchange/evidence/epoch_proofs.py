"""Proofs from every epoch of our log that a home still holds, for evidence and its judges.

The newest epoch stands in ``log/``. Of an epoch that ended, ``before-epoch-N/log`` or, where that is lost,
``before-epoch-N/node.db`` has the entries; checkpoints stand beside them and in ``recovered/``: what members saw and
cosigned, and what stands in our own receipts that they gave back. Of those a note counts once it is verified, is of the
entries that are here, and lies within the end that our manifest names. Where nothing proves an entry, what is missing
is said, and who may hold it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Protocol

from audit.entry.body import Body, parse_body
from audit.entry.entry import HEAD_LENGTH
from audit.entry.kinds import Kind
from audit.evidence import file
from audit.note.checkpoint import Checkpoint, SignatureLine, VerifierKey, parse_note, verify_note
from audit.note.cosignature import verify_cosignature
from audit.note.epochs import end_before
from audit.note.policy import WitnessPolicy
from audit.note.tlogproof import MAX_PROOF_BYTES, format_proof, parse_proof
from audit.tiles.tile_names import CHECKPOINT, WITNESSED
from audit.tiles.tiles import MissingError, TileFolder
from audit.tree.merkle import TILE_WIDTH, Tree
from audit.verify.rfc3161 import STAMPS_FOLDER
from audit.verify.trust import log_key, policy_of
from exchange.acts.directory import RecordKind
from exchange.acts.node_view import NodeView, end_of_epoch_before
from exchange.node.config import paths_of
from exchange.store.factory import open_aside
from exchange.store.home_paths import Paths
from exchange.store.store import Reads
from keys.dsse import SignedPayload
from keys.errors import IntegrityError, RefusedError, UnavailableError
from keys.manifest import Manifest, parse_manifest
from keys.roster import parse_roster
from keys.uri import uri_place

RECOVERED = "recovered"  # folder in the home: what members gave back
_SCANNED = (Kind.RECEIPT_RECORDED, Kind.ERASED)


class Source(Protocol):
    """Where an epoch's entries are: a log's folder, or a database of before."""

    def entries(self, index: int, width: int) -> list[bytes]:
        """Return the first *width* entries of bundle *index*."""

    def tree(self, size: int) -> Tree:
        """Return the tree at a size."""


class OldDatabase:
    """The entries in a database that was moved aside."""

    def __init__(self, uri: str) -> None:
        self._reads = open_aside(uri).reads()
        self.size = self._reads.size()

    def entries(self, index: int, width: int) -> list[bytes]:
        """Return the first *width* entries of a bundle."""
        found = self._reads.read_entries(index * TILE_WIDTH, width)
        if len(found) != width:
            raise RefusedError("MALFORMED", f"{len(found)} of {width} entries from {index * TILE_WIDTH} on")
        return found

    def tree(self, size: int) -> Tree:
        """Return the tree at a size, from leaf hashes alone."""
        tree = Tree(0, lambda *_: None, lambda *_: [])
        for first in range(0, size, TILE_WIDTH):
            tree.extend(self._reads.leaf_hashes(first, min(TILE_WIDTH, size - first)))
        return tree


class LogProofs:
    """Makes proofs from one epoch's entries, under notes that are known to be of them."""

    def __init__(self, origin: str, source: Source, notes: Iterable[str], stamps: Path, size: int) -> None:
        """Prepare.

        Args:
            origin: Of the epoch.
            source: Its entries.
            notes: Its checkpoints, the one that is wanted most first.
            stamps: Folder of time stamps over its checkpoints.
            size: How many entries may be read.
        """
        self.origin, self.size = origin, size
        self._source, self._notes, self._stamps = source, list(notes), stamps
        self._trees: dict[int, Tree] = {}

    @property
    def epoch(self) -> int:
        """Which epoch it is."""
        return int(self.origin.rpartition("/")[2])

    def covers(self, index: int) -> bool:
        """Return whether a checkpoint proves an entry."""
        return any(index < parse_note(note).checkpoint.size for note in self._notes)

    def entry(self, index: int) -> bytes:
        """Read an entry; UnavailableError where it is not published yet, RefusedError MALFORMED for broken files."""
        self._note_over(index)
        bundle, offset = divmod(index, TILE_WIDTH)
        return self._source.entries(bundle, min(TILE_WIDTH, self.size - bundle * TILE_WIDTH))[offset]

    def bodies(self, first: int) -> Iterator[tuple[int, Body]]:
        """Yield (index, body) of each RECEIPT_RECORDED and ERASED from an entry on."""
        for bundle in range(first // TILE_WIDTH, -(-self.size // TILE_WIDTH)):
            width = min(TILE_WIDTH, self.size - bundle * TILE_WIDTH)
            for index, entry in enumerate(self._source.entries(bundle, width), bundle * TILE_WIDTH):
                if index >= first and entry[HEAD_LENGTH + 1] in _SCANNED:
                    yield index, parse_body(entry[HEAD_LENGTH:])

    def prove(self, index: int) -> bytes:
        """Return an entry's tlog-proof with the entry in it; UnavailableError where it is not published yet."""
        note, size = self._note_over(index)
        return format_proof(index, self._tree(size).inclusion(index, size), note, self.entry(index)).encode()

    def stamped(self, index: int) -> dict[str, bytes]:
        """Return the earliest time stamp over an entry, with the proof that the stamped note covers it; none: nothing."""
        sizes = sorted(int(each.stem) for each in self._stamps.glob("*.tsr") if each.stem.isdecimal())
        size = next((each for each in sizes if index < each <= self.size), None)
        if size is None:
            return {}
        note = (self._stamps / f"{size}.note").read_text()
        if parse_note(note).checkpoint.origin != self.origin:
            return {}
        proof = format_proof(index, self._tree(size).inclusion(index, size), note, self.entry(index)).encode()
        return {file.STAMP: (self._stamps / f"{size}.tsr").read_bytes(), file.STAMPED: proof}

    def extends(self, size: int, index: int) -> bytes | None:
        """Return the proof that the checkpoint over entry *index* extends the log of *size*, one hash a line."""
        _, new = self._note_over(index)
        if not 1 <= size <= new:
            return None
        return "".join(f"{each.hex()}\n" for each in self._tree(new).consistency(size, new)).encode()

    def _tree(self, size: int) -> Tree:
        if size not in self._trees:
            self._trees[size] = self._source.tree(size)
        return self._trees[size]

    def _note_over(self, index: int) -> tuple[str, int]:
        for note in self._notes:
            size = parse_note(note).checkpoint.size
            if index < size:
                return note, size
        raise UnavailableError(f"entry {index} is not published yet; the log holds {self.size} entries", 1)


class EpochLogs:
    """Every epoch of a home's log, the newest one as it is published."""

    def __init__(self, home: Path, reads: Reads) -> None:
        self._home, self._paths = home, paths_of(home)
        agency = (reads.meta("agency") or b"").decode()
        signed = [each.signed for each in reads.records() if each.kind == RecordKind.ROSTER]
        if not agency or not signed:
            raise IntegrityError("the database holds no agency and no roster")
        self._agency, self._roster = agency, parse_roster(SignedPayload.decode(signed[-1]).payload)
        self._ends = _ends(reads, agency)
        self._earlier: dict[int, LogProofs] = {}

    @cached_property
    def newest(self) -> LogProofs:
        """The epoch that goes on."""
        folder = TileFolder(self._home / "log")
        notes = [folder.note()]
        with suppress(MissingError):  # no quorum has cosigned this log yet; the report says so
            notes.insert(0, folder.text(WITNESSED))
        newest = parse_note(notes[-1]).checkpoint
        return LogProofs(newest.origin, folder, notes, self._home / STAMPS_FOLDER, newest.size)

    def of(self, epoch: int) -> LogProofs:
        """Return an epoch's proofs; of one that ended and is not here, none can be made."""
        if epoch == self.newest.epoch:
            return self.newest
        if epoch not in self._earlier:
            self._earlier[epoch] = self._open(epoch)
        return self._earlier[epoch]

    def since(self, epoch: int) -> Iterator[LogProofs]:
        """Yield an epoch and all later ones."""
        return (self.of(each) for each in range(epoch, self.newest.epoch + 1))

    def missing(self, epoch: int, index: int) -> str:
        """Return what would prove an entry of an ended epoch, and where it was looked for; empty where it is proven."""
        proofs = self.of(epoch)
        if epoch == self.newest.epoch or proofs.covers(index):
            return ""
        end, before = self._ends.get(epoch), self._paths.before(epoch + 1).name
        what = f"entry {index} of {proofs.origin} cannot be proven from this home: "
        if end is not None and index >= end.size:
            return f"{what}the epoch ended at size {end.size}, and what followed was given up"
        if index >= proofs.size:
            where = f"{before}/log and {before}/{Path(uri_place(self._paths.store)).name} hold {proofs.size} entries of that epoch"
            return f"{what}{where}; put a copy of its log/ there"
        return f"{what}{before} has the entry, but no checkpoint of at most {proofs.size} entries that covers it is there or in {RECOVERED}/"

    def _open(self, epoch: int) -> LogProofs:
        member, before = self._roster.member(self._agency), self._paths.before(epoch + 1)
        if member is None:
            raise IntegrityError(f"roster {self._roster.version} does not name {self._agency}")
        origin = member.origin(epoch)
        key, policy = log_key(self._roster, origin), policy_of(self._roster, self._agency)
        source, notes = _source(self._paths, epoch, origin)
        size = source.size if isinstance(source, OldDatabase) else max((_size(each) for each in notes), default=0)
        notes += list(_recovered_notes(self._home, epoch))
        end = self._ends.get(epoch)
        chosen = _choose(notes, key, policy, source, size if end is None else min(size, end.size), end)
        return LogProofs(origin, source, chosen, before / STAMPS_FOLDER, size)


class _Nothing:
    """The entries of an epoch of which nothing is here."""

    def entries(self, index: int, width: int) -> list[bytes]:
        raise RefusedError("MALFORMED", f"bundle {index}: nothing of it is here")

    def tree(self, size: int) -> Tree:
        raise LookupError(size)


def _ends(reads: Reads, agency: str) -> dict[int, Checkpoint]:
    """Return where each epoch that ended did, by our newest manifest."""
    rows = [each for each in reads.records() if each.kind == RecordKind.MANIFEST and each.agency == agency]
    if not rows:
        return {}
    newest: Manifest = parse_manifest(SignedPayload.decode(max(rows, key=lambda row: row.version).signed).payload)
    return {each.epoch - 1: end for each in newest.log_epochs if (end := end_before(each)) is not None}


def _source(paths: Paths, epoch: int, origin: str) -> tuple[Source, list[str]]:
    """Find an epoch's entries, in its log's files or else in its store, and the notes beside them."""
    folder = TileFolder(paths.before(epoch + 1) / "log")
    notes = []
    for name in (WITNESSED, CHECKPOINT):
        with suppress(RefusedError):
            notes.append(folder.text(name))
    notes = [each for each in notes if _origin(each) == origin]
    if notes:
        return folder, notes
    try:
        return OldDatabase(paths.store_before(epoch + 1)), []
    except UnavailableError:
        return _Nothing(), []


def end_notes(home: Path, view: NodeView) -> list[str]:
    """Return the checkpoint at which each earlier epoch ended, oldest first, with every line that is kept under it.

    One of which nothing is here any more is left out: whoever stands before it can then not be brought on.
    """
    found = []
    for epoch in range(1, view.epoch):
        end = end_of_epoch_before(view.federation, view.agency, epoch + 1)
        if end is None:
            continue
        key, policy = view.key_of(view.agency, end.origin), policy_of(view.federation.roster, view.agency)
        _, beside = _source(paths_of(home), epoch, end.origin)
        lines: list[SignatureLine] = []
        for note in (*_recovered_notes(home, epoch), *beside):
            with suppress(RefusedError):
                if verify_note(note, key) == end:
                    lines += parse_note(note).signatures
        if lines:
            found.append(f"{end.text()}\n{''.join(map(str, true_lines(lines, end, key, policy)))}")
    return found


def _recovered_notes(home: Path, epoch: int) -> Iterator[str]:
    """Yield the checkpoints of an epoch that members gave back, cosigned ones and those in our own receipts."""
    folder = home / RECOVERED
    own = (folder / CHECKPOINT, folder / f"{CHECKPOINT}-{epoch}")
    for path in (*own, *sorted(folder.glob(f"*/{CHECKPOINT}-{epoch}"))):
        with suppress(OSError, UnicodeDecodeError):
            yield path.read_text("utf-8")
    for path in sorted(folder.glob("*/given/*.tlog-proof")):
        with suppress(OSError, UnicodeDecodeError, RefusedError):
            if path.stat().st_size <= MAX_PROOF_BYTES:
                yield parse_proof(path.read_text("utf-8")).note


def _choose(
    notes: Iterable[str], key: VerifierKey, policy: WitnessPolicy, source: Source, most: int, end: Checkpoint | None
) -> list[str]:
    """Keep the notes that are true and of these entries: the one with most witnesses first, then the smaller one."""
    lines: dict[Checkpoint, list[SignatureLine]] = {}
    for note in notes:
        with suppress(RefusedError):
            checkpoint = verify_note(note, key)
            if 0 < checkpoint.size <= most and (end is None or checkpoint.size < end.size or checkpoint == end):
                lines.setdefault(checkpoint, []).extend(parse_note(note).signatures)
    found = []
    for checkpoint, given in lines.items():
        with suppress(LookupError, RefusedError):
            if source.tree(checkpoint.size).root(checkpoint.size) == checkpoint.root:
                true = true_lines(given, checkpoint, key, policy)
                found.append((-len(true), checkpoint.size, f"{checkpoint.text()}\n{''.join(map(str, true))}"))
    return [note for _, _, note in sorted(found)]


def true_lines(
    given: Iterable[SignatureLine], checkpoint: Checkpoint, key: VerifierKey, policy: WitnessPolicy
) -> list[SignatureLine]:
    """Keep the log's own line and one of each witness; somebody's false line would spoil the note for everybody.

    Args:
        given: Lines of notes that are verified under *key*.
        checkpoint: What they sign.
        key: The log's.
        policy: Whose cosignatures count.
    """
    keys = {(each.name, each.key_hash): each for each in policy.witnesses}
    ours: list[SignatureLine] = []
    found: dict[str, SignatureLine] = {}
    for line in given:
        witness = keys.get((line.name, line.key_hash))
        if (line.name, line.key_hash) == (key.name, key.key_hash):
            ours = [line]
        elif witness is not None and line.name not in found:
            with suppress(RefusedError):
                verify_cosignature(line, checkpoint, witness)
                found[line.name] = line
    return [*ours, *(found[name] for name in sorted(found))]


def _origin(note: str) -> str:
    try:
        return parse_note(note).checkpoint.origin
    except RefusedError:
        return ""


def _size(note: str) -> int:
    return parse_note(note).checkpoint.size
