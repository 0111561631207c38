"""What was adopted, told and compared on every connection: whoever lacks a record gets it, two digests are evidence.

Records may come from anybody, because their own makers have signed them. Whoever dials fetches what it lacks and
offers what the other side lacks, so that both have it, though one of them may not be able to dial.
Source: docs/design.md, "Manifest and key sheet"; row 60.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from exchange.acts import directory
from exchange.acts.directory import RecordKind
from exchange.acts.forks import enter_strange_sheet
from exchange.acts.node_view import NodeView
from exchange.node.node import Node
from exchange.node.rollback_check import KeyMisuseError, is_strange_sheet, save_strange_sheet
from exchange.rpc.transport.program_log import ProgramLog
from exchange.v1 import node_pb2
from keys.dsse import SignedPayload
from keys.errors import RefusedError, UnavailableError
from keys.identity import AgencyId
from keys.refusals import Cure, cured_by

MAX_RECORDS = 4096  # of one message; more members than a roster of 1 MiB holds
# A record that cannot be adopted now is no fault of whoever tells of it: the stream goes on, and we without the record.
NOBODYS_FAULT = cured_by(Cure.RECORDS, Cure.RENEWAL)
MAX_GIVEN = 4  # records that a peer hands over in one message: each costs a signature's verification
ADOPT_SECONDS = 10.0  # so soon a node that is only starting may adopt
Fetch = Callable[[node_pb2.AdoptedRecord], Awaitable[SignedPayload]]
Told = Sequence[node_pb2.AdoptedRecord]


@dataclass(frozen=True, slots=True)
class KnownRecord:
    """Which record of a kind and agency is in force somewhere."""

    version: int
    digest: bytes
    rank: int  # its place in its maker's order

    def adds_to(self, known: KnownRecord | None) -> bool:
        """Return whether it is newer than what is known, or contradicts it."""
        return known is None or self.rank > known.rank or (self.rank == known.rank and self.digest != known.digest)


Known = dict[tuple[RecordKind, str], KnownRecord]


def known_records(view: NodeView) -> Known:
    """Return the newest record of each kind and agency that is in force here."""
    federation = view.federation
    newest = federation.rosters[-1]
    known: Known = {(RecordKind.ROSTER, ""): KnownRecord(newest.record.version, newest.digest, newest.rank)}
    for kind, adopted in directory.in_force(federation).items():
        for agency, each in adopted.items():
            known[kind, agency] = KnownRecord(each.record.version, each.digest, each.rank)
    return known


def record_messages(known: Known) -> list[node_pb2.AdoptedRecord]:
    """Name records as they are told to others, ascending by kind and agency."""
    return [
        node_pb2.AdoptedRecord(
            kind=node_pb2.RecordKind.ValueType(kind),
            agency=agency,
            version=each.version,
            digest=each.digest,
            rank=each.rank,
        )
        for (kind, agency), each in sorted(known.items(), key=lambda item: item[0])
    ]


def told_records(told: Told) -> Known:
    """Return what somebody has told of, kinds that we do not know left out; nodes of before tell no rank."""
    kinds = RecordKind.__members__.values()
    return {
        (RecordKind(int(each.kind)), each.agency): KnownRecord(each.version, each.digest, each.rank or each.version)
        for each in told
        if int(each.kind) in kinds
    }


def check_number(records: Sequence[object]) -> None:
    """Refuse more records than there can be; RefusedError TOO_MANY."""
    if len(records) > MAX_RECORDS:
        raise RefusedError("TOO_MANY", f"{len(records)} records, at most {MAX_RECORDS}")


class RecordAdoption:
    """Adopts one record after the other, so that none is fetched twice."""

    def __init__(self, node: Node, log: ProgramLog, now_ms: Callable[[], int]) -> None:
        self._node, self._log, self._now_ms = node, log, now_ms
        self._one = asyncio.Lock()
        self.on_heard: list[Callable[[AgencyId, Sequence[str]], None]] = []  # told where a member is, not yet adopted
        # Who has signed two records under one number is believed no third before a person has looked and adopted one.
        self._stopped = {what for position, what, _ in node.store.evidence() if not _is_settled(node, what, position)}

    async def compare(self, told: Iterable[node_pb2.AdoptedRecord], fetch: Fetch, peer: AgencyId) -> None:
        """Hold what a peer has adopted against what we have, and fetch what is newer or contradicts it.

        Args:
            told: As received.
            fetch: Gets one of them from that peer.
            peer: Who tells it.

        Raises:
            RefusedError: TOO_MANY; a record that does not verify.
            KeyMisuseError: It is a key sheet of ours that this node did not make; from now on nothing is signed.
        """
        told = list(told)
        if not self.wanted(told):
            return
        async with self._one:
            for each in self.wanted(told):
                signed = await fetch(each)
                kind = RecordKind(int(each.kind))
                if directory.named(kind, signed) != (each.agency, each.version):
                    raise RefusedError("WRONG_MAKER", f"asked for a record of {each.agency}, got another")
                await self._adopt(kind, signed, peer)

    def wanted(self, told: Told) -> Told:
        """Return what of the records told of is newer here or contradicts what is here, in the order of adoption.

        Raises:
            RefusedError: TOO_MANY.
        """
        check_number(told)
        known = known_records(self._node.view)
        fresh = {key for key, each in told_records(told).items() if each.adds_to(known.get(key))}
        return [
            each
            for kind in directory.ADOPTABLE
            for each in told
            if int(each.kind) == kind and (kind, each.agency) in fresh and not self._is_stopped(kind, each.agency)
        ]

    async def hear(self, signed: SignedPayload, peer: AgencyId) -> None:
        """Adopt a record that a peer has handed over; one that is known, older or not to be adopted now is left.

        As long as this node signs nothing it adopts nothing. What a manifest says of where its maker is counts at once:
        whoever has moved while we were away is else never asked what it holds of us, and we never start.

        Raises:
            RefusedError: It does not verify.
            KeyMisuseError: As ``compare``.
        """
        kind = directory.kind_of_record(signed)
        agency, _ = directory.named(kind, signed)
        if self._node.writer.suspended:
            self._listen(kind, signed)
            return
        async with self._one:
            if not self._is_stopped(kind, agency) and not directory.is_known(self._node.reads, kind, signed):
                await self._adopt(kind, signed, peer)

    def _listen(self, kind: RecordKind, signed: SignedPayload) -> None:
        if kind is RecordKind.MANIFEST:
            federation = directory.with_record(kind, signed, self._node.view.federation, self._now_ms())
            agency, _ = directory.named(kind, signed)
            for tell in self.on_heard:
                tell(agency, federation.manifests[agency].record.endpoints)

    async def take(self, signed: SignedPayload) -> bool:
        """Adopt a record that our operator has at hand, our own included; in force when this returns.

        Returns:
            Whether it is new here.

        Raises:
            RefusedError: As ``directory.adopt`` and ``check_own``; nothing of it is kept, but for what proves
                equivocation.
            UnavailableError: This node signs nothing now; where a manifest says its maker is, it is asked all the same.
        """
        kind = directory.kind_of_record(signed)
        if self._node.writer.suspended:
            self._listen(kind, signed)
            raise UnavailableError(f"nothing is adopted yet: {self._node.writer.suspended}", ADOPT_SECONDS)
        async with self._one:
            if directory.is_known(self._node.reads, kind, signed):
                return False
            agency, version = directory.named(kind, signed)
            directory.check_own(kind, signed, self._node.view, self._now_ms())
            try:
                await self._node.adopt(kind, signed)
            except RefusedError as refusal:
                if refusal.code == "EQUIVOCATION":
                    self._stop(kind, agency, version)
                raise
            self._stopped.discard(directory.evidence_name(kind, agency))  # a person has looked
        self._log.write("adopted", peer=agency, kind=kind.name, version=version)
        return True

    def _is_stopped(self, kind: RecordKind, agency: str) -> bool:
        known = self._node.view.federation.roster.member(agency) is not None
        return not known or directory.evidence_name(kind, agency) in self._stopped

    async def _adopt(self, kind: RecordKind, signed: SignedPayload, peer: AgencyId) -> None:
        agency, version = directory.named(kind, signed)
        try:
            if kind is RecordKind.KEY_SHEET and agency == self._node.view.agency:
                await self._check_ours(signed, peer)
            else:
                await self._node.adopt(kind, signed)
        except RefusedError as refusal:
            if refusal.code == "REPLAYED":
                return  # a newer one came in meanwhile
            if refusal.code in NOBODYS_FAULT:
                self._log.write("refused", peer=agency, kind=kind.name, version=version, code=refusal.code)
                return
            if refusal.code != "EQUIVOCATION":
                raise
            self._stop(kind, agency, version)
            return
        self._log.write("adopted", peer=agency, kind=kind.name, version=version)

    async def _check_ours(self, signed: SignedPayload, peer: AgencyId) -> None:
        """Stop where a peer shows a key sheet of ours that we did not make: no other one of ours is learnt from peers."""
        node = self._node
        if not is_strange_sheet(signed, node.view, self._now_ms()):
            raise RefusedError("REPLAYED", "an older key sheet of ours")
        number = node.view.member_number(peer)
        await node.writer.submit(lambda work: enter_strange_sheet(work, number, signed))
        error = KeyMisuseError(peer, signed, save_strange_sheet(node.paths.home, signed))
        self._log.alarm("own-key-misused", peer=peer, kind=RecordKind.KEY_SHEET.name)
        node.fail(error)
        raise error

    def _stop(self, kind: RecordKind, agency: str, version: int) -> None:
        self._stopped.add(directory.evidence_name(kind, agency))
        self._log.alarm("two-records-one-version", peer=agency, kind=kind.name, version=version)


def _is_settled(node: Node, what: str, position: int) -> bool:
    """Return whether a record was adopted behind the evidence against its maker: only an operator does that."""
    kept = node.store.reader().records()
    names = directory.ADOPTABLE
    return any(
        each.position > position and directory.evidence_name(RecordKind(each.kind), each.agency) == what
        for each in kept
        if each.kind in names
    )
