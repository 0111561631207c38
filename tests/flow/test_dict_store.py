"""A whole node without a database: state and lock in dictionaries, everything else as it is.

What it shows is that the node uses nothing of its store and its lock but the protocols.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from audit.entry.entry import Kind
from audit.log.lock import Lock
from audit.record.statement import parse_statement
from exchange.acts.directory import RecordKind
from exchange.records.bulletin import parse_bulletin
from exchange.store.store import NodeStore
from exchange.v1 import node_pb2
from tests.audit.log.dict_lock import DictLock, KeptLock
from tests.exchange.store.dict_store import DictStore, Kept
from tests.flow.world import Member, World, bulletin, until


@dataclass
class DictMember(Member):
    """An agency whose node keeps its state in dictionaries, which outlive it."""

    kept: Kept = field(default_factory=Kept)
    kept_lock: KeptLock = field(default_factory=KeptLock)

    def make_state(self, origin: str) -> NodeStore:
        self.open_lock().begin_epoch(origin)
        return self.open_store()

    def open_store(self) -> NodeStore:
        return DictStore(f"dictionaries of {self.agency}", self.kept)

    def open_lock(self) -> Lock:
        return DictLock(f"lock of {self.agency}", self.kept_lock)


async def inbox(member: Member) -> list[node_pb2.InboxItem]:
    async with member.desk() as desk:
        return list((await desk.Inbox(node_pb2.InboxRequest())).items)


async def test_a_node_over_dictionaries_does_all_five_acts_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    world = World(tmp_path, ("HK-IMMD", "TH-DSI"), introduced=False, member=DictMember)
    sender, reader = world["HK-IMMD"], world["TH-DSI"]
    for one, other in ((sender, reader), (reader, sender)):  # directory
        node = one.open()
        node.adopt_now(RecordKind.MANIFEST, one.records.manifests[other.agency])
        node.adopt_now(RecordKind.KEY_SHEET, one.records.key_sheets[other.agency])
        node.stop()
    message = bulletin("HK-IMMD", "TH-DSI")
    async with world.serving():
        await world.connected()
        [answer] = await sender.publish(message)  # publishing
        assert not answer.HasField("refusal"), answer.refusal
        await until(lambda: len(sender.bodies(Kind.RECEIPT_RECORDED)) == 1)  # intake there, delivery here
        [item] = await inbox(reader)
        async with reader.desk() as desk:  # reading
            opened = await desk.Read(node_pb2.ReadRequest(read=reader.read_request(item).to_message()))
        assert parse_bulletin(parse_statement(opened.statement.payload).bulletin) == message
        sizes = [each.node.reads.size() for each in (sender, reader)]
    async with world.serving():  # against the same dictionaries
        await world.connected()
        [item] = await inbox(reader)
        assert item.opened
        await sender.publish(bulletin("HK-IMMD", "TH-DSI"))
        await until(lambda: len(sender.bodies(Kind.RECEIPT_RECORDED)) == 2)
        assert [each.opened for each in await inbox(reader)] == [True, False]
        for each, before in zip((sender, reader), sizes, strict=True):
            assert each.node.reads.size() > before
    assert not list(tmp_path.rglob("*.db*"))
    assert [each.size for each in sender.kept_lock.cosigned.values()] != []  # as a witness of the other
