"""One side of a lane in a process of its own, to be killed: a real node on real files, spoken to over a pipe.

The parent passes messages on, as a wire would, and remembers what was acknowledged. Keys are made once, when the
server that forks these processes imports this module. ``Hasty`` is the control: it acknowledges before it has
committed, and the tests must notice what it loses.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from audit.entry.entry import leaf_hash, parse_body, parse_entry
from audit.log.log import verify_entries
from audit.note.checkpoint import Checkpoint, parse_note
from audit.record.statement import ReadPurpose, ReadRequest
from exchange.acts import delivery, publishing, reading
from exchange.acts.delivery import outgoing_after
from exchange.acts.intake import Message
from exchange.acts.publishing import Arrival
from exchange.node import failpoint
from exchange.node.node import Node
from exchange.records.bulletin import id_bytes
from exchange.records.receipt import Receipt, decode_receipt
from keys import dsse
from keys.dsse import SignedPayload
from keys.identity import AgencyId
from tests.support.world import NOW_MS, Desk, advisory, records, signer

SENDER, RECEIVER = "HK-IMMD", "TH-DSI"
CANARY = "CANARY-5e3f9a"  # stands in every bulletin, and nowhere in the clear
records()  # the keys of everybody, before any process is forked


@dataclass(frozen=True)
class Report:
    """A log that was verified from its first entry to its last."""

    size: int
    kinds: list[int]
    deliveries: list[bytes]  # delivery digests, by entry
    bulletins: list[bytes]  # bulletin ids, by entry
    refers: list[int]
    peer_leaves: list[bytes]
    leaves: list[bytes]
    agreed: bool  # every checkpoint asked about is one of this log


def report_of(node: Node, notes: list[str]) -> Report:
    """Verify a node's whole log, and every note against it."""
    reads = node.reads
    size = reads.size()
    verify_entries(reads, 0, size, node.log.genesis)
    entries = reads.read_entries(0, size)
    bodies = [parse_body(parse_entry(entry).body) for entry in entries]
    return Report(
        size=size,
        kinds=[body.kind for body in bodies],
        deliveries=[body.delivery_digest for body in bodies],
        bulletins=[body.bulletin_id for body in bodies],
        refers=[body.refers_to for body in bodies],
        peer_leaves=[body.peer_leaf_hash for body in bodies],
        leaves=[leaf_hash(entry) for entry in entries],
        agreed=all(_agrees(node, parse_note(note).checkpoint) for note in notes if note),
    )


def _agrees(node: Node, seen: Checkpoint) -> bool:
    return seen.size <= node.log.size and node.log.root(seen.size) == seen.root


class Side:
    """What the parent may ask of a node."""

    def __init__(self, agency: str, home: Path) -> None:
        self.desk = Desk(agency, home)
        self.peer = RECEIVER if agency == SENDER else SENDER

    def arm(self, wanted: str) -> None:
        failpoint.arm(wanted)

    def sign(self, serials: range) -> list[bytes]:
        """Sign bulletins as the officer's machine does, once each."""
        made = []
        for serial in serials:
            message = advisory(SENDER, RECEIVER, serial=serial, text=CANARY)
            message.header.author = "officer-1"
            made.append(self.desk.sign(self.desk.statement(message)).encode())
        return made

    def publish(self, signed: bytes) -> tuple[int, str]:
        """Publish; the index of PUBLISHED and the note that covers it are the acknowledgement."""
        statement = SignedPayload.decode(signed)
        found = publishing.admit(
            statement,
            Arrival(
                caller=f"{SENDER}/officer-1",
                view=self.desk.view,
                reads=self.desk.node.reads,
                now_ms=NOW_MS,
                random_bytes=os.urandom,
            ),
        )
        if not isinstance(found, publishing.Prepared):
            return found.entry_index, self.desk.node.note
        return self.desk.node.writer.run(
            lambda w: publishing.publish(w, found, self.desk.view),
            lambda value, group: (value.entry_index, group.note),
        )

    def message(self, after: int, head_ms: int) -> Message:
        """Make the next message of the lane."""
        self.desk._heads = itertools.count(head_ms)
        state = self.desk.node.reads.lane(outgoing=True, peer=self.peer, lane_class=2, epoch=1)
        assert state is not None
        outgoing_after(self.desk.node.reads, state, after, NOW_MS)
        return self.desk.message_for(self.peer, after=after)

    def position(self) -> int:
        state = self.desk.node.reads.lane(outgoing=False, peer=self.peer, lane_class=2, epoch=1)
        return state.sequence if state is not None else 0

    def receive(self, message: Message) -> list[tuple[int, int, bytes]]:
        """Judge and enter a message; sequence, entry and receipt of each delivery."""
        answers = self.desk.receive(message, self.peer)
        return [(a.sequence, a.entry_index, r.encode()) for a, r in answers if isinstance(r, Receipt)]

    def settle(self, receipts: list[tuple[int, bytes]]) -> int:
        """Record receipts; returns up to where the lane is receipted."""
        state = self.desk.node.reads.lane(outgoing=True, peer=self.peer, lane_class=2, epoch=1)
        assert state is not None
        settled = delivery.check_receipts(
            [(sequence, decode_receipt(receipt), None) for sequence, receipt in receipts],
            lane=state,
            peer=AgencyId(self.peer),
            view=self.desk.view,
            reads=self.desk.node.reads,
        )
        taken = self.desk.node.writer.run(
            lambda w: delivery.record_receipts(w, settled, None, lane=state, peer=self.peer, view=self.desk.view),
        )
        failpoint.failpoint("peer-acknowledged")
        return taken

    def read(self, bulletin_id: str) -> str:
        """Open a bulletin for an officer, as the desk does: the entry first."""
        stored = self.desk.node.reads.find(self.peer, id_bytes(bulletin_id))
        assert stored is not None
        request = ReadRequest(
            federation_id=self.desk.view.federation.federation_id,
            agency=self.desk.agency,
            officer="officer-1",
            purpose=ReadPurpose.CASE_WORK,
            case="a case",
            reason="a reason",
            nonce=os.urandom(16),
            time_ms=NOW_MS,
            sender=self.peer,
            bulletin_id=stored.bulletin_id,
            statement_digest=stored.statement_digest,
        )
        signed = dsse.sign(request.encode(), ("read", signer(self.desk.agency, "officer-1")))
        caller = f"{self.desk.agency}/officer-1"
        reader = reading.check_request(signed, caller=caller, view=self.desk.view, now_ms=NOW_MS)
        granted = self.desk.node.writer.run(lambda w: reading.grant(w, reader, self.desk.view, os.urandom))
        failpoint.failpoint("opened-committed")
        opened = reading.open_bulletin(granted, stored, self.desk.view, self.desk.node.reads)
        return CANARY if CANARY.encode() in opened.statement.payload else ""

    def report(self, notes: list[str]) -> Report:
        return report_of(self.desk.node, notes)

    def stop(self) -> None:
        self.desk.close()


class Hasty(Side):
    """The wrong driver: what it acknowledges is not yet committed."""

    def __init__(self, agency: str, home: Path, pipe: Connection) -> None:
        super().__init__(agency, home)
        self.pipe = pipe

    def publish(self, signed: bytes) -> tuple[int, str]:
        self.pipe.send((self.desk.node.reads.size(), ""))
        self.pipe.recv()  # never comes: killed here
        return super().publish(signed)


def serve(pipe: Connection, agency: str, home: str, hasty: bool = False) -> None:
    """Open the node and answer until the pipe closes."""
    side = Hasty(agency, Path(home), pipe) if hasty else Side(agency, Path(home))
    pipe.send("ready")
    while True:
        try:
            name, *args = pipe.recv()
        except EOFError:
            return
        answer: Any = getattr(side, name)(*args)
        pipe.send(answer)
        if name == "stop":
            return
