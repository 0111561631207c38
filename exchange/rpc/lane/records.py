"""What was adopted, told and compared when streams open: a higher version is fetched, two digests are evidence.

Records may come from anybody, because their own makers have signed them. Source: docs/design.md, "Manifest and key sheet"; row 60.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from exchange.acts import directory
from exchange.acts.directory import RecordKind
from exchange.acts.node_view import NodeView
from exchange.node.node import Node
from exchange.rpc.transport.program_log import ProgramLog
from exchange.v1 import node_pb2
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.refusals import Cure, cured_by

MAX_RECORDS = 4096  # of one message; more members than a roster of 1 MiB holds
ADOPTABLE = (RecordKind.MANIFEST, RecordKind.KEY_SHEET)  # in this order: a sheet is signed by a key of the manifest
# A record that cannot be adopted now is no fault of whoever tells of it: the stream goes on, and we without the record.
NOBODYS_FAULT = cured_by(Cure.RECORDS, Cure.RENEWAL)
Fetch = Callable[[RecordKind, str, int], Awaitable[SignedPayload]]
Known = dict[tuple[RecordKind, str], tuple[int, bytes]]


def known_records(view: NodeView) -> Known:
    """Return version and digest of the newest record of each kind and agency that is in force here."""
    federation = view.federation
    known: Known = {(RecordKind.ROSTER, ""): (federation.roster.version, federation.roster_digest)}
    for agency, manifest in federation.manifests.items():
        known[RecordKind.MANIFEST, agency] = (manifest.record.version, manifest.digest)
    for agency, sheet in federation.key_sheets.items():
        known[RecordKind.KEY_SHEET, agency] = (sheet.record.version, sheet.digest)
    return known


def record_messages(known: Known) -> list[node_pb2.AdoptedRecord]:
    """Name records as they are told to others, ascending by kind and agency."""
    return [
        node_pb2.AdoptedRecord(kind=node_pb2.RecordKind.ValueType(kind), agency=agency, version=version, digest=digest)
        for (kind, agency), (version, digest) in sorted(known.items())
    ]


def check_number(records: Sequence[object]) -> None:
    """Refuse more records than there can be; RefusedError TOO_MANY."""
    if len(records) > MAX_RECORDS:
        raise RefusedError("TOO_MANY", f"{len(records)} records, at most {MAX_RECORDS}")


class RecordAdoption:
    """Adopts one record after the other, so that none is fetched twice."""

    def __init__(self, node: Node, log: ProgramLog) -> None:
        self._node, self._log = node, log
        self._one = asyncio.Lock()
        # Who has signed two records under one number is believed no third, before a person has looked.
        self._stopped = {what for _, what, _ in node.store.evidence()}

    async def compare(self, told: Iterable[node_pb2.AdoptedRecord], fetch: Fetch) -> None:
        """Hold what a peer has adopted against what we have, and fetch what is newer or contradicts it.

        Args:
            told: As received.
            fetch: Gets a record of a kind, agency and version from that peer.

        Raises:
            RefusedError: TOO_MANY; a record that does not verify.
        """
        told = list(told)
        check_number(told)
        if not self._wanted(told):
            return
        async with self._one:
            for kind, each in self._wanted(told):
                await self._adopt(kind, each, fetch)

    async def take(self, signed: SignedPayload) -> bool:
        """Adopt a record that our operator has at hand, our own included; in force when this returns.

        Returns:
            Whether it is new here.

        Raises:
            RefusedError: As ``directory.adopt``; nothing of it is kept, but for what proves equivocation.
            UnavailableError: This node signs nothing now.
        """
        kind = directory.kind_of_record(signed)
        async with self._one:
            if directory.is_known(self._node.reads, kind, signed):
                return False
            agency, version = directory.named(kind, signed)
            try:
                await self._node.adopt(kind, signed)
            except RefusedError as refusal:
                if refusal.code == "EQUIVOCATION":
                    self._stop(kind, agency, version)
                raise
        self._log.write("adopted", peer=agency, kind=kind.name, version=version)
        return True

    def _wanted(self, told: list[node_pb2.AdoptedRecord]) -> list[tuple[RecordKind, node_pb2.AdoptedRecord]]:
        """Pick what must be fetched: manifests first."""
        known = known_records(self._node.view)
        wanted = []
        for kind in ADOPTABLE:
            for each in told:
                version, digest = known.get((kind, each.agency), (0, b""))
                newer = each.version > version or (each.version == version and each.digest != digest)
                if int(each.kind) == kind and newer and not self._is_stopped(kind, each.agency):
                    wanted.append((kind, each))
        return wanted

    def _is_stopped(self, kind: RecordKind, agency: str) -> bool:
        known = self._node.view.federation.roster.member(agency) is not None
        return not known or directory.evidence_name(kind, agency) in self._stopped

    async def _adopt(self, kind: RecordKind, told: node_pb2.AdoptedRecord, fetch: Fetch) -> None:
        signed = await fetch(kind, told.agency, told.version)
        if directory.named(kind, signed) != (told.agency, told.version):
            raise RefusedError("WRONG_MAKER", f"asked for a record of {told.agency}, got another")
        try:
            await self._node.adopt(kind, signed)
        except RefusedError as refusal:
            if refusal.code in NOBODYS_FAULT:
                self._log.write("refused", peer=told.agency, kind=kind.name, version=told.version, code=refusal.code)
                return
            if refusal.code != "EQUIVOCATION":
                raise
            self._stop(kind, told.agency, told.version)
            return
        self._log.write("adopted", peer=told.agency, kind=kind.name, version=told.version)

    def _stop(self, kind: RecordKind, agency: str, version: int) -> None:
        self._stopped.add(directory.evidence_name(kind, agency))
        self._log.alarm("two-records-one-version", peer=agency, kind=kind.name, version=version)
