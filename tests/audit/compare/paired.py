"""Three agencies that have exchanged bulletins, their homes as an auditor finds them: nodes stopped, logs published.

``Logs`` alters one log as its own operator could, who has the key: any entries, chained and signed anew.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from audit.entry.body import Body, parse_body
from audit.entry.entry import leaf_hash, parse_entry
from audit.entry.kinds import Kind
from audit.note.checkpoint import VerifierKey, parse_note
from audit.note.cosignature import add_lines, cosign
from audit.tiles.tiles import TileFolder
from keys.roster import save_signed
from tests.audit.forge import read_log, rechain, sign, write_log
from tests.support.world import NOW_MS, Desk, advisory, keys_of, records

AGENCIES = ("HK-IMMD", "TH-DSI", "TW-NHRC")
TEXT = "canary-7f3a-quetzalcoatl"


def exchange_all(homes: Path) -> None:
    """Make homes, a roster beside them, and the traffic: two lanes, both ways, a third agency."""
    desks = {agency: Desk(agency, homes / agency) for agency in AGENCIES}
    immd, dsi, nhrc = desks.values()
    for serial in range(1, 4):
        immd.publish(advisory("HK-IMMD", "TH-DSI", serial=serial, text=TEXT))
    immd.publish(advisory("HK-IMMD", "TH-DSI", "TW-NHRC", serial=4, urgency=2, text=TEXT))
    dsi.publish(advisory("TH-DSI", "HK-IMMD", "TW-NHRC", serial=1, text=TEXT))
    deliver(immd, dsi)
    deliver(immd, dsi, 1)
    deliver(immd, nhrc, 1)
    deliver(dsi, immd)
    deliver(dsi, nhrc)
    save_signed(homes / "roster", records().roster)
    for desk in desks.values():
        desk.close()
    for agency in AGENCIES:
        cosign_log(homes / agency / "log", agency)
    for agency in AGENCIES:
        for peer in set(AGENCIES) - {agency}:
            kept = homes / agency / "peers" / peer
            kept.mkdir(parents=True)
            shutil.copy(homes / peer / "log/checkpoint", kept / "checkpoint")


def deliver(sender: Desk, receiver: Desk, lane_class: int = 2) -> None:
    """Bring one lane's deliveries over, and their receipts back."""
    message = sender.message_for(receiver.agency, lane_class)
    answers = receiver.receive(message, sender.agency)
    settled = [(answer.sequence, receipt, None) for answer, receipt in answers]
    sender.settle(settled, receiver.agency, lane_class)


def cosign_log(folder: Path, agency: str) -> None:
    """Have every other member of the roster cosign a log's checkpoint."""
    path = folder / "checkpoint"
    note = path.read_text()
    checkpoint = parse_note(note).checkpoint
    for member in records().adopted(NOW_MS).roster.members:
        if member.agency != agency:
            signer = keys_of(member.agency).node.witness
            note = add_lines(note, cosign(checkpoint, member.witness_name, signer, NOW_MS // 1000))
    path.chmod(0o644)
    path.write_text(note)


@dataclass(frozen=True)
class Logs:
    """Copies of the homes."""

    homes: Path

    def home(self, agency: str) -> Path:
        return self.homes / agency

    @property
    def roster(self) -> Path:
        return self.homes / "roster"

    def entries(self, agency: str) -> list[bytes]:
        folder = self.home(agency) / "log"
        return read_log(folder, parse_note(TileFolder(folder).note()).checkpoint.size)

    def bodies(self, agency: str) -> list[Body]:
        return [parse_body(parse_entry(entry).body) for entry in self.entries(agency)]

    def find(self, agency: str, kind: Kind, peer: str = "", nth: int = 0) -> int:
        """Return the index of the nth entry of a kind about a peer."""
        member = records().adopted(NOW_MS).roster.member(peer)
        numbers = {member.number} if member is not None else set(range(10))
        return [i for i, b in enumerate(self.bodies(agency)) if b.kind == kind and b.peer in numbers][nth]

    def rewrite(self, agency: str, change: Callable[[list[bytes]], list[bytes]]) -> None:
        """Write a log anew with its real key, witnesses and all: chained, numbered and referring as it should."""
        origin, signer = f"{agency.lower()}.exercise.example/log/1", keys_of(agency).node.log
        entries = rechain(change(self.entries(agency)), origin)
        folder = self.home(agency) / "log"
        key = VerifierKey(name=origin, key=signer.key.public_key)
        write_log(folder, entries, sign(entries, signer, origin), key)
        cosign_log(folder, agency)

    def drop(self, agency: str, *indices: int) -> None:
        """Leave entries out as if they had never been written, with all that refers to them."""

        def without(entries: list[bytes]) -> list[bytes]:
            gone, kept, places = set(indices), [], {}
            for index, raw in enumerate(entries):
                entry = parse_entry(raw)
                body = parse_body(entry.body)
                if index in gone or body.refers_to in gone:
                    gone.add(index)
                    continue
                places[index] = len(kept)
                if body.refers_to:
                    body = body._replace(refers_to=places[body.refers_to])
                kept.append(replace(entry, body=body.encode()).encode())
            return kept

        self.rewrite(agency, without)

    def alter(self, agency: str, index: int, **fields: object) -> None:
        """Change fields of one entry."""

        def changed(entries: list[bytes]) -> list[bytes]:
            entry = parse_entry(entries[index])
            body = parse_body(entry.body)._replace(**fields)  # type: ignore[arg-type] # fields of a body
            return [*entries[:index], replace(entry, body=body.encode()).encode(), *entries[index + 1 :]]

        self.rewrite(agency, changed)

    def leaf(self, agency: str, index: int) -> bytes:
        return leaf_hash(self.entries(agency)[index])


@contextmanager
def copied(source: Path, target: Path) -> Iterator[Logs]:
    """Copy the homes so that a test may alter them."""
    shutil.copytree(source, target)
    for path in target.rglob("*"):
        os.chmod(path, 0o755 if path.is_dir() else 0o644)
    yield Logs(target)
