"""What of a node's home belongs into a bundle of its log: receipts, records, keys, policy; all of it public.

The log itself comes from its files as they stand under one checkpoint. From the database come the receipts that peers
gave, for those entries alone that record one, and the records that were adopted. No bulletin is opened or read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from audit.entry.entry import HEAD_LENGTH, parse_body
from audit.entry.kinds import Kind
from audit.note.checkpoint import Checkpoint, VerifierKey, parse_note
from audit.note.epochs import epoch_of_origin
from audit.note.policy import format_policy, format_vkeys
from audit.note.tlogproof import parse_proof
from audit.tiles.bundle_format import KEYS, POLICY, RECEIPTS, WITNESSES, Range, Source, check_name
from audit.tiles.tile_names import CHECKPOINT, WITNESSED
from audit.tiles.tiles import MissingError, TileFolder
from audit.verify.trust import policy_of
from exchange.acts.directory import RecordKind
from exchange.records.receipt import Receipt, decode_receipt, format_receipt
from exchange.store.home_paths import Paths
from exchange.store.log_position import index_of, log_position
from exchange.store.rows import AdoptedRecord
from exchange.store.store import Reads
from keys.dsse import SignedPayload
from keys.errors import IntegrityError, RefusedError
from keys.manifest import Manifest, parse_manifest
from keys.roster import Member, Roster, parse_roster

STAMPS = "timestamps"
_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One moment of a log that may go on growing."""

    folder: TileFolder
    note: str
    witnessed: str  # an older checkpoint that enough witnesses have signed; empty where the newest is it
    checkpoint: Checkpoint


def snapshot(folder: TileFolder) -> Snapshot:
    """Fix the moment that a bundle shows.

    Raises:
        RefusedError: MALFORMED; there is no checkpoint, or one that does not read.
    """
    try:
        witnessed = folder.text(WITNESSED)  # first: the newest checkpoint is then as large or larger
    except MissingError:
        witnessed = ""
    note = folder.note()
    return Snapshot(
        folder=folder,
        note=note,
        witnessed="" if witnessed == note else witnessed,
        checkpoint=parse_note(note).checkpoint,
    )


def members_of(home: Path, reads: Reads, taken: Snapshot, span: Range) -> dict[str, Source]:
    """Return what goes into a bundle beside tiles, checkpoint and schema.

    Args:
        home: The node's.
        reads: Of its database; a running node may have it open, too.
        taken: The moment.
        span: The entries.

    Raises:
        IntegrityError: The database is not the one of this log.
        RefusedError: Something in the home is malformed.
    """
    agency, roster, manifests = _records(reads)
    member = roster.member(agency)
    if member is None or not taken.checkpoint.origin.startswith(f"{member.log_name}/"):
        raise IntegrityError(f"{home}: the log is {taken.checkpoint.origin}, the database is {agency}'s")
    members: dict[str, Source] = {}
    receipts = _receipts(reads, taken, span)
    for name, (row, _) in receipts.items():
        members[name] = _proof(reads, *row)
    members[RECEIPTS] = _fixed("".join(line for _, line in sorted(receipts.values(), key=_by_entry)))
    members |= _peers(home, roster, agency)
    members |= {f"roster/{each.version}": _fixed(each.signed) for each in _of(reads, RecordKind.ROSTER)}
    members |= _manifest(reads, agency, taken.checkpoint.origin)
    policy = policy_of(roster, agency)
    key = _log_key(member, taken.checkpoint.origin)
    members |= {POLICY: _fixed(format_policy(policy, key)), WITNESSES: _fixed(format_vkeys(policy))}
    members[KEYS] = _fixed("".join(f"{line}\n" for line in key_lines(roster, manifests, taken.checkpoint.origin)))
    if taken.witnessed:
        members[WITNESSED] = _fixed(taken.witnessed)
    return members | _stamps(home)


def _records(reads: Reads) -> tuple[str, Roster, dict[str, Manifest]]:
    agency = reads.meta("agency")
    rosters = list(_of(reads, RecordKind.ROSTER))
    if agency is None or not rosters:
        raise IntegrityError("the database holds no agency and no roster")
    newest = {each.agency: each for each in _of(reads, RecordKind.MANIFEST)}  # ascending by version
    manifests = {name: parse_manifest(SignedPayload.decode(each.signed).payload) for name, each in newest.items()}
    return agency.decode(), parse_roster(SignedPayload.decode(rosters[-1].signed).payload), manifests


def _manifest(reads: Reads, agency: str, origin: str) -> dict[str, Source]:
    """Return the manifest that opened a later epoch: it alone says where the one before ended.

    No other goes in: manifests name officers, and nothing else in a bundle does.
    """
    if epoch_of_origin(origin) == 1:
        return {}
    newest = [each for each in _of(reads, RecordKind.MANIFEST) if each.agency == agency][-1:]
    return {f"manifests/{agency}/{each.version}": _fixed(each.signed) for each in newest}


def _of(reads: Reads, kind: RecordKind) -> Iterator[AdoptedRecord]:
    return (record for record in reads.records() if record.kind == kind)


def key_lines(roster: Roster, manifests: dict[str, Manifest], origin: str) -> Iterator[str]:
    """Yield ``vkey first-size last-size`` for every log of the federation, *origin*'s first; ``-`` is no end.

    An origin is of one epoch, and an epoch has one key from its first entry on; it ends where the next one begins.
    """
    lines = []
    for member in roster.members:
        manifest = manifests.get(member.agency)
        epochs = manifest.log_epochs if manifest is not None else ()
        ends = {each.previous_origin: each.previous_size for each in epochs if each.previous_origin}
        for epoch in sorted({each.epoch for each in epochs} | {1}):
            name = member.origin(epoch)
            if member.log_key(epoch) is not None:
                lines.append((name != origin, f"{_log_key(member, name)} 0 {ends.get(name, '-')}"))
    return (line for _, line in sorted(lines))


def _log_key(member: Member, origin: str) -> VerifierKey:
    key = member.log_key(int(origin.rpartition("/")[2]))
    if key is None:
        raise RefusedError("SIGNER_UNKNOWN", f"the roster names no key of {origin}")
    return VerifierKey(name=origin, key=key.public_key)


def _receipts(reads: Reads, taken: Snapshot, span: Range) -> dict[str, tuple[tuple[int, int], str]]:
    """Return, by file name, where a receipt is stored and its line in the table."""
    recorded = dict(_recorded(taken, span))
    found: dict[str, tuple[tuple[int, int], str]] = {}
    for lane in reads.lanes():
        after = 0
        while lane.outgoing and (rows := reads.outbound(lane.row, after, _PAGE)):
            after = rows[-1].sequence
            for row in rows:
                entry = recorded.get(row.queued_index)
                if entry is None or not row.receipt:
                    continue
                proof = parse_proof(decode_receipt(row.receipt).proof)
                origin = parse_note(proof.note).checkpoint.origin
                line = f"{entry}\t{index_of(row.queued_index)}\t{origin}\t{proof.index}\n"
                found[f"peers/{origin}/{proof.index}.tlog-proof"] = ((row.lane, row.sequence), line)
    return found


def _recorded(taken: Snapshot, span: Range) -> Iterator[tuple[int, int]]:
    """Yield (the position of the QUEUED that was answered, the RECEIPT_RECORDED entry) of the entries in the range.

    What was queued in an earlier epoch may be answered in this one: its index alone would name another entry.
    """
    epoch = epoch_of_origin(taken.checkpoint.origin)
    for bundle in range(span.first // 256, -(-span.end // 256)):
        width = min(256, span.size - bundle * 256)
        for index, entry in enumerate(taken.folder.entries(bundle, width), bundle * 256):
            if entry[HEAD_LENGTH + 1 : HEAD_LENGTH + 2] == bytes((Kind.RECEIPT_RECORDED,)):
                body = parse_body(entry[HEAD_LENGTH:])
                yield log_position(body.refers_to_epoch or epoch, body.refers_to), index


def _proof(reads: Reads, lane: int, sequence: int) -> Source:
    def read() -> bytes:
        [row] = reads.outbound(lane, sequence - 1, 1)
        receipt: Receipt = decode_receipt(row.receipt)
        return format_receipt(receipt).encode()

    return read


def _by_entry(item: tuple[tuple[int, int], str]) -> int:
    return int(item[1].partition("\t")[0])


def _peers(home: Path, roster: Roster, agency: str) -> dict[str, Source]:
    """Return of each peer the newest cosigned checkpoint that lies here; of a log without one, the newest."""
    members: dict[str, Source] = {}
    for each in roster.members:
        path = Paths(home=home).peer_checkpoint(each.agency)
        if each.agency == agency or not path.is_file():
            continue
        folder = TileFolder(path.parent)
        text = folder.note()
        members[f"peers/{parse_note(text).checkpoint.origin}/{CHECKPOINT}"] = _fixed(text)
        if (path.parent / WITNESSED).is_file():  # some seconds older, and of an earlier epoch perhaps
            cosigned = folder.text(WITNESSED)
            members[f"peers/{parse_note(cosigned).checkpoint.origin}/{CHECKPOINT}"] = _fixed(cosigned)
    return members


def _stamps(home: Path) -> dict[str, Source]:
    members: dict[str, Source] = {}
    for path in sorted((home / STAMPS).glob("*")):
        data = path.read_bytes()
        check_name(f"{STAMPS}/{path.name}", len(data))
        members[f"{STAMPS}/{path.name}"] = _fixed(data)
    return members


def _fixed(data: bytes | str) -> Source:
    raw = data.encode() if isinstance(data, str) else data
    return lambda: raw
