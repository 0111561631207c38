"""A federation for measuring: real keys, homes on disk, every record adopted, bulletins of a wanted size."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from audit.record.statement import Statement
from exchange.authoring.draft import read_draft
from exchange.demo.federation import FoundedFederation, found_federation
from exchange.node import node
from exchange.node.home import open_node
from exchange.node.node import Node
from exchange.records.bulletin import encode_bulletin, recipients_of, uuid7
from exchange.v1.bulletin_pb2 import Bulletin
from keys import dsse
from keys.agency import KeyPlan, Person, make_agency, save_agency
from keys.dsse import SignedPayload
from keys.identity import AgencyId
from keys.keystore import INTERACTIVE

NAME = "bench.example"
SENDER, READERS, ABSENT = "HK-IMMD", ("HK-SB", "TH-DSI"), "TW-NHRC"
AGENCIES = (SENDER, *READERS, ABSENT)
OFFICER = "officer-1"
ROOTS = 4  # agencies with a root of the roster
PASSPHRASE = b"bench"
EXAMPLES = Path(node.__file__).parents[1] / "examples"


@dataclass(frozen=True, kw_only=True)
class Federation(FoundedFederation):
    """A federation with homes."""

    folder: Path

    def home(self, agency: str) -> Path:
        return self.folder / agency


def found(folder: Path, agencies: tuple[str, ...] = AGENCIES, homes: tuple[str, ...] | None = None) -> Federation:
    """Hold the ceremony and write a home for each agency, or for those named."""
    now_ms = node.now_ms()
    people = (Person(id=OFFICER, ceiling=4),)
    keys = [
        make_agency(
            AgencyId(each),
            NAME,
            people,
            now_ms=now_ms,
            random_bytes=os.urandom,
            plan=KeyPlan(roster_root=place < ROOTS),
        )
        for place, each in enumerate(agencies)
    ]
    founded = found_federation(keys, now_ms=now_ms)
    made = Federation(
        folder=folder,
        keys=founded.keys,
        roster=founded.roster,
        manifests=founded.manifests,
        key_sheets=founded.key_sheets,
    )
    for agency in homes or agencies:
        home = made.home(agency)
        save_agency(home, made.keys[agency], lambda _: PASSPHRASE, os.urandom, root_profile=INTERACTIVE)
        made.create_home(home, agency, now_us=node.now_us(), pseudonym_key=os.urandom(32))
    return made


@contextmanager
def opened(made: Federation, agency: str) -> Iterator[Node]:
    """Run one node without sockets."""
    running, _ = open_node(made.home(agency), PASSPHRASE)
    running.start()
    try:
        yield running
    finally:
        running.stop()


def bulletins(number: int, size: int, *recipients: str, first: int = 1, many: bool = False) -> list[Bulletin]:
    """Make so many advisories of about *size* encoded bytes, all different.

    Args:
        number: How many.
        size: In bytes, encoded.
        recipients: Who is addressed.
        first: The first one's serial number.
        many: Fill up with findings instead of words; its rules cost most.
    """
    template = read_draft(next(EXAMPLES.glob("11-advisory*.yaml")).read_bytes()).message
    assert template is not None
    header = template.header
    header.originator, header.author = SENDER, OFFICER
    header.ClearField("case")
    del header.relations[:]
    del header.addressees[:]
    for agency in recipients:
        header.addressees.add(agency=agency, role=1)
    if many:  # as many findings as fit: a return of a long investigation
        finding = template.statements[0]
        while size - len(encode_bulletin(_numbered(template, first))) > finding.ByteSize() + 2:
            template.statements.add().CopyFrom(finding)
    # Then the texts are lengthened, each as much: a real bulletin of this size says the same things at length.
    texts = [each.text[0] for each in template.statements]
    missing = max(0, size - len(encode_bulletin(_numbered(template, first))) - 2 * len(texts)) // len(texts)
    for text in texts:
        text.text += ("; and so on" * size)[:missing]
    return [_numbered(template, serial) for serial in range(first, first + number)]


def _numbered(template: Bulletin, serial: int) -> Bulletin:
    made = Bulletin()
    made.CopyFrom(template)
    made.header.number = f"{SENDER}/ADV/2025/{serial:06d}"
    made.header.bulletin_id = uuid7(made.header.issued_at.ToMilliseconds(), serial.to_bytes(10, "big"))
    return made


def statement_of(message: Bulletin, made: Federation) -> Statement:
    """Make the statement that an author's client makes."""
    return Statement(
        federation_id=made.id,
        salt=os.urandom(32),
        bulletin=encode_bulletin(message),
        roster_digest=made.roster_digest,
        recipients=recipients_of(message.header.addressees, SENDER),
    )


def sign(message: Bulletin, made: Federation) -> SignedPayload:
    """Sign as the author does."""
    signer = made.keys[SENDER].officers[0].keys.signer
    return dsse.sign(statement_of(message, made).encode(), ("statement", signer))


__all__ = ["bulletins", "found", "opened", "sign"]
