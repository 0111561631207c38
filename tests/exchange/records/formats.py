"""A small fixed world for the formats: keys from seeds, one statement, its dispatch, a lane, a log that answers.

Everything here is deterministic but what the libraries seal: wraps and bodies differ each time they are made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from audit.entry.entry import Body, Entry, Kind, genesis_previous, leaf_hash
from audit.note.checkpoint import Checkpoint, VerifierKey, sign_checkpoint
from audit.record.dispatch import Absent, AbsentReason, Urgency, dispatch_digest
from audit.record.lane import Delivery, LaneClass, LaneHead, LaneId, delivery_digest
from audit.record.statement import LogHead, Statement, opening
from audit.tree.multiproof import places_of
from exchange.records import seal_order
from exchange.records.receipt import Receipt, make_receipt
from exchange.records.seal_order import SealOrder
from exchange.records.sealed_statement import Sealed, sign_sealed
from exchange.records.shared_receipts import SharedReceipts
from exchange.v1 import bulletin_pb2
from keys.dsse import SignedPayload, sign
from keys.identity import AgencyId, Usage, federation_id
from keys.seal import EncryptionKey
from keys.signer import Ed25519Signer

NOW_MS = 1_792_000_000_000  # an October day of 2026
BULLETIN_ID = bytes.fromhex("01996a3c0f2a7b3c8d4e5f60718293a4")
SENDER, PEER, OTHER, KEYLESS = (AgencyId(name) for name in ("HK-IMMD", "MY-PDRM", "TH-DSI", "KH-GDI"))
OUR_NUMBER = 3  # the sender's member number, as the peer's log names it


def seed(name: str) -> bytes:
    """Return the 32 fixed bytes of a name."""
    return hashlib.sha256(b"exchange format vectors: " + name.encode()).digest()


FEDERATION = federation_id(b"the payload of a first roster, for these tests only")
AUTHOR = Ed25519Signer.from_seed(Usage.OFFICER, "HK-IMMD/lee", seed("author"))
RELEASER = Ed25519Signer.from_seed(Usage.OFFICER, "HK-IMMD/chan", seed("releaser"))
OPERATIONS = Ed25519Signer.from_seed(Usage.AGENCY, SENDER, seed("operations"))
STRANGER = Ed25519Signer.from_seed(Usage.AGENCY, OTHER, seed("stranger"))
LOG = Ed25519Signer.from_seed(Usage.LOG, PEER, seed("log"))
ENCRYPTION = {agency: EncryptionKey.from_seed(agency, seed(agency)) for agency in (PEER, OTHER)}
KEYS = {signer.key.key_id: signer.key for signer in (AUTHOR, RELEASER, OPERATIONS, STRANGER)}
ORIGIN = "my-pdrm.exercise.example/log/1"
VKEY = VerifierKey(name=ORIGIN, key=LOG.key.public_key)
CONTENT_KEY = seed("content key")


def bulletin() -> bytes:
    """Return a short bulletin; the formats never look inside."""
    header = bulletin_pb2.Header(
        bulletin_id="01996a3c-0f2a-7b3c-8d4e-5f60718293a4",
        number="HK-IMMD/RCL/2026/000001",
        originator=SENDER,
        addressees=[bulletin_pb2.Addressee(agency=agency, role=1) for agency in (OTHER, PEER, KEYLESS)],
        author="lee",
    )
    return bulletin_pb2.Bulletin(header=header).SerializeToString(deterministic=True)


STATEMENT = Statement(
    federation_id=FEDERATION,
    salt=seed("salt"),
    bulletin=bulletin(),
    roster_digest=seed("roster"),
    recipients=(KEYLESS, PEER, OTHER),
    log_head=LogHead(origin="hk-immd.exercise.example/log/1", size=41, root=seed("root")),
)


def signed_statement(*, released: bool = False, statement: Statement = STATEMENT) -> SignedPayload:
    """Sign the statement as its author and, if asked, release it."""
    pairs = [("statement", AUTHOR), ("release", RELEASER)]
    return sign(statement.encode(), *pairs[: 1 + released])


def seal(signed: SignedPayload | None = None, *, statement: Statement = STATEMENT) -> Sealed:
    """Seal for both agencies that have keys; the third is absent."""
    order = SealOrder(
        federation_id=statement.federation_id,
        sender=SENDER,
        bulletin_id=BULLETIN_ID,
        urgency=Urgency.URGENT,
        expires_ms=NOW_MS + 86_400_000,
        content_key=CONTENT_KEY,
        signed=signed or signed_statement(statement=statement),
        recipients=tuple(ENCRYPTION[agency].public for agency in sorted(ENCRYPTION)),
        absent=(Absent(agency=KEYLESS, reason=AbsentReason.NO_KEY),),
    )
    return sign_sealed(seal_order.seal(order, statement), CONTENT_KEY, OPERATIONS)


LANE = LaneId(federation_id=FEDERATION, sender=SENDER, recipient=PEER, lane_class=LaneClass.URGENT, epoch=1)


def chain(
    count: int, *, lane: LaneId = LANE, first: int = 1, previous: bytes = bytes(32), mark: str = ""
) -> list[bytes]:
    """Return consecutive deliveries of one lane; another *mark* makes other ones."""
    payloads = []
    for sequence in range(first, first + count):
        delivery = Delivery(
            lane=lane,
            sequence=sequence,
            previous=previous,
            dispatch_digest=dispatch_digest(f"dispatch {mark}{sequence}".encode()),
            time_ms=NOW_MS + sequence,
        )
        payloads.append(delivery.encode())
        previous = delivery_digest(payloads[-1])
    return payloads


def head_of(payloads: Sequence[bytes], last: int, **changes: object) -> LaneHead:
    """Return the head of a message that ends in delivery *last*."""
    digest = delivery_digest(payloads[-1]) if payloads else bytes(32)
    head = LaneHead(lane=LANE, sequence=last, delivery_digest=digest, latest=last, time_ms=NOW_MS + 10 * last)
    return replace(head, **changes)  # type: ignore[arg-type] # wrong or merged on purpose


def sign_head(head: LaneHead, signer: Ed25519Signer = OPERATIONS) -> SignedPayload:
    """Sign a lane head."""
    return sign(head.encode(), ("lane-head", signer))


class SmallLog:
    """A log in memory, its proofs made by the recursive definition of RFC 6962."""

    def __init__(self, origin: str = ORIGIN, final_root: bytes | None = None) -> None:
        self.origin, self.entries = origin, list[bytes]()
        self.previous = genesis_previous(origin, final_root)
        self.append(Body(kind=Kind.GENESIS, digest=FEDERATION).encode())

    def append(self, body: bytes) -> int:
        """Append an entry with these body bytes; return its index."""
        index = len(self.entries)
        entry = Entry(index=index, time_us=NOW_MS * 1000 + index, previous=self.previous, body=body).encode()
        self.entries.append(entry)
        self.previous = leaf_hash(entry)
        return index

    def note(self) -> str:
        """Return the signed checkpoint over all entries."""
        leaves = [leaf_hash(entry) for entry in self.entries]
        return sign_checkpoint(Checkpoint(origin=self.origin, size=len(leaves), root=_root(leaves)), LOG)

    def receipt(self, index: int) -> Receipt:
        """Return the receipt of an entry."""
        leaves = [leaf_hash(entry) for entry in self.entries]
        return make_receipt(self.entries[index], index, _path(leaves, index), self.note())

    def shared(self, *indices: int) -> SharedReceipts:
        """Return the receipts of entries, ascending, as those of deliveries 1, 2, 3 … travel together."""
        leaves = [leaf_hash(entry) for entry in self.entries]
        nodes = places_of(indices, len(leaves))
        return SharedReceipts(
            note=self.note(),
            sequences=tuple(range(1, len(indices) + 1)),
            entries=tuple(self.entries[index] for index in indices),
            hashes=tuple(_root(leaves[at << height : at + 1 << height]) for height, at in nodes),
        )


def answer(kind: Kind, dispatch: bytes, delivery: bytes, **changes: object) -> Body:
    """Return the body of an entry that answers a delivery."""
    body = Body(kind=kind, peer=OUR_NUMBER, dispatch_digest=dispatch, delivery_digest=delivery)
    if kind is Kind.RECEIVED:
        body = body._replace(opening=opening(STATEMENT.salt, delivery))
    return body._replace(**changes)  # type: ignore[arg-type] # wrong or merged on purpose


def _root(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    cut = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + _root(leaves[:cut]) + _root(leaves[cut:])).digest()


def _path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    if len(leaves) == 1:
        return []
    cut = 1 << (len(leaves) - 1).bit_length() - 1
    if index < cut:
        return [*_path(leaves[:cut], index), _root(leaves[cut:])]
    return [*_path(leaves[cut:], index - cut), _root(leaves[:cut])]
