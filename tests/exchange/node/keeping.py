"""Desks whose day a test sets, with key files of their own, for what is kept and erased."""

from __future__ import annotations

import os
from datetime import date, timedelta
from pathlib import Path

import pytest

from audit.log.sqlite_lock import SqliteLock
from audit.record.statement import ReadPurpose, ReadRequest
from exchange.acts import legal_hold, reading
from exchange.node import node
from exchange.node.clock import NodeClock
from exchange.node.maintenance import Done, Upkeep
from exchange.records.bulletin import id_bytes
from exchange.store.rows import StoredBulletin
from exchange.store.sqlite import SqliteStore
from exchange.v1.bulletin_pb2 import Bulletin
from keys import dsse
from keys.agency import save_agency
from keys.dsse import SignedPayload
from keys.durations import DAY_MS
from keys.errors import RefusedError
from keys.key_files import NodeKeys, load_node
from tests.support.home_files import DATABASE, LOCK
from tests.support.world import NOW_MS, Desk, advisory, keys_of, signer, view_of

PASSPHRASE = b"correct horse"
TODAY = date(1970, 1, 1) + timedelta(days=NOW_MS // DAY_MS)


class Keeper(Desk):
    """A desk on a clock of its own; with ``keys_too`` its keys are in files as well."""

    def __init__(self, agency: str, home: Path, *, keys_too: bool = False) -> None:
        self.at_ms = NOW_MS
        self.keys: NodeKeys | None = None
        if keys_too:
            save_agency(home, keys_of(agency), lambda _: PASSPHRASE, os.urandom)
            self.keys = load_node(home, PASSPHRASE)
        super().__init__(agency, home)

    def start(self) -> node.Node:
        store = SqliteStore(self.home / DATABASE)
        lock = SqliteLock.open(self.home / LOCK)
        clock = NodeClock(lambda: self.at_ms * 1000, lambda: self.at_ms * 1000)
        self.node = node.Node(self.home, view_of(self.agency), store, lock, os.urandom, clock)
        self.node.start()
        return self.node

    def restart(self) -> None:
        self.node.stop()
        self.start()

    def pass_days(self, days: int) -> None:
        self.at_ms += days * DAY_MS

    def keep_up(self) -> Done:
        """Do the day's work."""
        derived = self.keys.derived if self.keys is not None else None
        return Upkeep(self.node, derived, lambda: self.at_ms, os.urandom).run()

    def stored(self, message: Bulletin) -> StoredBulletin:
        found = self.node.reads.find(message.header.originator, id_bytes(message.header.bulletin_id))
        assert found is not None
        return found

    def request(self, message: Bulletin, purpose: ReadPurpose, officer: str = "officer-1") -> SignedPayload:
        """Sign a request about one bulletin."""
        stored = self.stored(message)
        made = ReadRequest(
            federation_id=self.view.federation.federation_id,
            agency=self.agency,
            officer=officer,
            purpose=purpose,
            case="DSI-2027-15",
            reason="the court asked",
            nonce=os.urandom(16),
            time_ms=self.at_ms,
            sender=stored.sender,
            bulletin_id=stored.bulletin_id,
            statement_digest=stored.statement_digest,
        )
        return dsse.sign(made.encode(), ("read", signer(self.agency, officer)))

    def reader(self, signed: SignedPayload, officer: str = "officer-1") -> reading.Reader:
        caller = f"{self.agency}/{officer}"
        return reading.check_request(signed, caller=caller, view=self.view, now_ms=self.at_ms)

    def read(self, message: Bulletin, purpose: ReadPurpose = ReadPurpose.CASE_WORK) -> reading.OpenedBulletin:
        """Ask as an officer does, and open."""
        reader = self.reader(self.request(message, purpose))
        granted = self.node.writer.run(lambda w: reading.grant(w, reader, self.view, os.urandom))
        return reading.open_bulletin(granted, granted.stored[0], self.view, self.node.reads)

    def hold(
        self, message: Bulletin, purpose: ReadPurpose = ReadPurpose.HOLD, officer: str = "officer-1"
    ) -> legal_hold.Kept:
        """Hold or release as an officer does."""
        reader = self.reader(self.request(message, purpose, officer), officer)
        return self.node.writer.run(lambda w: legal_hold.hold(w, reader, self.view, os.urandom))


def kept_for(days: int, serial: int, *recipients: str, text: str = "Beware of paid tickets") -> Bulletin:
    """Make an advisory of HK-IMMD that is kept until so many days from today, that day included."""
    message = advisory("HK-IMMD", *(recipients or ("TH-DSI",)), serial=serial, text=text)
    message.header.retention.review_by = str(TODAY + timedelta(days=days))
    return message


def delivered(sender: Keeper, receiver: Keeper, *messages: Bulletin) -> None:
    """Publish at one desk, receive at the other."""
    for message in messages:
        sender.publish(message)
    while True:
        lane = receiver.node.reads.lane(outgoing=False, peer=sender.agency, lane_class=2, epoch=1)
        message_ = sender.message_for(receiver.agency, after=lane.sequence if lane else 0)
        if not message_.parcels:
            return
        receiver.receive(message_, sender.agency)


def code_of(act: object) -> str:
    with pytest.raises(RefusedError) as raised:
        act()  # type: ignore[operator] # a function without arguments
    return raised.value.code
