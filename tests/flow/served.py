"""A node with its sockets in a process of its own, to be killed; its peer finds it by the port it has written down."""

from __future__ import annotations

import asyncio
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from audit.note.tlogproof import parse_proof
from exchange.node import failpoint
from exchange.records.receipt import receipt_from_message, verify_receipt
from exchange.v1 import node_pb2
from keys.dsse import SignedPayload
from keys.identity import AgencyId
from tests.flow.side import CANARY, RECEIVER, SENDER, Report, report_of
from tests.flow.test_records import sheet
from tests.flow.world import QUICK, Member, records
from tests.support.world import advisory

records((SENDER, RECEIVER))  # the keys of both, before any process is forked


class Ports(dict[str, list[str]]):
    """Where members are, kept in a folder: a node that was killed comes back under another port."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def __setitem__(self, agency: str, found: list[str]) -> None:
        part = self.folder / f"{agency}.part"
        part.write_text(found[0])
        part.replace(self.folder / f"{agency}.port")

    def __getitem__(self, agency: str) -> list[str]:
        path = self.folder / f"{agency}.port"
        if not path.exists():
            raise KeyError(agency)
        return [path.read_text()]

    def __contains__(self, agency: object) -> bool:
        return (self.folder / f"{agency}.port").exists()

    def get(self, agency: str, default: Any = None) -> Any:
        try:
            return self[agency]
        except KeyError:
            return default


class Served:
    """What the parent may ask of a serving node."""

    def __init__(self, member: Member) -> None:
        self.member = member

    async def sign(self, serials: range) -> list[bytes]:
        made = [advisory(SENDER, RECEIVER, serial=serial, text=CANARY) for serial in serials]
        return [self.member.statement(message).encode() for message in made]

    async def arm(self, wanted: str) -> None:
        failpoint.arm(wanted)

    async def read(self) -> str:
        """Open the first bulletin of the inbox over the desk's socket."""
        async with self.member.desk() as desk:
            inbox = await desk.Inbox(node_pb2.InboxRequest(limit=1))
            signed = self.member.read_request(inbox.items[0])
            opened = await desk.Read(node_pb2.ReadRequest(read=signed.to_message()))
        return CANARY if CANARY.encode() in opened.statement.payload else ""

    async def publish(self, signed: bytes) -> tuple[int, str]:
        """Publish over the desk's socket; the index that the receipt proves, and its checkpoint."""
        async with self.member.desk() as desk:
            call = desk.Publish()
            await call.write(node_pb2.PublishRequest(statements=[SignedPayload.decode(signed).to_message()]))
            await call.done_writing()
            [answer] = [answer async for answer in call]
        receipt = receipt_from_message(answer.results[0].receipt)
        proven = verify_receipt(receipt, self.member.node.vkey)
        return proven.entry.index, parse_proof(receipt.proof).note

    async def position(self) -> int:
        """Return how far the lane has come here: what was received, or what was receipted."""
        receives = self.member.agency == RECEIVER
        peer = SENDER if receives else RECEIVER
        state = self.member.node.reads.lane(outgoing=not receives, peer=peer, lane_class=2, epoch=1)
        return 0 if state is None else state.sequence if receives else state.taken

    async def sheet(self, version: int) -> bytes:
        """Sign a further key sheet of ours."""
        return sheet(self.member, version).encode()

    async def sheet_version(self) -> int:
        """Return which key sheet of the sender's is in force here."""
        return self.member.node.view.federation.key_sheets[AgencyId(SENDER)].record.version

    async def report(self, notes: list[str]) -> Report:
        return report_of(self.member.node, notes)


def serve(pipe: Connection, agency: str, home: str, hasty: bool = False) -> None:
    """Serve the node and answer until the pipe closes."""
    asyncio.run(_serve(pipe, agency, Path(home)))


async def _serve(pipe: Connection, agency: str, home: Path) -> None:
    member = Member(AgencyId(agency), home, records((SENDER, RECEIVER)), Ports(home.parent), QUICK)
    if not home.exists():
        member.make()
    await member.start()
    served = Served(member)
    pipe.send("ready")
    while True:
        try:
            name, *args = await asyncio.to_thread(pipe.recv)
        except EOFError:
            return
        pipe.send(await getattr(served, name)(*args))
