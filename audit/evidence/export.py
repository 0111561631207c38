"""What ties an evidence file to its making: who took content out and why, and what the author had seen when signing."""

from audit.entry.entry import Kind
from audit.evidence import file
from audit.evidence.case import Case, of_federation, own_entry, prove, same
from audit.evidence.trust import Trust
from audit.note.checkpoint import Checkpoint
from audit.record.statement import ReadRequest, opened_digest, parse_stored_read, read_digest
from audit.tree.proof import verify_consistency
from keys import dsse
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.signer import PublicKey


def add_export(case: Case) -> str:
    """Verify that the log says who took the content out, for what; and that the purpose is the one logged."""
    purpose = file.read_text(file.PURPOSE, case.core.get(file.PURPOSE, b""))
    if not 0 < len(purpose) <= file.MAX_PURPOSE:
        raise RefusedError("MALFORMED", f"{file.PURPOSE}: 1 to {file.MAX_PURPOSE} characters were expected")
    parts = [name for name in (file.EXPORTED, file.REQUEST, file.BLIND) if name in case.core]
    shown = case.statement is not None or file.FIELDS in case.core
    if not shown and not parts:
        return "no content left the node, so nothing had to be logged; the purpose is the exporter's word"
    if len(parts) != 3 or not shown:
        raise RefusedError(
            "MALFORMED", f"{file.EXPORTED}, {file.REQUEST} and {file.BLIND} stand beside content, together"
        )
    signed = SignedPayload.decode(case.core[file.REQUEST])
    request = parse_stored_read(signed.payload)
    exported = own_entry(case, file.EXPORTED, Kind.EXPORTED, case.own)
    digest = opened_digest(case.core[file.BLIND], read_digest(signed.payload))
    same(file.EXPORTED, "request", digest, exported.body.digest)
    of_federation(file.REQUEST, request.federation_id, case.trust)
    wanted = (case.own.member.agency, case.sender.agency, case.own.body.bulletin_id, purpose)
    same(file.REQUEST, "words", (request.agency, request.sender, request.bulletin_id, request.reason), wanted)
    case.exported, case.request = exported, request
    who = f"{request.agency}/{request.officer}"
    if not signed.signatures:
        return f"logged as entry {exported.entry.index} before it was opened, by {who} with the node's own keys"
    dsse.verify(signed, "read", lambda key_id: _officer(case.trust, request, key_id))
    return f"logged as entry {exported.entry.index} before it was opened; {who} signed the request"


def stamped_note(case: Case) -> bytes:
    """Return the note that a time-stamping authority saw: one that this very entry is under.

    Raises:
        RefusedError: MALFORMED, DAMAGED and those of the proof.
    """
    if file.STAMP not in case.core or file.STAMPED not in case.core:
        raise RefusedError("MALFORMED", f"{file.STAMP} and {file.STAMPED} stand together")
    row = prove(case.trust, file.STAMPED, case.core[file.STAMPED])
    same(file.STAMPED, "entry", (row.checkpoint.origin, row.leaf), (case.own.checkpoint.origin, case.own.leaf))
    return row.note.encode()


def _officer(trust: Trust, request: ReadRequest, key_id: bytes) -> PublicKey:
    person = trust.person(request.agency, key_id, request.time_ms)
    same(file.REQUEST, "officer", request.officer, person.id)
    return person.public


def log_head_detail(case: Case) -> str:
    """Verify the point in the log that the author had seen when signing: the bulletin is not older."""
    head = case.statement.log_head if case.statement is not None else None
    if file.LOG_HEAD not in case.core:
        return ""
    if head is None or not case.sent or head.origin != case.own.checkpoint.origin:
        raise RefusedError("MALFORMED", f"{file.LOG_HEAD}: the statement names no point of this log")
    old = Checkpoint(origin=head.origin, size=head.size, root=head.root)
    hashes = [bytes.fromhex(line) for line in _hex_lines(case.core[file.LOG_HEAD])]
    verify_consistency(old, case.own.checkpoint, hashes)
    if head.size > case.own.entry.index:
        raise RefusedError("RECEIPT_INVALID", f"{file.LOG_HEAD}: the author had seen a log of {head.size} entries")
    return f"signed after entry {head.size - 1}"


def _hex_lines(data: bytes) -> list[str]:
    lines = file.read_text(file.LOG_HEAD, data).splitlines()
    if "".join(f"{line}\n" for line in lines).encode() != data or any(not _is_hex(line) for line in lines):
        raise RefusedError("MALFORMED", f"{file.LOG_HEAD}: hashes of 64 hex digits were expected, one a line")
    return lines


def _is_hex(line: str) -> bool:
    return len(line) == 64 and set(line) <= set("0123456789abcdef")
