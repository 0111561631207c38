"""A federation in memory: real keys, real SQLite, a clock that the test sets; no sockets.

Changed by assignment and by the acts themselves. Making keys is the slow part, so agencies are made once a session and
their houses are rebuilt for every world.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from functools import cache
from pathlib import Path

from audit.entry.entry import Body, Kind, parse_body, parse_entry
from audit.log.sqlite_lock import SqliteLock
from audit.record.lane import Withdrawn
from audit.record.statement import Statement, parse_statement
from exchange.acts import delivery, intake, publishing
from exchange.acts.delivery import outgoing_after, sign_head
from exchange.acts.intake import Message
from exchange.acts.judgement import Parcel
from exchange.acts.lane_position import lane_id
from exchange.acts.node_view import NodeView
from exchange.acts.publishing import Arrival
from exchange.acts.stored_bulletin import open_content
from exchange.authoring.draft import read_draft
from exchange.demo.federation import FoundedFederation, found_federation
from exchange.node import node
from exchange.node.clock import NodeClock
from exchange.records.bulletin import encode_bulletin, id_bytes, parse_bulletin, recipients_of, uuid7
from exchange.rules import packaged_catalogue
from exchange.rules.catalogue import Catalogue
from exchange.store.sqlite import SqliteStore
from exchange.store.storage_key import StorageKeys
from exchange.v1.bulletin_pb2 import Bulletin
from keys import dsse
from keys.agency import AgencyKeys, Person, make_agency
from keys.dsse import SignedPayload
from keys.identity import AgencyId
from tests.support.home_files import DATABASE, LOCK

FEDERATION = "exercise.example"
NOW_MS = 1_800_000_000_000  # 2027-01-15
AGENCIES = ("HK-IMMD", "HK-SB", "TH-DSI", "TW-NHRC")
PEOPLE = (
    Person(id="officer-1", roles=("author", "reader"), ceiling=4),
    Person(id="officer-2", roles=("author", "reader"), ceiling=1),
    Person(id="reader-1", roles=("reader",), ceiling=4),
    Person(id="writer-1", roles=("author",), ceiling=4),
)


@cache
def _keys(agency: str, federation: str) -> AgencyKeys:
    return make_agency(AgencyId(agency), federation, PEOPLE, now_ms=NOW_MS, random_bytes=os.urandom)


def keys_of(agency: str, federation: str = FEDERATION) -> AgencyKeys:
    """Make an agency's keys, once a session."""
    return _keys(agency, federation)


@cache
def catalogue() -> Catalogue:
    return packaged_catalogue()


def records(agencies: tuple[str, ...] = AGENCIES, federation: str = FEDERATION) -> FoundedFederation:
    """Hold the ceremony, once a session."""
    return _records(agencies, federation)


@cache
def _records(agencies: tuple[str, ...], federation: str) -> FoundedFederation:
    return found_federation([keys_of(agency, federation) for agency in agencies], now_ms=NOW_MS)


def clock_at(at_ms: int) -> NodeClock:
    """Make a clock that stands still."""
    return NodeClock(lambda: at_ms * 1000, lambda: 0)


def view_of(agency: str, made: FoundedFederation | None = None) -> NodeView:
    """Build an agency's house with everything adopted."""
    keys = keys_of(agency)
    federation = (made or records()).adopted(NOW_MS)
    member = federation.roster.member(agency)
    assert member is not None
    return NodeView(
        agency=AgencyId(agency),
        number=member.number,
        epoch=1,
        federation=federation,
        catalogues={federation.roster.catalogue_digest: catalogue()},
        operations=keys.node.operations,
        log_signer=keys.node.log,
        encryption={each.key.public.key_id: each.key for each in keys.node.encryption},
        storage=StorageKeys.of(*(secret.reveal() for secret in keys.node.storage)),
        pseudonym_key=bytes(32),
    )


class Desk:
    """One agency's node with its writer running, and its officers' keys at hand."""

    def __init__(self, agency: str, home: Path, *, introduced: bool = True) -> None:
        self.agency, self._introduced = AgencyId(agency), introduced
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        if not (home / DATABASE).exists():
            self._create(home)
        self.node = self.start()
        self._heads = itertools.count(NOW_MS)

    def _create(self, home: Path) -> None:
        records().create_home(home, self.agency, now_us=NOW_MS * 1000, introduced=self._introduced)

    def start(self) -> node.Node:
        """Open the node anew from its files."""
        store = SqliteStore(self.home / DATABASE)
        lock = SqliteLock.open(self.home / LOCK)
        self.node = node.Node(self.home, view_of(self.agency), store, lock, os.urandom, clock_at(NOW_MS))
        self.node.start()
        return self.node

    @property
    def view(self) -> NodeView:
        return self.node.view

    def bodies(self, *kinds: Kind) -> list[Body]:
        """Read the log, all of it or these kinds."""
        reads = self.node.reads
        found = [parse_body(parse_entry(entry).body) for entry in reads.read_entries(0, reads.size())]
        return [body for body in found if not kinds or body.kind in kinds]

    def sign(self, statement: Statement, officer: str = "officer-1", role: str = "statement") -> SignedPayload:
        """Sign as one of our officers would on his own machine."""
        return dsse.sign(statement.encode(), (role, signer(self.agency, officer)))

    def statement(self, message: Bulletin) -> Statement:
        """Make the statement that an author's client makes."""
        return Statement(
            federation_id=self.view.federation.federation_id,
            salt=os.urandom(32),
            bulletin=encode_bulletin(message),
            roster_digest=self.view.federation.roster_digest,
            recipients=recipients_of(message.header.addressees, self.agency),
        )

    def prepare(self, signed: SignedPayload, caller: str = "", now_ms: int = NOW_MS) -> publishing.Prepared:
        """Check and seal as the node does."""
        found = publishing.admit(
            signed,
            Arrival(
                caller=caller or f"{self.agency}/officer-1",
                view=self.view,
                reads=self.node.reads,
                now_ms=now_ms,
                random_bytes=os.urandom,
            ),
        )
        assert isinstance(found, publishing.Prepared)
        return found

    def enter(self, prepared: publishing.Prepared) -> publishing.PublishOutcome:
        """Enter a prepared statement into log and lanes."""
        return self.node.writer.run(lambda w: publishing.publish(w, prepared, self.view))

    def publish(self, message: Bulletin, officer: str = "officer-1") -> publishing.PublishOutcome:
        """Do all of it."""
        message.header.author = officer
        signed = self.sign(self.statement(message), officer)
        return self.enter(self.prepare(signed, f"{self.agency}/{officer}"))

    def message_for(self, peer: str, lane_class: int = 2, after: int = 0, now_ms: int = NOW_MS) -> Message:
        """Make the next message of a lane of ours."""
        state = self.node.reads.lane(outgoing=True, peer=peer, lane_class=lane_class, epoch=1)
        assert state is not None
        batch = outgoing_after(self.node.reads, state, after, now_ms)
        last = (batch[-1].sequence, batch[-1].digest) if batch else (state.sequence, state.digest)
        gone = [Withdrawn(sequence=item.sequence, reason=item.withdrawn) for item in batch if item.withdrawn]
        head = sign_head(lane_id(state, self.view), last, state.sequence, gone, self.view, next(self._heads))
        return Message(parcels=tuple(parcel_of(item) for item in batch), head=head)

    def check(self, message: Message, peer: str, now_ms: int = NOW_MS, **more: object) -> intake.Checked:
        """Judge a peer's message."""
        return intake.check_message(
            message,
            peer=AgencyId(peer),
            view=self.view,
            reads=self.node.reads,
            now_ms=now_ms,
            handling=intake.Handling(random_bytes=os.urandom, **more),  # type: ignore[arg-type] # given_up or on_open
        )

    def take(self, checked: intake.Checked, peer: str) -> list[tuple[intake.DeliveryAnswer, object]]:
        """Enter a judged message; answers with their receipts."""
        return self.node.writer.run(
            lambda w: intake.take_message(w, checked, peer=AgencyId(peer), view=self.view),
            lambda answers, group: [(answer, group.receipt(answer.entry_index, self.node.entry)) for answer in answers],
        )

    def receive(self, message: Message, peer: str) -> list[tuple[intake.DeliveryAnswer, object]]:
        """Judge and enter."""
        return self.take(self.check(message, peer), peer)

    def settle(self, receipts: list, peer: str, lane_class: int = 2) -> int:
        """Record a peer's receipts: (sequence, receipt, original)."""
        state = self.node.reads.lane(outgoing=True, peer=peer, lane_class=lane_class, epoch=1)
        assert state is not None
        settled = delivery.check_receipts(
            receipts, lane=state, peer=AgencyId(peer), view=self.view, reads=self.node.reads
        )
        return self.node.writer.run(
            lambda w: delivery.record_receipts(w, settled, None, lane=state, peer=peer, view=self.view)
        )

    def open(self, sender: str, bulletin_id: str) -> Bulletin:
        """Look into a bulletin that is held, without asking."""
        stored = self.node.reads.find(sender, id_bytes(bulletin_id))
        assert stored is not None
        content = self.node.reads.content(stored.entry_index)
        assert content is not None
        signed = open_content(content, stored, self.view.storage)
        return parse_bulletin(parse_statement(signed.payload).bulletin)

    def close(self) -> None:
        self.node.stop()


def signer(agency: str, officer: str):  # type: ignore[no-untyped-def] # the signer of a person
    return next(each.keys.signer for each in keys_of(agency).officers if each.entry.id == officer)


def parcel_of(item: delivery.Outgoing) -> Parcel:
    return Parcel(delivery=item.delivery, dispatch=SignedPayload.decode(item.dispatch), wrap=item.wrap, body=item.body)


def bulletin(name: str, **header: object) -> Bulletin:
    """Read one of the real bulletins and change its header, by the beginning of its file's name."""
    folder = Path(__file__).resolve().parents[2] / "exchange" / "examples"
    path = next(folder.glob(f"{name}*.yaml"))
    draft = read_draft(path.read_bytes())
    message = draft.message
    for field, value in header.items():
        setattr(message.header, field, value)
    return message


def advisory(
    sender: str, *recipients: str, serial: int = 1, text: str = "Beware of paid tickets", urgency: int = 4
) -> Bulletin:
    """Make a small bulletin from one agency to others, routine by default."""
    message = bulletin("11-advisory")
    header = message.header
    header.originator = sender
    header.number = f"{sender}/ADV/2025/{serial:06d}"
    header.bulletin_id = uuid7(header.issued_at.ToMilliseconds(), serial.to_bytes(10, "big"))
    header.subject[0].text = text
    header.urgency = urgency
    header.urgency_reason = "" if urgency == 4 else "live pursuit"
    header.ClearField("case")
    del header.relations[:]
    del header.addressees[:]
    for agency in recipients:
        header.addressees.add(agency=agency, role=1)
    return message


__all__ = ["Desk", "advisory", "bulletin", "keys_of", "records", "replace", "signer", "view_of"]
