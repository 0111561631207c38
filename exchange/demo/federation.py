"""The one builder of federations: for the demo, the tests and the benchmarks, which differ in keys, clock and homes.

What comes out is what a real ceremony leaves: roster 1 with every root's signature, and each agency's manifest and key
sheet. Only the meeting is missing: all keys are in one process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from exchange.acts.directory import FirstRecords
from exchange.node import node
from exchange.rules.catalogue import packaged_catalogue
from keys.agency import AgencyKeys
from keys.ceremony import (
    FOUNDING,
    RosterTerms,
    agency_key_sheet,
    agency_manifest,
    make_roster_1,
    member_of,
    sign_roster,
)
from keys.dsse import SignedPayload
from keys.external_witness import ExternalWitness
from keys.federation import Federation
from keys.identity import AgencyId, federation_id, record_digest
from keys.roster import catalogue_digest

NOWHERE = "127.0.0.1:1"  # nobody listens there; nodes are told of each other's ports as they start


@dataclass(frozen=True, kw_only=True)
class FoundedFederation:
    """Everybody's keys and the records that they signed."""

    keys: Mapping[str, AgencyKeys] = field(repr=False)
    roster: SignedPayload
    manifests: Mapping[str, SignedPayload]
    key_sheets: Mapping[str, SignedPayload]

    @cached_property
    def id(self) -> bytes:
        """The federation's, 32 bytes."""
        return federation_id(self.roster.payload)

    @cached_property
    def roster_digest(self) -> bytes:
        """The first roster's, 32 bytes."""
        return record_digest("roster", self.roster.payload)

    def adopted(self, now_ms: int) -> Federation:
        """Return the federation as one sees it who has adopted every record."""
        federation = Federation.found(self.roster)
        for record in self.manifests.values():
            federation = federation.with_manifest(record, now_ms)
        for record in self.key_sheets.values():
            federation = federation.with_key_sheet(record, now_ms)
        return federation

    def records_but(self, agency: str) -> list[SignedPayload]:
        """Return all others' manifests and key sheets, each agency's manifest first."""
        return [
            record
            for other in self.manifests
            if other != agency
            for record in (self.manifests[other], self.key_sheets[other])
        ]

    def first_records(self, agency: str, *, introduced: bool = True) -> FirstRecords:
        """Return what an agency's log begins with, the others' records with it if they are introduced."""
        return FirstRecords(
            agency=AgencyId(agency),
            roster=self.roster,
            manifest=self.manifests[agency],
            key_sheet=self.key_sheets[agency],
            catalogue=packaged_catalogue().files,
            others=self.records_but(agency) if introduced else (),
        )

    def create_home(
        self,
        home: Path,
        agency: str,
        *,
        now_us: int,
        pseudonym_key: bytes = bytes(32),
        introduced: bool = True,
        make_state: node.MakeState | None = None,
    ) -> None:
        """Make store, lock and first entries of an agency's node.

        Args:
            home: Its folder, which is there.
            agency: Whose node it is.
            now_us: Microseconds UTC, of the first entries.
            pseudonym_key: 32 bytes.
            introduced: The others' records are adopted from the start.
            make_state: Makes lock and store; those of a home without settings if not given.
        """
        first = self.first_records(agency, introduced=introduced)
        node.create(home, first, pseudonym_key=pseudonym_key, now_us=now_us, make_state=make_state)


def found_federation(
    agencies: Sequence[AgencyKeys],
    *,
    now_ms: int,
    endpoints: Mapping[str, str] | None = None,
    catalogue: bytes | None = None,
    witnesses: Sequence[ExternalWitness] = (),
    terms: RosterTerms = FOUNDING,
) -> FoundedFederation:
    """Hold the ceremony: roster 1, then everybody's manifest and key sheet.

    Args:
        agencies: Their keys, all made for one federation name.
        now_ms: Of all records, milliseconds UTC.
        endpoints: Where each one's node listens for peers; nowhere if not given.
        catalogue: The catalogue's digest; the packaged one's if not given.
        witnesses: External witnesses that the roster names.
        terms: Of the roster.
    """
    roster = found_roster(agencies, now_ms=now_ms, catalogue=catalogue, witnesses=witnesses, terms=terms)
    at = endpoints or {}
    return FoundedFederation(
        keys={keys.agency: keys for keys in agencies},
        roster=roster,
        manifests={
            keys.agency: agency_manifest(keys, roster, [at.get(keys.agency, NOWHERE)], now_ms) for keys in agencies
        },
        key_sheets={keys.agency: agency_key_sheet(keys, roster, now_ms) for keys in agencies},
    )


def found_roster(
    agencies: Sequence[AgencyKeys],
    *,
    now_ms: int,
    catalogue: bytes | None = None,
    witnesses: Sequence[ExternalWitness] = (),
    terms: RosterTerms = FOUNDING,
) -> SignedPayload:
    """Return roster 1, signed by every root that an agency brings."""
    digest = catalogue_digest(packaged_catalogue().files) if catalogue is None else catalogue
    applications = [member_of(keys) for keys in agencies]
    roster = make_roster_1(applications, catalogue_digest=digest, now_ms=now_ms, witnesses=witnesses, terms=terms)
    for keys in agencies:
        if keys.root.roster_root is not None:
            roster = sign_roster(roster, keys.root.roster_root)
    return roster
