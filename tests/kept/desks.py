"""Nodes of kept homes, on a clock that stands a little after the homes were stopped, whatever the day is today."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from audit.entry.entry import Body, Kind, parse_entry
from audit.log.lock_factory import open_lock
from audit.record.statement import ReadPurpose, ReadRequest, parse_statement
from exchange.acts import reading
from exchange.acts.stored_bulletin import open_content
from exchange.authoring.reply import make_reply
from exchange.node import node
from exchange.node.clock import NodeClock
from exchange.node.federation_store import restore_federation
from exchange.node.home import view_from
from exchange.records.bulletin import id_bytes, parse_bulletin, uuid7
from exchange.records.receipt import Receipt
from exchange.store.factory import open_store
from exchange.store.home_paths import Paths
from exchange.store.rows import StoredBulletin
from exchange.v1.bulletin_pb2 import Bulletin
from keys import dsse
from keys.identity import AgencyId
from keys.key_files import load_node, load_officer
from tests.kept.make import OFFICER, PASSPHRASE
from tests.support.world import Desk

HOUR_MS = 3_600_000
LANE_CLASSES = (1, 2)


class KeptDesk(Desk):
    """One kept home, opened by the program under test."""

    def __init__(self, home: Path) -> None:
        self.agency, self.home = AgencyId(home.name), home
        self.keys = load_node(home, PASSPHRASE.encode())
        self.officer = load_officer(home, OFFICER, PASSPHRASE.encode())
        store = open_store(Paths(home=home).store)  # brings the database up
        reads = store.reads()
        last = parse_entry(reads.read_entries(reads.size() - 1, 1)[0])
        self.at_ms = last.time_us // 1000 + HOUR_MS
        self.size_found = reads.size()
        federation, catalogues = restore_federation(reads, self.at_ms)
        pseudonyms = reads.meta("pseudonym-key")
        assert pseudonyms is not None
        view = view_from(federation, self.agency, self.keys, pseudonyms, catalogues)
        clock = NodeClock(lambda: self.at_ms * 1000, lambda: self.at_ms * 1000)
        self.node = node.Node(home, view, store, open_lock(Paths(home=home).lock), os.urandom, clock)
        self.node.start()
        self._heads = iter(range(self.at_ms, self.at_ms + HOUR_MS))

    def sign(self, statement: Any, officer: str = OFFICER, role: str = "statement") -> dsse.SignedPayload:
        return dsse.sign(statement.encode(), (role, self.officer.signer))

    def find(self, bulletin_id: str) -> StoredBulletin:
        [found] = self.node.reads.find_any(id_bytes(bulletin_id))
        return found

    def read(self, bulletin_id: str) -> Bulletin:
        """Read as an officer does: the request is signed, checked, entered, and then it opens."""
        found = self.find(bulletin_id)
        request = ReadRequest(
            federation_id=self.view.federation.federation_id,
            agency=self.agency,
            officer=OFFICER,
            purpose=ReadPurpose.CASE_WORK,
            case="C-2",
            reason="after the upgrade",
            nonce=os.urandom(16),
            time_ms=self.at_ms,
            sender=found.sender,
            bulletin_id=found.bulletin_id,
            statement_digest=found.statement_digest,
        )
        caller = f"{self.agency}/{OFFICER}"
        signed = self.sign(request, role="read")
        checked = reading.check_request(signed, caller=caller, view=self.view, now_ms=self.at_ms)
        granted = self.node.writer.run(lambda w: reading.grant(w, checked, self.view, os.urandom))
        opened = reading.open_bulletin(granted, granted.stored[0], self.view, self.node.reads)
        return parse_bulletin(parse_statement(opened.statement.payload).bulletin)

    def look(self, bulletin_id: str) -> Bulletin:
        """Look into a bulletin without asking."""
        found = self.find(bulletin_id)
        content = self.node.reads.content(found.entry_index)
        assert content is not None
        return parse_bulletin(parse_statement(open_content(content, found, self.view.storage).payload).bulletin)

    def answer(self, original: Bulletin, text: str, serial: int) -> Bulletin:
        """Publish a reply."""
        reply = make_reply(original, [text], agency=self.agency)
        header = reply.header
        for each in header.relations:
            each.statement_digest = self.find(each.bulletin_id).statement_digest
        header.originator, header.author = self.agency, OFFICER
        header.number = f"{self.agency}/RPL/2026/{serial:06d}"
        header.bulletin_id = uuid7(self.at_ms, serial.to_bytes(10, "big"))
        header.issued_at.FromMilliseconds(self.at_ms)
        header.urgency = original.header.urgency
        header.retention.CopyFrom(original.header.retention)
        self.enter(self.prepare(self.sign(self.statement(reply)), f"{self.agency}/{OFFICER}", self.at_ms))
        return reply

    def send_all(self, other: KeptDesk) -> int:
        """Send what waits for another desk, and record its receipts; returns how many deliveries it took."""
        count = 0
        for lane_class in LANE_CLASSES:
            lane = self.node.reads.lane(outgoing=True, peer=other.agency, lane_class=lane_class, epoch=1)
            if lane is None or lane.taken == lane.sequence:
                continue
            message = self.message_for(other.agency, lane_class, lane.taken, self.at_ms)
            taken = other.take(other.check(message, self.agency, other.at_ms), self.agency)
            assert [answer.refusal for answer, _ in taken] == [None] * len(taken)
            receipts = [(lane.taken + at, receipt, None) for at, (_, receipt) in enumerate(taken, start=1)]
            assert all(isinstance(receipt, Receipt) for _, receipt, _ in receipts)
            assert self.settle(receipts, other.agency, lane_class) == lane.taken + len(taken)
            count += len(taken)
        return count

    def entered(self, *kinds: Kind) -> list[Body]:
        """Read what was entered since the home was opened."""
        return self.bodies()[self.size_found :] if not kinds else self.bodies(*kinds)
