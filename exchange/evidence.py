"""Gather the evidence for one bulletin from a node's home: what its log, its peers and its people signed about it.

Without content everything is public to the agencies concerned and no key is needed; the node may run meanwhile.
Content is added only after EXPORTED is durable (``exchange.export``). Proofs are made from the log's published files,
under the newest checkpoint that enough witnesses have cosigned where it covers the entry.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from google.protobuf.message import DecodeError

from audit import evidence_file as ef
from audit.archive import write_archive
from audit.body import Body, parse_body
from audit.checkpoint import parse_note
from audit.disclosure import SLOTS, format_disclosure, parse_disclosure
from audit.entry import HEAD_LENGTH
from audit.evidence_pages import make_pages
from audit.kinds import Kind
from audit.merkle import TILE_WIDTH
from audit.records import MAX_SEQUENCE_GAP, read_delivery, read_dispatch, read_lane_head
from audit.tile_names import WITNESSED
from audit.tiles import MissingError, TileFolder
from audit.tlogproof import format_proof
from exchange.bulletin import is_understood, milliseconds, parse_bulletin
from exchange.directory import RecordKind
from exchange.disclosure import open_field
from exchange.place import epoch_of, index_of
from exchange.receipt import decode_receipt, format_receipt
from exchange.render import render
from exchange.render_fields import Block, field_lines
from exchange.statement import parse_statement
from exchange.store import HeldBulletin, InboundRow, LaneState, OutboundRow, Reads
from exchange.v1 import bulletin_pb2
from keys.dsse import SignedPayload
from keys.errors import IntegrityError, RefusedError, UnavailableError
from keys.manifest import Manifest, parse_manifest

_PAGE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Content that was taken out, and what the log says of that."""

    statement: SignedPayload
    exported_index: int  # of EXPORTED
    request: SignedPayload  # without signature where the operator asked with the node's own keys
    blind: bytes  # 32 bytes
    fields: tuple[str, ...] = ()  # show these alone, of audit.disclosure.SLOTS; none: the whole statement


class LogProofs:
    """Makes proofs from a log's published files."""

    def __init__(self, folder: TileFolder, stamps: Path) -> None:
        self._folder, self._stamps = folder, stamps
        self._notes = [folder.note()]
        with contextlib.suppress(MissingError):  # no quorum has cosigned this log yet; the report says so
            self._notes.insert(0, folder.text(WITNESSED))
        newest = parse_note(self._notes[-1]).checkpoint
        self.origin, self.size = newest.origin, newest.size

    @property
    def epoch(self) -> int:
        """The epoch of the log that lies here."""
        return int(self.origin.rpartition("/")[2])

    def entry(self, index: int) -> bytes:
        """Read an entry; UnavailableError where it is not published yet, RefusedError MALFORMED for broken files."""
        self._note_over(index)
        bundle, place = divmod(index, TILE_WIDTH)
        return self._folder.entries(bundle, min(TILE_WIDTH, self.size - bundle * TILE_WIDTH))[place]

    def bodies(self, first: int) -> Iterable[tuple[int, Body]]:
        """Yield (index, body) from an entry on."""
        for bundle in range(first // TILE_WIDTH, -(-self.size // TILE_WIDTH)):
            width = min(TILE_WIDTH, self.size - bundle * TILE_WIDTH)
            for index, entry in enumerate(self._folder.entries(bundle, width), bundle * TILE_WIDTH):
                if index >= first and entry[HEAD_LENGTH + 1] in (Kind.RECEIPT_RECORDED, Kind.ERASED):
                    yield index, parse_body(entry[HEAD_LENGTH:])

    def prove(self, index: int) -> bytes:
        """Return an entry's tlog-proof with the entry in it; UnavailableError where it is not published yet."""
        note, size = self._note_over(index)
        return format_proof(index, self._folder.tree(size).inclusion(index, size), note, self.entry(index)).encode()

    def stamped(self, index: int) -> dict[str, bytes]:
        """Return the earliest time stamp over an entry, with the proof that the stamped note covers it; none: nothing."""
        sizes = sorted(int(each.stem) for each in self._stamps.glob("*.tsr") if each.stem.isdecimal())
        size = next((each for each in sizes if index < each <= self.size), None)
        if size is None:
            return {}
        note = (self._stamps / f"{size}.note").read_text()
        if parse_note(note).checkpoint.origin != self.origin:
            return {}
        hashes = self._folder.tree(size).inclusion(index, size)
        proof = format_proof(index, hashes, note, self.entry(index)).encode()
        return {ef.STAMP: (self._stamps / f"{size}.tsr").read_bytes(), ef.STAMPED: proof}

    def extends(self, size: int, index: int) -> bytes | None:
        """Return the proof that the checkpoint over entry *index* extends the log of *size*, one hash a line."""
        _, new = self._note_over(index)
        if not 1 <= size <= new:
            return None
        return "".join(f"{each.hex()}\n" for each in self._folder.tree(new).consistency(size, new)).encode()

    def _note_over(self, index: int) -> tuple[str, int]:
        for note in self._notes:
            size = parse_note(note).checkpoint.size
            if index < size:
                return note, size
        raise UnavailableError(f"entry {index} is not published yet; the log holds {self.size} entries", 1)


def find_bulletin(reads: Reads, name: str) -> HeldBulletin:
    """Find a bulletin by its id, the beginning of it, or its number.

    Raises:
        RefusedError: NO_SUCH_BULLETIN; TOO_MANY where several fit.
    """
    wanted = name.strip()
    whole = wanted.replace("-", "").lower()
    if len(whole) == 32 and set(whole) <= set("0123456789abcdef"):
        found = reads.find_any(bytes.fromhex(whole))
    else:
        found = [each for sent in (True, False) for each in _all(reads, sent=sent) if _fits(wanted, each)]
    if not found:
        raise RefusedError("NO_SUCH_BULLETIN", f"no bulletin {wanted[:60]!a} was sent or received here")
    if len(found) > 1:
        told = ", ".join(f"{UUID(bytes=each.bulletin_id)} of {each.sender}" for each in found[:4])
        raise RefusedError("TOO_MANY", f"{wanted[:60]!a} fits {len(found)} bulletins: {told}; type more of the id")
    return found[0]


def gather(
    reads: Reads, proofs: LogProofs, held: HeldBulletin, *, purpose: str, shown: Shown | None
) -> dict[str, bytes]:
    """Put the proven members of an evidence file together.

    Args:
        reads: The node's database.
        proofs: Its log.
        held: The bulletin.
        purpose: What the evidence is for, 1 to 500 characters.
        shown: Content that was taken out, logged before; None for a file without content.

    Raises:
        RefusedError: A part of it is not here any more.
        UnavailableError: A part of it is not published yet; a running node does so within a second.
        IntegrityError: Database and log contradict each other.
    """
    if not 0 < len(purpose) <= ef.MAX_PURPOSE:
        raise RefusedError("MALFORMED", f"a purpose of {len(purpose)} characters, 1 to {ef.MAX_PURPOSE} are allowed")
    if epoch_of(held.entry_index) != proofs.epoch:
        raise RefusedError(
            "NO_SUCH_BULLETIN",
            f"the bulletin is in epoch {epoch_of(held.entry_index)} of the log, here is {proofs.origin}",
        )
    index = index_of(held.entry_index)
    body = parse_body(proofs.entry(index)[HEAD_LENGTH:])
    if body.bulletin_id != held.bulletin_id:
        raise IntegrityError(f"entry {index} is of another bulletin than the database says")
    sent = body.kind == Kind.PUBLISHED
    core = {
        ef.PURPOSE: purpose.encode(),
        (ef.PUBLISHED if sent else ef.RECEIVED): proofs.prove(index),
        **{f"rosters/{each.version}.signed": each.signed for each in reads.records() if each.kind == RecordKind.ROSTER},
    }
    content = reads.content(held.entry_index)
    if content is not None and content.dispatch:
        core[ef.DISPATCH] = content.dispatch
    core |= _sent(reads, proofs, held, index) if sent else _received(reads, held)
    if held.erased and (erased := _erased(proofs, index)) is not None:
        core[ef.ERASED] = proofs.prove(erased)
    if shown is not None:
        core |= _content(proofs, index, shown)
    core |= proofs.stamped(index)
    return core | _manifests(reads, core, held.sender)


def evidence_file(core: Mapping[str, bytes]) -> bytes:
    """Return the whole file: the proven members, what is made from them, and the digests of all."""
    members = {**core, **make_pages(core)}
    members[ef.SUMS] = ef.sums(members)
    return write_archive(members)


def word_core(core: Mapping[str, bytes]) -> str:
    """Word what a file shows of a bulletin: the same text each time, nothing in it depends on the hour.

    Raises:
        RefusedError: MALFORMED.
    """
    if ef.STATEMENT in core:
        return _word_statement(SignedPayload.decode(core[ef.STATEMENT]).payload)
    file = parse_disclosure(ef.read_text(ef.FIELDS, core[ef.FIELDS]))
    return "".join(f"{line}\n" for each in file.fields for line in _word_field(each.field, each.value))


def _word_statement(payload: bytes) -> str:
    statement = parse_statement(payload)
    bulletin = parse_bulletin(statement.bulletin, newer_minor=True)
    at_ms = milliseconds(bulletin.header.issued_at)
    return render(bulletin, now_ms=at_ms, understood=is_understood(statement.bulletin))


def _word_field(name: str, value: bytes) -> Iterable[str]:
    """Word one slot: fields of the header, or of the bulletin, as they stand."""
    yield name.upper()
    if name == "kind":
        number = int.from_bytes(value, "big")
        field = bulletin_pb2.Bulletin.DESCRIPTOR.fields_by_number.get(number)
        yield f"  {field.name if field is not None else number}"
        return
    kind = bulletin_pb2.Header if SLOTS.index(name) < SLOTS.index("persons") else bulletin_pb2.Bulletin
    try:
        message = kind.FromString(value)
    except DecodeError as error:
        raise RefusedError("MALFORMED", f"{name}: not a part of a bulletin") from error
    block = Block("  ")
    for each, _ in message.ListFields():
        block.add(each.name.replace("_", " "), *field_lines(message, each.name, {}))
    yield from block.lines()


def _all(reads: Reads, *, sent: bool) -> Iterable[HeldBulletin]:
    after = -1
    while rows := reads.held_since(after, _PAGE, sent=sent):
        yield from rows
        after = rows[-1].entry_index


def _fits(wanted: str, held: HeldBulletin) -> bool:
    whole = held.bulletin_id.hex()
    start = wanted.replace("-", "").lower()
    return wanted == held.facts.number or (len(start) >= 8 and whole.startswith(start))


def _sent(reads: Reads, proofs: LogProofs, held: HeldBulletin, index: int) -> dict[str, bytes]:
    """Each delivery, its QUEUED, and where it was answered the receipt with our RECEIPT_RECORDED."""
    rows = reads.outbound_of(held.entry_index)
    recorded = _recorded(proofs, index, {index_of(each.queued_index) for each in rows if each.receipt})
    members: dict[str, bytes] = {}
    count: dict[str, int] = {}
    for row in rows:
        if epoch_of(row.queued_index) != proofs.epoch:
            continue  # delivered anew in a later epoch, whose log proves it
        agency = read_delivery(row.delivery).recipient
        count[agency] = count.get(agency, 0) + 1
        members |= _delivered(proofs, row, f"{agency}-{count[agency]}", recorded.get(index_of(row.queued_index)))
    return members


def _delivered(proofs: LogProofs, row: OutboundRow, name: str, recorded: int | None) -> dict[str, bytes]:
    members = {
        f"deliveries/{name}.bin": row.delivery,
        f"proofs/queued-{name}.tlog-proof": proofs.prove(index_of(row.queued_index)),
    }
    if row.receipt and recorded is not None:
        members[f"proofs/answered-{name}.tlog-proof"] = proofs.prove(recorded)
        members[f"receipts/{name}.tlog-proof"] = format_receipt(decode_receipt(row.receipt)).encode()
    return members


def _recorded(proofs: LogProofs, first: int, queued: set[int]) -> dict[int, int]:
    """Find the RECEIPT_RECORDED of each QUEUED."""
    found: dict[int, int] = {}
    for index, body in proofs.bodies(first):
        if body.kind == Kind.RECEIPT_RECORDED and body.refers_to in queued and not body.refers_to_epoch:
            found[body.refers_to] = index
        if len(found) == len(queued):
            break
    return found


def _erased(proofs: LogProofs, index: int) -> int | None:
    rows = (
        i for i, b in proofs.bodies(index) if b.kind == Kind.ERASED and b.refers_to == index and not b.refers_to_epoch
    )
    return next(rows, None)


def _received(reads: Reads, held: HeldBulletin) -> dict[str, bytes]:
    """The one delivery to us, and the sender's newest lane head with the deliveries up to it."""
    lane, row = _inbound(reads, held)
    recipient = read_delivery(row.delivery).recipient
    members = {f"deliveries/{recipient}-1.bin": row.delivery}
    later = reads.inbound_after(lane.row, row.sequence, MAX_SEQUENCE_GAP)
    head = read_lane_head(SignedPayload.decode(lane.head).payload) if lane.head else None
    if head is None:
        return members
    upto = [each for each in later if each.sequence <= head.sequence]
    last = upto[-1] if upto else row
    if (head.sequence, head.delivery_digest) == (last.sequence, last.digest):
        members[ef.LANE_HEAD] = lane.head
        if upto:
            members[ef.LANE_DELIVERIES] = ef.pack_deliveries([each.delivery for each in upto])
    return members


def _inbound(reads: Reads, held: HeldBulletin) -> tuple[LaneState, InboundRow]:
    for lane in reads.lanes():
        after = 0
        while not lane.outgoing and lane.peer == held.sender and (rows := reads.inbound_after(lane.row, after, _PAGE)):
            for row in rows:
                if row.entry_index == held.entry_index:
                    return lane, row
            after = rows[-1].sequence
    raise IntegrityError(f"no delivery in the database led to entry {index_of(held.entry_index)}")


def _content(proofs: LogProofs, index: int, shown: Shown) -> dict[str, bytes]:
    members = {
        ef.EXPORTED: proofs.prove(shown.exported_index),
        ef.REQUEST: shown.request.encode(),
        ef.BLIND: shown.blind,
    }
    statement = parse_statement(shown.statement.payload)
    if shown.fields:
        opened = [open_field(statement.salt, statement.bulletin, name) for name in SLOTS if name in shown.fields]
        members[ef.FIELDS] = format_disclosure(opened, proofs.prove(index).decode()).encode()
        return members | {ef.TEXT: word_core(members).encode()}
    members[ef.STATEMENT] = shown.statement.encode()
    members[ef.TEXT] = word_core(members).encode()
    head = statement.log_head
    if head is not None and head.origin == proofs.origin:
        extends = proofs.extends(head.size, index)
        if extends is not None:
            members[ef.LOG_HEAD] = extends
    return members


def _manifests(reads: Reads, core: Mapping[str, bytes], sender: str) -> dict[str, bytes]:
    """The newest manifests in which the keys stand that signed: the sender's, and of who asked for the content."""
    wanted: dict[str, set[bytes]] = {sender: set()}
    if ef.DISPATCH in core:
        signed = SignedPayload.decode(core[ef.DISPATCH])
        wanted[sender] |= {each.key_id for each in signed.signatures}
        wanted[sender] |= {key_id for _, key_id in read_dispatch(signed.payload).signers}
    if ef.LANE_HEAD in core:
        wanted[sender] |= {each.key_id for each in SignedPayload.decode(core[ef.LANE_HEAD]).signatures}
    if ef.REQUEST in core:
        for each in SignedPayload.decode(core[ef.REQUEST]).signatures:
            agency = (reads.meta("agency") or b"").decode()
            wanted.setdefault(agency, set()).add(each.key_id)
    members = {}
    for agency, keys in wanted.items():
        for version, data in _with_keys(reads, agency, keys):
            members[f"manifests/{agency}-{version}.signed"] = data
    return members


def _with_keys(reads: Reads, agency: str, keys: set[bytes]) -> Iterable[tuple[int, bytes]]:
    missing = set(keys)
    rows = [each for each in reads.records() if each.kind == RecordKind.MANIFEST and each.agency == agency]
    for each in sorted(rows, key=lambda row: -row.version):
        manifest: Manifest = parse_manifest(SignedPayload.decode(each.signed).payload)
        here = missing & {*manifest.operations_by_id, *manifest.officers_by_key}
        if here:
            missing -= here
            yield each.version, each.signed


__all__ = ["LogProofs", "Shown", "evidence_file", "find_bulletin", "gather", "word_core"]
