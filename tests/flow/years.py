"""A federation over simulated years: real keys in real files, real stores and logs, a clock that the test sets.

There are no sockets, because TLS libraries judge certificates by the machine's clock. Everything else is the program's
own: renewals, upkeep, records that move, lanes, receipts, readings. A day is a step.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from audit.compare.compared_logs import ComparedLog
from audit.compare.pairs import compare
from audit.record.lane import LaneClass
from audit.tiles.bundle_folder import folder_at
from audit.verify.verify import verify_log
from exchange.acts import delivery
from exchange.acts.directory import RecordKind
from exchange.demo.federation import FoundedFederation, found_federation
from exchange.rpc.lane.records import known_records, record_messages
from exchange.v1 import node_pb2
from keys.agency import Person, make_agency, make_officer, save_officer
from keys.ceremony import RecordHead, RosterTerms, make_manifest
from keys.dsse import SignedPayload
from keys.durations import DAY_MS, YEAR_MS
from keys.identity import AgencyId
from keys.manifest import Manifest
from tests.flow.simulated_agency import FEDERATION, PASSPHRASE, PEOPLE, SOUND, Agency, Clock, Sent


class Years:
    """A federation that lives for years, a day a step.

    Args:
        folder: For the homes.
        agencies: Codes of the members.
        seed: Of who does what on which day.
    """

    def __init__(self, folder: Path, agencies: Sequence[str], seed: int) -> None:
        self.clock, self.chance = Clock(), random.Random(seed)
        self.founded = _found(agencies, self.clock.at_ms)
        self.agencies = {
            code: Agency(self.founded.keys[code], self.founded, folder / code, self.clock) for code in agencies
        }
        self.sent: list[Sent] = []
        self.down: set[str] = set()  # whose node does not run
        self.silent: set[str] = set()  # whose root signs nothing, whatever ends
        self._serials = itertools.count(1)
        self._newcomers = itertools.count(2)

    def close(self) -> None:
        """Stop every node; the last checkpoints are published."""
        for each in self.present():
            each.stop()

    def check_readable(self) -> None:
        """Open every bulletin that was ever accepted where it is, by its author's agency and by each recipient."""
        for sent in self.sent:
            for code in (sent.sender, *sent.recipients):
                self.agencies[code].check_readable(sent)

    def check_logs(self) -> None:
        """Verify every log as an auditor does, and pair them; after ``close``."""
        logs = []
        for each in self.agencies.values():
            report = verify_log(each.home / "log")
            assert report.verdict in SOUND, (each.agency, report.verdict)
            folder = folder_at(each.home / "log")
            logs.append(ComparedLog(agency=each.agency, number=each.view.number, folder=folder, size=report.size))
        found = compare(logs, {each.number: each.agency for each in logs})
        assert found.pairs == sum(len(sent.recipients) for sent in self.sent)
        assert not found.one_sided
        assert not found.under_way
        assert not found.lost
        assert not found.behind

    async def pass_days(self, days: int, bulletins: int) -> None:
        """Let days pass: the nodes' own work, records, so many bulletins of each agency, lanes, receipts, readings."""
        self.clock.at_ms += days * DAY_MS
        for each in self.present():
            if each.agency not in self.silent and self._ends_soon(each):
                self.sign_manifest(each)
            each.keep_up()
        await self.meet()
        for each in self.able():
            for _ in range(bulletins):
                self.publish(each)
        self.deliver()
        for each in self.present():
            self.read_any(each)

    def present(self) -> list[Agency]:
        """Return the agencies whose nodes run."""
        return [each for each in self.agencies.values() if each.agency not in self.down]

    def able(self) -> list[Agency]:
        """Return those that may publish and be addressed: they run, and their manifest has not ended."""
        return [each for each in self.present() if self.manifest(each).expires_ms > self.clock.at_ms]

    def signing(self) -> list[Agency]:
        """Return those of which a new manifest can be had."""
        return [each for each in self.able() if each.agency not in self.silent]

    def manifest(self, agency: Agency) -> Manifest:
        """Return the newest manifest that an agency has of itself."""
        return agency.view.federation.manifests[agency.agency].record

    def _ends_soon(self, agency: Agency) -> bool:
        return self.manifest(agency).expires_ms < self.clock.at_ms + 30 * DAY_MS

    def read_any(self, agency: Agency) -> None:
        """Have somebody of an agency read something that it has, of any age."""
        known = [sent for sent in self.sent if agency.agency in (sent.sender, *sent.recipients)]
        if known:
            sent = self.chance.choice(known)
            assert agency.read(sent, self.chance.choice(sorted(agency.people))) == sent.message

    def stop(self, agency: Agency) -> None:
        """Switch a node off."""
        agency.stop()
        self.down.add(agency.agency)

    def start(self, agency: Agency) -> None:
        """Switch it on again."""
        agency.start()
        self.down.discard(agency.agency)

    def publish(self, sender: Agency) -> None:
        """Publish one bulletin of an agency to one or two others."""
        others = [each.agency for each in self.able() if each is not sender]
        recipients = sorted(self.chance.sample(others, self.chance.randint(1, min(2, len(others)))))
        author = self.chance.choice(sorted(sender.people))
        self.sent.append(sender.publish(recipients, author, next(self._serials)))

    async def meet(self) -> None:
        """Let every two agencies tell each other of their records, until nobody has news."""
        for taker, giver in self._pairs():
            await taker.adoption.compare(
                record_messages(known_records(giver.view)), lambda told, giver=giver: _fetch(giver, told), giver.agency
            )

    def deliver(self) -> None:
        """Empty every lane and settle it; nobody takes anything from an agency whose manifest has ended."""
        for taker, giver in itertools.permutations(self.able(), 2):
            for lane_class in LaneClass:
                self._deliver(giver, taker, lane_class)

    def _pairs(self) -> Iterator[tuple[Agency, Agency]]:
        yield from itertools.permutations(self.present(), 2)

    def _deliver(self, sender: Agency, taker: Agency, lane_class: LaneClass) -> None:
        out = sender.lane(taker.agency, lane_class, outgoing=True)
        if out is None:
            return
        while True:
            known = taker.lane(sender.agency, lane_class, outgoing=False)
            message = sender.message_for(taker.agency, out, known.sequence if known is not None else 0)
            answers = taker.take(message, sender.agency)
            refused = [each.refusal for each, _ in answers if each.refusal is not None]
            assert not refused, refused[0]
            if not message.parcels:
                return
            receipts = [(each.sequence, receipt, None) for each, receipt in answers]
            out = sender.lane(taker.agency, lane_class, outgoing=True)
            assert out is not None
            settled = delivery.check_receipts(
                receipts, lane=out, peer=taker.agency, view=sender.view, reads=sender.node.reads
            )
            sender.node.writer.run(
                lambda w, out=out, settled=settled: delivery.record_receipts(
                    w, settled, None, lane=out, peer=taker.agency, view=sender.view
                )
            )

    def sign_manifest(self, agency: Agency) -> None:
        """Have an agency's root, offline, sign its next manifest for a year; the running node takes it."""
        known = agency.view.federation.manifests[agency.agency].record
        now_ms, until_ms = self.clock.at_ms, self.clock.at_ms + YEAR_MS
        entries = [replace(each.entry, until_ms=until_ms) for each in agency.people.values()]
        signed = make_manifest(
            agency.keys.root.root,
            RecordHead(agency=agency.agency, federation=self.founded.id, now_ms=now_ms, version=known.version + 1),
            operations=[replace(each, until_ms=until_ms) for each in known.operations_keys],
            officers=entries,
            endpoints=[agency.endpoint],
        )
        agency.node.adopt_now(RecordKind.MANIFEST, signed)
        agency.renew_sheet()

    def join(self, agency: Agency) -> None:
        """Make a new officer, and have the manifest name them."""
        person = Person(id=f"officer-{next(self._newcomers)}", roles=("author", "reader"), ceiling=4)
        made = make_officer(agency.keys.authority, person, now_ms=self.clock.at_ms, random_bytes=os.urandom)
        save_officer(agency.home, made, PASSPHRASE, os.urandom)
        agency.people[person.id] = made
        self.sign_manifest(agency)

    def leave(self, agency: Agency) -> None:
        """Have the manifest name somebody no more, if somebody stays."""
        if len(agency.people) > 1:
            del agency.people[self.chance.choice(sorted(agency.people))]
            self.sign_manifest(agency)

    def move(self, agency: Agency) -> None:
        """Give a node another address."""
        agency.endpoint = f"127.0.0.1:{self.chance.randint(1024, 60000)}"
        self.sign_manifest(agency)


async def _fetch(giver: Agency, told: node_pb2.AdoptedRecord) -> SignedPayload:
    found = giver.node.reads.record_by_digest(told.digest)
    assert found is not None
    return SignedPayload.decode(found.signed)


def _found(agencies: Sequence[str], now_ms: int) -> FoundedFederation:
    made = [
        make_agency(AgencyId(code), FEDERATION, PEOPLE, now_ms=now_ms, random_bytes=os.urandom) for code in agencies
    ]
    return found_federation(made, now_ms=now_ms, terms=RosterTerms(valid_ms=4 * YEAR_MS))
