"""What was adopted, told and compared when streams open: a higher version is fetched, two digests are evidence.

Records may come from anybody, because their own makers have signed them. Source: design, section 4 (security, row 60).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from audit.entry import Body, Kind, Outcome
from exchange import directory
from exchange.directory import RecordKind
from exchange.node import Node
from exchange.rpc.logs import Log
from exchange.store import AdoptedRecord
from exchange.v1 import node_pb2
from exchange.writer import Group
from exchange.writing import Writing
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.manifest import parse_key_sheet, parse_manifest

MAX_RECORDS = 4096  # of one message; more members than a roster of 1 MiB holds
ADOPTABLE = (RecordKind.MANIFEST, RecordKind.KEY_SHEET)  # in this order: a sheet is signed by a key of the manifest
Fetch = Callable[[RecordKind, str, int], Awaitable[SignedPayload]]


def record_messages(records: Iterable[AdoptedRecord]) -> list[node_pb2.AdoptedRecord]:
    """Name records as they are told to others."""
    return [
        node_pb2.AdoptedRecord(
            kind=node_pb2.RecordKind.ValueType(each.kind),
            agency=each.agency,
            version=each.version,
            digest=each.digest,
        )
        for each in records
    ]


def check_number(records: Sequence[object]) -> None:
    """Refuse more records than there can be; RefusedError TOO_MANY."""
    if len(records) > MAX_RECORDS:
        raise RefusedError("TOO_MANY", f"{len(records)} records, at most {MAX_RECORDS}")


class Adopting:
    """Adopts one record after the other, so that none is lost between two."""

    def __init__(self, node: Node, log: Log) -> None:
        self._node, self._log = node, log
        self._one = asyncio.Lock()

    async def compare(self, told: Sequence[node_pb2.AdoptedRecord], fetch: Fetch) -> None:
        """Hold what a peer has adopted against what we have, and fetch what is newer or contradicts it.

        Args:
            told: As received.
            fetch: Gets a record of a kind, agency and version from that peer.

        Raises:
            RefusedError: TOO_MANY; a record that does not verify.
        """
        check_number(told)
        async with self._one:
            for kind in ADOPTABLE:
                for each in sorted((one for one in told if int(one.kind) == kind), key=lambda one: one.agency):
                    await self._compare(kind, each, fetch)

    async def _compare(self, kind: RecordKind, told: node_pb2.AdoptedRecord, fetch: Fetch) -> None:
        member = self._node.house.federation.roster.member(told.agency)
        if member is None or self._node.reads.meta(_stopped(kind, told.agency)) is not None:
            return
        held = directory.find(self._node.reads, kind, told.agency)
        if held is not None and (
            told.version < held.version or (told.version, told.digest) == (held.version, held.digest)
        ):
            return
        signed = await fetch(kind, told.agency, told.version)
        if _named(kind, signed) != (told.agency, told.version):
            raise RefusedError("WRONG_MAKER", f"asked for a record of {told.agency}, got another")
        try:
            await self._node.adopt(kind, signed)
        except RefusedError as refusal:
            if refusal.code != "EQUIVOCATION":
                raise
            # The signature was good: the same maker has signed two records under one number.
            await self._node.writer.submit(lambda w: _keep(w, kind, told.agency, member.number, signed), _nothing)
            self._log.alarm("two-records-one-version", peer=told.agency, kind=kind.name, version=told.version)
            return
        self._log.write("adopted", peer=told.agency, kind=kind.name, version=told.version)


def _named(kind: RecordKind, signed: SignedPayload) -> tuple[str, int]:
    record = parse_manifest(signed.payload) if kind is RecordKind.MANIFEST else parse_key_sheet(signed.payload)
    return record.agency, record.version


def _keep(writing: Writing, kind: RecordKind, agency: str, number: int, signed: SignedPayload) -> None:
    """Keep the contradicting record as evidence, and adopt nothing of this kind from its maker any more."""
    digest = directory.digest_of(kind, signed)
    index = writing.log.add(Body(kind=Kind.REFUSED, peer=number, outcome=Outcome.EQUIVOCATION, digest=digest))
    writing.rows.add_evidence(index, kind.name.lower(), signed.encode())
    writing.rows.set_meta(_stopped(kind, agency), digest)


def _stopped(kind: RecordKind, agency: str) -> str:
    return f"adoption-stopped/{kind.name.lower()}/{agency}"


def _nothing(value: object, group: Group) -> None:
    return None
