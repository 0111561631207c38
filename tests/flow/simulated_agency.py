"""One agency on a clock that the test sets: its keys in files, its node without sockets, its people of the day."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from audit.entry.entry import parse_body, parse_entry
from audit.log.lock_factory import open_lock
from audit.record.lane import LaneClass
from audit.record.statement import ReadPurpose, ReadRequest, Statement, parse_statement
from exchange.acts import intake, publishing, reading
from exchange.acts.delivery import outgoing_after, sign_head
from exchange.acts.directory import RecordKind
from exchange.acts.intake import Handling, Message
from exchange.acts.lane_position import lane_id
from exchange.acts.node_view import NodeView
from exchange.acts.publishing import Arrival
from exchange.acts.stored_bulletin import open_content
from exchange.demo.federation import FoundedFederation
from exchange.node.clock import NodeClock
from exchange.node.federation_store import restore_federation
from exchange.node.home import view_from
from exchange.node.maintenance import Upkeep
from exchange.node.node import Node
from exchange.node.renewal import Renewal
from exchange.records.bulletin import encode_bulletin, id_bytes, parse_bulletin, recipients_of, uuid7
from exchange.rpc.lane.records import RecordAdoption
from exchange.rpc.transport.program_log import ProgramLog
from exchange.store.factory import open_store
from exchange.store.home_paths import Paths
from exchange.store.log_position import index_of
from exchange.store.rows import LaneState
from exchange.v1.bulletin_pb2 import Bulletin
from keys import dsse
from keys.agency import AgencyKeys, MadeOfficer, Person, save_agency
from keys.dsse import SignedPayload
from keys.durations import DAY_MS
from keys.identity import AgencyId, records_digest
from keys.key_files import load_node
from keys.keystore import INTERACTIVE
from keys.manifest import parse_manifest
from tests.support.world import advisory, parcel_of

BEGIN_MS = 1_767_225_600_000  # 2026-01-01
FEDERATION = "years.example"
PASSPHRASE = b"correct horse battery"
SOUND = ("verified, end not anchored",)
PEOPLE = (Person(id="officer-1", roles=("author", "reader"), ceiling=4),)


@dataclass
class Clock:
    """What time it is for everybody."""

    at_ms: int = BEGIN_MS

    def node_clock(self) -> NodeClock:
        """Make a node's clock: wall and monotonic time are one."""
        return NodeClock(lambda: self.at_ms * 1000, lambda: self.at_ms * 1000)

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at_ms / 1000, UTC)


@dataclass
class Sent:
    """A bulletin that was published."""

    sender: AgencyId
    recipients: tuple[str, ...]
    message: Bulletin
    author: str


@dataclass
class Agency:
    """One agency: its keys, its home, its node, its people of the day."""

    keys: AgencyKeys
    founded: FoundedFederation
    home: Path
    clock: Clock
    people: dict[str, MadeOfficer] = field(default_factory=dict)
    endpoint: str = "127.0.0.1:1"

    def __post_init__(self) -> None:
        self.agency = self.keys.agency
        save_agency(self.home, self.keys, lambda _: PASSPHRASE, os.urandom, root_profile=INTERACTIVE)
        self.founded.create_home(self.home, self.agency, now_us=self.clock.at_ms * 1000)
        self.people = {each.entry.id: each for each in self.keys.officers}
        self.start()

    def start(self) -> None:
        """Open the node from its files."""
        node_keys = load_node(self.home, PASSPHRASE)
        paths = Paths(home=self.home)
        store = open_store(paths.store)
        reads = store.reads()
        federation, catalogues = restore_federation(reads, self.clock.at_ms)
        view = view_from(federation, self.agency, node_keys, reads.meta("pseudonym-key") or bytes(32), catalogues)
        self.node = Node(self.home, view, store, open_lock(paths.lock), os.urandom, self.clock.node_clock())
        self.node.start()
        self._heads = itertools.count()
        self.adoption = RecordAdoption(self.node, ProgramLog(None, self.agency), lambda: self.clock.at_ms)
        self.renewal = Renewal(self.node, node_keys.derived, lambda: self.clock.at_ms, os.urandom)
        self.upkeep = Upkeep(self.node, node_keys.derived, lambda: self.clock.at_ms, os.urandom)

    def stop(self) -> None:
        self.node.stop()

    @property
    def view(self) -> NodeView:
        return self.node.view

    def keep_up(self) -> None:
        """Do the day's work of a running node: windows, key sheet, erasing, storage keys."""
        self.renewal.make_windows()
        self.renew_sheet()
        self.upkeep.run()

    def renew_sheet(self) -> None:
        if (signed := self.renewal.make_sheet()) is not None:
            self.node.adopt_now(RecordKind.KEY_SHEET, signed)
        assert self.renewal.hindrance is None, self.renewal.hindrance

    def publish(self, recipients: Sequence[str], author: str, serial: int) -> Sent:
        """Publish one small bulletin."""
        message = advisory(self.agency, *recipients, serial=serial)
        header = message.header
        header.issued_at.FromMilliseconds(self.clock.at_ms)
        header.bulletin_id = uuid7(self.clock.at_ms, serial.to_bytes(10, "big"))
        header.number = f"{self.agency}/ADV/{self.clock.now.year}/{serial:06d}"
        header.author = author
        statement = Statement(
            federation_id=self.view.federation.federation_id,
            salt=os.urandom(32),
            bulletin=encode_bulletin(message),
            roster_digest=self.view.federation.roster_digest,
            recipients=recipients_of(header.addressees, self.agency),
        )
        signed = dsse.sign(statement.encode(), ("statement", self.people[author].keys.signer))
        arrival = Arrival(
            caller=f"{self.agency}/{author}",
            view=self.view,
            reads=self.node.reads,
            now_ms=self.clock.at_ms,
            random_bytes=os.urandom,
        )
        prepared = publishing.admit(signed, arrival)
        assert isinstance(prepared, publishing.Prepared)
        self.node.writer.run(lambda w: publishing.publish(w, prepared, self.view))
        return Sent(self.agency, tuple(recipients), message, author)

    def check_readable(self, sent: Sent) -> None:
        """Open a bulletin as the node does, and judge its author by the records that its acceptance names."""
        stored = self.node.reads.find(sent.sender, id_bytes(sent.message.header.bulletin_id))
        assert stored is not None
        content = self.node.reads.content(stored.entry_index)
        assert content is not None
        signed = open_content(content, stored, self.view.storage)
        assert parse_bulletin(parse_statement(signed.payload).bulletin) == sent.message
        records = self.node.reads.records_at(sent.sender, stored.entry_index)
        assert records.manifest is not None
        entry = parse_entry(self.node.entry(index_of(stored.entry_index)))
        assert parse_body(entry.body).records == records_digest(*records.digests)
        manifest = parse_manifest(SignedPayload.decode(records.manifest.signed).payload)
        officer, key = manifest.person(signed.signatures[0].key_id, entry.time_us // 1000)
        assert officer.id == sent.author
        dsse.verify(signed, "statement", lambda key_id: key if key_id == key.key_id else None)

    def read(self, sent: Sent, officer: str) -> Bulletin:
        """Open a bulletin for an officer who asks for it now."""
        stored = self.node.reads.find(sent.sender, id_bytes(sent.message.header.bulletin_id))
        assert stored is not None
        request = ReadRequest(
            federation_id=self.view.federation.federation_id,
            agency=self.agency,
            officer=officer,
            purpose=ReadPurpose.CASE_WORK,
            case="case-1",
            reason="looked at again",
            nonce=os.urandom(16),
            time_ms=self.clock.at_ms,
            sender=stored.sender,
            bulletin_id=stored.bulletin_id,
            statement_digest=stored.statement_digest,
        )
        signed = dsse.sign(request.encode(), ("read", self.people[officer].keys.signer))
        reader = reading.check_request(
            signed, caller=f"{self.agency}/{officer}", view=self.view, now_ms=self.clock.at_ms
        )
        granted = self.node.writer.run(lambda w: reading.grant(w, reader, self.view, os.urandom))
        opened = reading.open_bulletin(granted, granted.stored[0], self.view, self.node.reads)
        return parse_bulletin(parse_statement(opened.statement.payload).bulletin)

    def lane(self, peer: str, lane_class: LaneClass, *, outgoing: bool) -> LaneState | None:
        """Return a lane in the epoch in which its sender's log is now."""
        sender = self.agency if outgoing else AgencyId(peer)
        epoch = self.view.newest_epoch(sender)
        return self.node.reads.lane(outgoing=outgoing, peer=peer, lane_class=lane_class, epoch=epoch)

    def message_for(self, peer: str, lane: LaneState, after: int) -> Message:
        """Make the next message of a lane of ours."""
        batch = outgoing_after(self.node.reads, lane, after, self.clock.at_ms)
        last = (batch[-1].sequence, batch[-1].digest) if batch else (lane.sequence, lane.digest)
        at_ms = self.clock.at_ms + next(self._heads) % DAY_MS
        head = sign_head(lane_id(lane, self.view), last, lane.sequence, [], self.view, at_ms)
        return Message(parcels=tuple(parcel_of(item) for item in batch), head=head)

    def take(self, message: Message, peer: AgencyId) -> list[tuple[intake.DeliveryAnswer, object]]:
        """Judge a peer's message and enter it; the answers with their receipts."""
        checked = intake.check_message(
            message,
            peer=peer,
            view=self.view,
            reads=self.node.reads,
            now_ms=self.clock.at_ms,
            handling=Handling(random_bytes=os.urandom),
        )
        return self.node.writer.run(
            lambda w: intake.take_message(w, checked, peer=peer, view=self.view, old_entry=self.node.old_entry),
            lambda answers, group: [(each, group.receipt(each.entry_index, self.node.entry)) for each in answers],
        )
