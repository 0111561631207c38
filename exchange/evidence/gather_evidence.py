"""Gather the evidence for one bulletin from a node's home: what its log, its peers and its people signed about it.

Without content everything is public to the agencies concerned and no key is needed; the node may run meanwhile.
Content is added only after EXPORTED is durable (``exchange.evidence.export``). Proofs are made from the log's published files,
under the newest checkpoint that enough witnesses have cosigned where it covers the entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from google.protobuf.message import DecodeError

from audit.entry.body import parse_body
from audit.entry.entry import HEAD_LENGTH
from audit.entry.kinds import Kind
from audit.evidence import file
from audit.evidence.pages import make_pages
from audit.evidence.zip import write_archive
from audit.note.checkpoint import parse_note
from audit.note.tlogproof import parse_proof
from audit.record.commitments import HEADER_FIELDS
from audit.record.disclosure import format_disclosure, open_fields, parse_disclosure
from audit.record.dispatch import parse_dispatch
from audit.record.lane import parse_delivery, parse_lane_head
from audit.record.statement import parse_statement
from exchange.acts.directory import RecordKind
from exchange.authoring.render import render
from exchange.authoring.render_fields import Block, field_lines
from exchange.evidence.epoch_proofs import EpochLogs
from exchange.records.bulletin import is_understood, milliseconds, parse_bulletin
from exchange.records.receipt import decode_receipt, format_receipt
from exchange.store.log_position import epoch_of, index_of, log_position
from exchange.store.rows import InboundRow, LaneState, OutboundRow, StoredBulletin
from exchange.store.store import Reads
from exchange.v1 import bulletin_pb2
from keys.dsse import SignedPayload
from keys.errors import IntegrityError, RefusedError
from keys.manifest import Manifest, parse_manifest

_PAGE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Content that was taken out, and what the log says of that."""

    statement: SignedPayload
    exported_index: int  # of EXPORTED
    request: SignedPayload  # without signature where the operator asked with the node's own keys
    blind: bytes  # 32 bytes
    fields: tuple[str, ...] = ()  # show these alone, of audit.record.commitments.SLOTS; none: the whole statement


def find_bulletin(reads: Reads, name: str) -> StoredBulletin:
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
    reads: Reads, logs: EpochLogs, stored: StoredBulletin, *, purpose: str, shown: Shown | None
) -> tuple[dict[str, bytes], list[str]]:
    """Put the proven members of an evidence file together.

    Args:
        reads: The node's database.
        logs: Its log, in all epochs.
        stored: The bulletin.
        purpose: What the evidence is for, 1 to 500 characters.
        shown: Content that was taken out, logged before; None for a file without content.

    Returns:
        The members; and what was left out of a bulletin of an earlier epoch, because nothing here proves it.

    Raises:
        RefusedError: A part of it is not here any more; NO_SUCH_BULLETIN where its own entry cannot be proven.
        UnavailableError: A part of it is not published yet; a running node does so within a second.
        IntegrityError: Database and log contradict each other.
    """
    if not 0 < len(purpose) <= file.MAX_PURPOSE:
        raise RefusedError("MALFORMED", f"a purpose of {len(purpose)} characters, 1 to {file.MAX_PURPOSE} are allowed")
    epoch, index = epoch_of(stored.entry_index), index_of(stored.entry_index)
    if gone := logs.missing(epoch, index):
        raise RefusedError("NO_SUCH_BULLETIN", f"{gone}. {_others(reads, stored)}")
    proofs = logs.of(epoch)
    body = parse_body(proofs.entry(index)[HEAD_LENGTH:])
    if body.bulletin_id != stored.bulletin_id:
        raise IntegrityError(f"entry {index} is of another bulletin than the database says")
    sent = body.kind == Kind.PUBLISHED
    core = {
        file.PURPOSE: purpose.encode(),
        (file.PUBLISHED if sent else file.RECEIVED): proofs.prove(index),
        **{f"rosters/{each.version}.signed": each.signed for each in reads.records() if each.kind == RecordKind.ROSTER},
    }
    content = reads.content(stored.entry_index)
    if content is not None and content.dispatch:
        core[file.DISPATCH] = content.dispatch
    left: list[str] = []
    core |= _sent(reads, logs, stored, left) if sent else _received(reads, stored)
    if stored.erased and (erased := _erased(logs, epoch, index)) is not None:
        core[file.ERASED] = erased
    if shown is not None:
        core |= _content(logs, epoch, index, shown)
    core |= proofs.stamped(index)
    at = {stored.sender: stored.entry_index}  # where it was accepted; the content was taken out later
    if shown is not None:
        at.setdefault(own_agency(reads), log_position(logs.newest.epoch, shown.exported_index))
    return core | _manifests(reads, core, stored.sender, at, later=epoch < logs.newest.epoch), left


def _others(reads: Reads, stored: StoredBulletin) -> str:
    """Return who has entries about the same bulletin in logs of their own."""
    if stored.sender != own_agency(reads):
        return f"{stored.sender} sent it, and its own log proves that: it can write evidence for it"
    peers = sorted({parse_delivery(row.delivery).lane.recipient for row in reads.outbound_of(stored.entry_index)})
    return f"Its recipients' own logs prove that they received it: {', '.join(peers)} can write evidence for it"


def evidence_file(core: Mapping[str, bytes]) -> bytes:
    """Return the whole file: the proven members, what is made from them, and the digests of all."""
    members = {**core, **make_pages(core)}
    members[file.SUMS] = file.sums(members)
    return write_archive(members)


def word_core(core: Mapping[str, bytes]) -> str:
    """Word what a file shows of a bulletin: the same text each time, nothing in it depends on the time.

    Raises:
        RefusedError: MALFORMED.
    """
    if file.STATEMENT in core:
        return _word_statement(SignedPayload.decode(core[file.STATEMENT]).payload)
    disclosed = parse_disclosure(file.read_text(file.FIELDS, core[file.FIELDS]))
    return "".join(f"{line}\n" for each in disclosed.disclosure.fields for line in _word_field(each.field, each.value))


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
    kind = bulletin_pb2.Header if name in HEADER_FIELDS else bulletin_pb2.Bulletin
    try:
        message = kind.FromString(value)
    except DecodeError as error:
        raise RefusedError("MALFORMED", f"{name}: not a part of a bulletin") from error
    block = Block("  ")
    for each, _ in message.ListFields():
        block.add(each.name.replace("_", " "), *field_lines(message, each.name, {}))
    yield from block.lines()


def own_agency(reads: Reads) -> str:
    """Return whose node it is."""
    return (reads.meta("agency") or b"").decode()


def _all(reads: Reads, *, sent: bool) -> Iterable[StoredBulletin]:
    after = -1
    while rows := reads.stored_since(after, _PAGE, sent=sent):
        yield from rows
        after = rows[-1].entry_index


def _fits(wanted: str, stored: StoredBulletin) -> bool:
    whole = stored.bulletin_id.hex()
    start = wanted.replace("-", "").lower()
    return wanted == stored.facts.number or (len(start) >= 8 and whole.startswith(start))


def _sent(reads: Reads, logs: EpochLogs, stored: StoredBulletin, left: list[str]) -> dict[str, bytes]:
    """Each delivery, its QUEUED, and where it was answered the receipt with our RECEIPT_RECORDED."""
    rows = reads.outbound_of(stored.entry_index)
    answered = {each.queued_index: _proven_by(each.receipt) for each in rows if each.receipt}
    recorded = _recorded(logs, epoch_of(stored.entry_index), answered)
    members: dict[str, bytes] = {}
    count: dict[str, int] = {}
    for row in rows:
        agency = parse_delivery(row.delivery).lane.recipient
        if gone := logs.missing(epoch_of(row.queued_index), index_of(row.queued_index)):
            left.append(f"a delivery to {agency}: {gone}")
            continue
        count[agency] = count.get(agency, 0) + 1
        members |= _delivered(logs, row, f"{agency}-{count[agency]}", recorded.get(row.queued_index), left)
    return members


def _delivered(logs: EpochLogs, row: OutboundRow, name: str, recorded: int | None, left: list[str]) -> dict[str, bytes]:
    members = {
        f"deliveries/{name}.bin": row.delivery,
        f"proofs/queued-{name}.tlog-proof": _prove(logs, row.queued_index),
    }
    if not row.receipt or recorded is None:
        if row.receipt:
            left.append(f"the receipt of {name}: no RECEIPT_RECORDED of it is in the logs that are here")
    elif gone := logs.missing(epoch_of(recorded), index_of(recorded)):
        left.append(f"the receipt of {name}: {gone}")
    else:
        members[f"proofs/answered-{name}.tlog-proof"] = _prove(logs, recorded)
        members[f"receipts/{name}.tlog-proof"] = format_receipt(decode_receipt(row.receipt)).encode()
    return members


def _prove(logs: EpochLogs, position: int) -> bytes:
    return logs.of(epoch_of(position)).prove(index_of(position))


def _proven_by(receipt: bytes) -> tuple[int, int, bytes]:
    """Return which entry of the peer's log a receipt proves, and by which size and root."""
    proof = parse_proof(decode_receipt(receipt).proof)
    checkpoint = parse_note(proof.note).checkpoint
    return proof.index, checkpoint.size, checkpoint.root


def _recorded(logs: EpochLogs, epoch: int, answered: Mapping[int, tuple[int, int, bytes]]) -> dict[int, int]:
    """Find the position of the RECEIPT_RECORDED of each QUEUED, in its own epoch or a later one.

    Of several the one of the very receipt that is known: after a loss the peer proves the same entry again.
    """
    found: dict[int, int] = {}
    for proofs in logs.since(epoch):
        for index, body in proofs.bodies(0):
            position = log_position(body.refers_to_epoch or proofs.epoch, body.refers_to)
            said = (body.peer_index, body.peer_size, body.peer_root)
            if body.kind == Kind.RECEIPT_RECORDED and answered.get(position) == said:
                found[position] = log_position(proofs.epoch, index)
            if len(found) == len(answered):
                return found
    return found


def _erased(logs: EpochLogs, epoch: int, index: int) -> bytes | None:
    """Prove the ERASED of an entry, in its own epoch or a later one; None where nothing here does."""
    for proofs in logs.since(epoch):
        for at, body in proofs.bodies(0):
            named = (body.refers_to_epoch or proofs.epoch, body.refers_to)
            if body.kind == Kind.ERASED and named == (epoch, index) and not logs.missing(proofs.epoch, at):
                return proofs.prove(at)
    return None


def _received(reads: Reads, stored: StoredBulletin) -> dict[str, bytes]:
    """The one delivery to us, and the sender's newest lane head with the deliveries up to it."""
    lane, row = _inbound(reads, stored)
    recipient = parse_delivery(row.delivery).lane.recipient
    members = {f"deliveries/{recipient}-1.bin": row.delivery}
    later = reads.inbound_after(lane.row, row.sequence, file.MAX_SEQUENCE_GAP)
    head = parse_lane_head(SignedPayload.decode(lane.head).payload) if lane.head else None
    if head is None:
        return members
    upto = [each for each in later if each.sequence <= head.sequence]
    last = upto[-1] if upto else row
    if (head.sequence, head.delivery_digest) == (last.sequence, last.digest):
        members[file.LANE_HEAD] = lane.head
        if upto:
            members[file.LANE_DELIVERIES] = file.pack_deliveries([each.delivery for each in upto])
    return members


def _inbound(reads: Reads, stored: StoredBulletin) -> tuple[LaneState, InboundRow]:
    for lane in reads.lanes():
        after = 0
        while (
            not lane.outgoing and lane.peer == stored.sender and (rows := reads.inbound_after(lane.row, after, _PAGE))
        ):
            for row in rows:
                if row.entry_index == stored.entry_index:
                    return lane, row
            after = rows[-1].sequence
    raise IntegrityError(f"no delivery in the database led to entry {index_of(stored.entry_index)}")


def _content(logs: EpochLogs, epoch: int, index: int, shown: Shown) -> dict[str, bytes]:
    proofs = logs.of(epoch)
    members = {
        file.EXPORTED: logs.newest.prove(shown.exported_index),
        file.REQUEST: shown.request.encode(),
        file.BLIND: shown.blind,
    }
    statement = parse_statement(shown.statement.payload)
    if shown.fields:
        opened = open_fields(statement.salt, statement.bulletin, shown.fields)
        members[file.FIELDS] = format_disclosure(opened, proofs.prove(index).decode()).encode()
        return members | {file.TEXT: word_core(members).encode()}
    members[file.STATEMENT] = shown.statement.encode()
    members[file.TEXT] = word_core(members).encode()
    head = statement.log_head
    if head is not None and head.origin == proofs.origin:
        extends = proofs.extends(head.size, index)
        if extends is not None:
            members[file.LOG_HEAD] = extends
    return members


def _manifests(
    reads: Reads, core: Mapping[str, bytes], sender: str, at: Mapping[str, int], *, later: bool
) -> dict[str, bytes]:
    """The manifests by which was judged who signed: the sender's, and that of who asked for the content.

    It is the one in force at the position that *at* names, so that what is adopted later makes no other file; a key
    that does not stand in it is looked for in the others, the newest first. Where the bulletin is of an earlier epoch
    (*later* ones followed), our newest one too: it says where that ended.
    """
    own = own_agency(reads)
    wanted: dict[str, set[bytes]] = {sender: set()}
    if file.DISPATCH in core:
        signed = SignedPayload.decode(core[file.DISPATCH])
        wanted[sender] |= {each.key_id for each in signed.signatures}
        wanted[sender] |= {each.key_id for each in parse_dispatch(signed.payload).signers}
    if file.LANE_HEAD in core:
        wanted[sender] |= {each.key_id for each in SignedPayload.decode(core[file.LANE_HEAD]).signatures}
    if file.REQUEST in core:
        for each in SignedPayload.decode(core[file.REQUEST]).signatures:
            wanted.setdefault(own, set()).add(each.key_id)
    members: dict[str, bytes] = {}
    if later:
        rows = [each for each in reads.records() if each.kind == RecordKind.MANIFEST and each.agency == own]
        members |= {f"manifests/{own}-{each.version}.signed": each.signed for each in rows[-1:]}  # ascending
    for agency, keys in wanted.items():
        for version, data in _with_keys(reads, agency, keys, at.get(agency, 0)):
            members[f"manifests/{agency}-{version}.signed"] = data
    return members


def _with_keys(reads: Reads, agency: str, keys: set[bytes], position: int) -> Iterable[tuple[int, bytes]]:
    missing = set(keys)
    rows = [each for each in reads.records() if each.kind == RecordKind.MANIFEST and each.agency == agency]
    in_force = reads.records_at(agency, position).manifest
    for each in sorted(rows, key=lambda row: (row != in_force, -row.rank)):
        manifest: Manifest = parse_manifest(SignedPayload.decode(each.signed).payload)
        here = missing & {*manifest.operations_by_id, *manifest.officers_by_key}
        if here:
            missing -= here
            yield each.version, each.signed


__all__ = ["Shown", "evidence_file", "find_bulletin", "gather", "word_core"]
