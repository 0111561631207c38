"""An evidence file whose every part a test can bend: real keys of three agencies, two logs of a few entries each.

Because the test holds everybody's keys it can do what a dishonest agency could: log what is not so, and sign it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from audit.entry.entry import Body, Kind, encode_entry, genesis_previous, leaf_hash
from audit.evidence import file
from audit.evidence.zip import write_archive
from audit.note.checkpoint import Checkpoint, sign_checkpoint
from audit.note.cosignature import add_lines, cosign
from audit.note.tlogproof import format_proof
from audit.record.dispatch import Urgency, dispatch_digest, parse_dispatch
from audit.record.lane import Delivery, LaneClass, LaneId, delivery_digest
from audit.record.statement import ReadPurpose, ReadRequest, Statement, opened_digest, opening, read_digest
from audit.tree.merkle import Tree
from exchange.evidence.gather_evidence import word_core
from exchange.records.bulletin import encode_bulletin, id_bytes
from exchange.records.seal_order import SealOrder, seal
from exchange.records.sealed_statement import sign_sealed
from keys import dsse
from keys.dsse import SignedPayload
from keys.identity import AgencyId, federation_id, record_digest
from tests.flow.world import MADE_MS, keys_of, records
from tests.support.world import advisory

SENDER, RECIPIENT, WITNESS = "HK-SB", "TH-DSI", "HK-IMMD"
NAMES = tuple(sorted((SENDER, RECIPIENT, WITNESS)))
AT_MS = MADE_MS + 60_000
AT_S = AT_MS // 1000
PURPOSE = "Court file 4 K 118/26"
FILLING = 7  # entries before the first that counts


def number(agency: str) -> int:
    return NAMES.index(agency) + 1


def roster() -> SignedPayload:
    return records(NAMES).roster


def federation() -> bytes:
    return federation_id(roster().payload)


@dataclass
class FakeLog:
    """A log of an agency, written by whoever has its key."""

    agency: str
    entries: list[bytes] = field(default_factory=list)
    tree: Tree = field(default_factory=lambda: Tree(0, lambda *_: None, lambda *_: []))
    witnesses: Sequence[str] = (SENDER, RECIPIENT, WITNESS)
    epoch: int = 1

    @property
    def origin(self) -> str:
        return f"{self.agency.lower()}.exercise.example/log/{self.epoch}"

    def add(self, body: Body, at_ms: int = AT_MS) -> int:
        index = len(self.entries)
        before = leaf_hash(self.entries[-1]) if self.entries else genesis_previous(self.origin)
        entry = encode_entry(index, at_ms * 1000, before, body.encode())
        self.entries.append(entry)
        self.tree.append(leaf_hash(entry))
        return index

    def checkpoint(self, size: int | None = None) -> Checkpoint:
        size = size or len(self.entries)
        return Checkpoint(origin=self.origin, size=size, root=self.tree.root(size))

    def note(self, size: int | None = None) -> str:
        point = self.checkpoint(size)
        text = sign_checkpoint(point, keys_of(self.agency).node.log)
        for each in self.witnesses:
            if each != self.agency:
                witness = keys_of(each).node.witness
                name = f"{each.lower()}.exercise.example/witness"
                text = add_lines(text, cosign(point, name, witness, AT_S + 5))
        return text

    def prove(self, index: int, size: int | None = None) -> bytes:
        size = size or len(self.entries)
        hashes = self.tree.inclusion(index, size)
        return format_proof(index, hashes, self.note(size), self.entries[index]).encode()


def filled(agency: str, **more: object) -> FakeLog:
    log = FakeLog(agency, **more)  # type: ignore[arg-type]
    for _ in range(FILLING):
        log.add(Body(kind=Kind.HEARTBEAT), AT_MS - 1000)
    return log


@dataclass(frozen=True)
class Made:
    """One bulletin's evidence in the making, and all that it came from."""

    core: dict[str, bytes]
    sender_log: FakeLog
    recipient_log: FakeLog
    statement: SignedPayload
    delivery: bytes


def make(
    *,
    content: bool = True,
    sent: bool = True,
    received: Mapping[str, object] | None = None,
    recorded: Mapping[str, object] | None = None,
    serial: int = 1,
    text: str = "Beware of paid tickets",
    purpose: str = PURPOSE,
    witnesses: Sequence[str] = (SENDER, RECIPIENT, WITNESS),
    request: Mapping[str, object] | None = None,
    request_form: Callable[[ReadRequest], bytes] = ReadRequest.encode,
    dispatch: Mapping[str, object] | None = None,
    lane: Mapping[str, object] | None = None,
    queued: Mapping[str, object] | None = None,
    federation_of_statement: bytes = b"",
) -> Made:
    """Publish, deliver, receive, record and export one bulletin, on paper.

    Args:
        content: With the statement.
        sent: The sender's file; else the recipient's.
        received: Changes to the recipient's entry.
        recorded: Changes to the sender's RECEIPT_RECORDED.
        serial: Another one gives another bulletin.
        text: Its subject.
        purpose: What the file is for.
        witnesses: Who cosigns.
        request: Changes to what was asked for.
        request_form: Writes the request.
        dispatch: Changes to the dispatch, which is then signed and logged as it is.
        lane: Changes to the delivery's lane.
        queued: Changes to the sender's QUEUED.
        federation_of_statement: Another one than ours.
    """
    officer = keys_of(SENDER).officers[0].keys.signer
    message = advisory(SENDER, RECIPIENT, serial=serial, text=text)
    message.header.author = "officer-1"
    statement = Statement(
        federation_id=federation_of_statement or federation(),
        salt=os.urandom(32),
        bulletin=encode_bulletin(message),
        roster_digest=record_digest("roster", roster().payload),
        recipients=(AgencyId(RECIPIENT),),
    )
    signed = dsse.sign(statement.encode(), ("statement", officer))
    bulletin_id = id_bytes(message.header.bulletin_id)
    recipient_key = keys_of(RECIPIENT).node.encryption[0].key.public
    order = SealOrder(
        federation_id=statement.federation_id,
        sender=AgencyId(SENDER),
        bulletin_id=bulletin_id,
        urgency=Urgency.ROUTINE,
        expires_ms=AT_MS + 10**9,
        content_key=os.urandom(32),
        signed=signed,
        recipients=(recipient_key,),
        absent=(),
    )
    sealed = sign_sealed(seal(order, statement), order.content_key, keys_of(SENDER).node.operations)
    bent = replace(parse_dispatch(sealed.dispatch.payload), **(dispatch or {}))  # type: ignore[arg-type]
    signed_dispatch = dsse.sign(bent.encode(), ("dispatch", keys_of(SENDER).node.operations))
    digest = dispatch_digest(signed_dispatch.payload)
    lane_id = LaneId(
        federation_id=federation(),
        sender=AgencyId(SENDER),
        recipient=AgencyId(RECIPIENT),
        lane_class=LaneClass.ROUTINE,
        epoch=1,
    )
    lane_id = replace(lane_id, **(lane or {}))  # type: ignore[arg-type]
    delivery = Delivery(lane=lane_id, sequence=1, previous=bytes(32), dispatch_digest=digest, time_ms=AT_MS).encode()
    step = delivery_digest(delivery)
    ours, theirs = filled(SENDER, witnesses=witnesses), filled(RECIPIENT, witnesses=witnesses)
    about = {"bulletin_id": bulletin_id, "dispatch_digest": digest}
    statement_digest = record_digest("statement", signed.payload)
    published = ours.add(Body(kind=Kind.PUBLISHED, statement_digest=statement_digest, **about))
    both = {**about, "delivery_digest": step}
    entered = Body(kind=Kind.QUEUED, peer=number(RECIPIENT), refers_to=published, **both)
    entry_queued = ours.add(entered._replace(**(queued or {})))
    entry = Body(kind=Kind.RECEIVED, peer=number(SENDER), opening=opening(statement.salt, step), **both)
    got = theirs.add(entry._replace(**(received or {})))
    theirs.add(Body(kind=Kind.HEARTBEAT))
    point = theirs.checkpoint()
    done = Body(
        kind=Kind.RECEIPT_RECORDED,
        peer=number(RECIPIENT),
        peer_index=got,
        peer_leaf_hash=leaf_hash(theirs.entries[got]),
        peer_size=point.size,
        peer_root=point.root,
        refers_to=entry_queued,
        **both,
    )
    answered = ours.add(done._replace(**(recorded or {})), AT_MS + 500)
    holder, log, index = (SENDER, ours, published) if sent else (RECIPIENT, theirs, got)
    asked = ReadRequest(
        federation_id=federation(),
        agency=AgencyId(holder),
        officer="officer-1",
        purpose=ReadPurpose.EXPORT,
        case="evidence",
        reason=purpose,
        nonce=bytes(16),
        time_ms=AT_MS,
        sender=SENDER,
        bulletin_id=bulletin_id,
        statement_digest=statement_digest,
    )
    asked = replace(asked, **(request or {}))
    signed_request = dsse.sign(request_form(asked), ("read", keys_of(holder).officers[0].keys.signer))
    blind = bytes(range(32))
    exported = log.add(
        Body(
            kind=Kind.EXPORTED,
            actor=bytes(16),
            actor_epoch=1,
            bulletin_id=bulletin_id,
            digest=opened_digest(blind, read_digest(signed_request.payload)),
            refers_to=index,
        )
    )
    core = {
        file.PURPOSE: purpose.encode(),
        "rosters/1.signed": roster().encode(),
        f"manifests/{SENDER}-1.signed": records(NAMES).manifests[SENDER].encode(),
        file.DISPATCH: signed_dispatch.encode(),
        f"deliveries/{RECIPIENT}-1.bin": delivery,
    }
    if sent:
        core[file.PUBLISHED] = ours.prove(published)
        core[f"proofs/queued-{RECIPIENT}-1.tlog-proof"] = ours.prove(entry_queued)
        core[f"proofs/answered-{RECIPIENT}-1.tlog-proof"] = ours.prove(answered)
        core[f"receipts/{RECIPIENT}-1.tlog-proof"] = theirs.prove(got, point.size)
    else:
        core[file.RECEIVED] = theirs.prove(got)
        core[f"manifests/{RECIPIENT}-1.signed"] = records(NAMES).manifests[RECIPIENT].encode()
    if content:
        core |= {file.STATEMENT: signed.encode(), file.EXPORTED: log.prove(exported)}
        core |= {file.REQUEST: signed_request.encode(), file.BLIND: blind}
        core[file.TEXT] = word_core(core).encode()
    return Made(core, ours, theirs, signed, delivery)


def pack(members: Mapping[str, bytes]) -> bytes:
    """Write a file with right sums over whatever stands in it, as a forger would."""
    with_sums = {**members, file.SUMS: file.sums(members)}
    return write_archive(with_sums)


def altered(data: bytes, at: int, bit: int = 0) -> bytes:
    """Flip one bit."""
    return data[:at] + bytes((data[at] ^ (1 << bit),)) + data[at + 1 :]
