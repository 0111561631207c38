"""What a node believes at one moment: rosters, manifests, key sheets, in one immutable value with fast look-ups.

Adoption makes a new value after verification; an agency's records only rise in their order (*rank*), and two digests at
one place of it are equivocation. Whoever steals an operations key can use up the versions of key sheets under one
manifest, and none under the next; the same with a root and its manifests (docs/design.md, "Manifest and key sheet").
Who is not a member that takes part, and whose manifest has expired, has no keys here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from keys.bounds import require
from keys.dsse import SignedPayload
from keys.durations import DAY_MS
from keys.errors import RefusedError
from keys.identity import AgencyId, federation_id, record_digest, short
from keys.key_sheet import KeySheet, TlsPin, parse_key_sheet, verify_key_sheet
from keys.manifest import Manifest, Officer, parse_manifest, verify_manifest
from keys.roster import Member, Roster, claim_raw_keys, verify_first_roster
from keys.signer import PublicKey
from keys.timed_key import rank_of, shown_rank

GRACE_MS = 30 * DAY_MS  # traffic goes on so long under a roster that has expired or been replaced

_R = TypeVar("_R", Roster, Manifest, KeySheet)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted(Generic[_R]):
    """A verified record with its digest and its bytes as received."""

    record: _R
    digest: bytes
    signed: SignedPayload
    rank: int  # its place in its maker's order; of a roster its version

    def __iter__(self) -> Iterator[object]:
        """Unpack as (record, digest, signed)."""
        return iter((self.record, self.digest, self.signed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Federation:
    """Everything adopted; look-ups are dictionary reads, because each message needs several."""

    federation_id: bytes
    rosters: tuple[Adopted[Roster], ...]  # oldest first
    manifests: Mapping[AgencyId, Adopted[Manifest]] = field(default_factory=dict)
    key_sheets: Mapping[AgencyId, Adopted[KeySheet]] = field(default_factory=dict)
    raw_keys: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)  # raw key → key id, for ever

    @classmethod
    def found(cls, signed: SignedPayload) -> Federation:
        """Begin with roster 1, whose digest a person has compared; errors as ``verify_first_roster``."""
        roster = verify_first_roster(signed)
        digest = record_digest("roster", signed.payload)
        adopted = Adopted(record=roster, digest=digest, signed=signed, rank=roster.version)
        return cls(
            federation_id=federation_id(signed.payload),
            rosters=(adopted,),
            raw_keys=claim_raw_keys({}, roster.records),
        )

    @property
    def roster(self) -> Roster:
        """The newest roster."""
        return self.rosters[-1].record

    @property
    def roster_digest(self) -> bytes:
        """The newest roster's digest."""
        return self.rosters[-1].digest

    @property
    def name(self) -> str:
        """The federation's name, a dNSName."""
        return self.roster.federation_name

    def roster_by_digest(self, digest: bytes) -> Roster:
        """Find the roster that a statement names; RefusedError ROSTER_UNKNOWN."""
        for each in self.rosters:
            if each.digest == digest:
                return each.record
        raise RefusedError("ROSTER_UNKNOWN", f"roster {short(digest)} is not known here")

    def check_traffic(self, now_ms: int) -> None:
        """Refuse traffic 30 days after the newest roster has expired: ROSTER_EXPIRED."""
        late = now_ms >= self.roster.expires_ms + GRACE_MS
        require(not late, "the roster has expired more than 30 days ago", "ROSTER_EXPIRED")

    def member(self, agency: str, now_ms: int) -> Member:
        """Find a member that takes part now; RefusedError NOT_A_MEMBER if it is unknown, suspended or left."""
        found = self.roster.member(agency)
        if found is None or not found.takes_part(now_ms):
            raise RefusedError("NOT_A_MEMBER", f"{agency} does not take part in roster {self.roster.version}")
        return found

    def manifest(self, agency: str, now_ms: int) -> Manifest:
        """Return a member's manifest; RefusedError NOT_A_MEMBER, SIGNER_UNKNOWN (none known), MANIFEST_EXPIRED."""
        member = self.member(agency, now_ms)
        manifest = self.newest_manifest(member.agency)
        require(now_ms < manifest.expires_ms, f"the manifest of {agency} has expired", "MANIFEST_EXPIRED")
        return manifest

    def newest_manifest(self, agency: str) -> Manifest:
        """Return an agency's newest manifest, expired or not: for what was there before; SIGNER_UNKNOWN if none is known."""
        known = self.manifests.get(AgencyId(agency))
        if known is None:
            raise RefusedError("SIGNER_UNKNOWN", f"no manifest of {agency} is known here")
        return known.record

    def issuing(self, agency: AgencyId) -> bytes:
        """Return the certificate of the key that may renew a member's node leaf; empty where its manifest names none."""
        known = self.manifests.get(agency)
        return known.record.issuing if known is not None else b""

    def key_sheet(self, agency: str, now_ms: int) -> KeySheet:
        """Return a member's key sheet; RefusedError NOT_A_MEMBER, KEY_SHEET_EXPIRED (none known counts as expired)."""
        member = self.member(agency, now_ms)
        known = self.key_sheets.get(member.agency)
        if known is None or now_ms >= known.record.expires_ms:
            raise RefusedError("KEY_SHEET_EXPIRED", f"no key sheet of {agency} holds now")
        return known.record

    def operations_key(self, agency: str, key_id: bytes, now_ms: int) -> PublicKey:
        """Find an agency's operations key; errors as ``manifest``, and SIGNER_UNKNOWN, KEY_EXPIRED."""
        return self.manifest(agency, now_ms).operations_key(key_id, now_ms)

    def person(self, agency: str, key_id: bytes, now_ms: int) -> tuple[Officer, PublicKey]:
        """Find an officer or a system by the key; errors as ``manifest``, and SIGNER_UNKNOWN, KEY_EXPIRED."""
        return self.manifest(agency, now_ms).person(key_id, now_ms)

    def encryption_key(self, agency: str, now_ms: int) -> PublicKey | None:
        """Return the key to wrap for now, or None where the agency has no key sheet in force or no window holds.

        Raises:
            RefusedError: NOT_A_MEMBER.
        """
        self.member(agency, now_ms)
        known = self.key_sheets.get(AgencyId(agency))
        if known is None or now_ms >= known.record.expires_ms:
            return None
        return known.record.encryption_key(now_ms)

    def pin(self, agency: str, spki_sha256: bytes) -> TlsPin | None:
        """Find a pin in an agency's newest key sheet; whether the sheet and the member hold, others ask."""
        known = self.key_sheets.get(AgencyId(agency))
        return known.record.pins_by_spki.get(spki_sha256) if known is not None else None

    def with_manifest(self, signed: SignedPayload, now_ms: int) -> Federation:
        """Adopt a manifest after verification; the same one again changes nothing.

        Raises:
            RefusedError: As ``verify_manifest``; ROSTER_EXPIRED, NOT_A_MEMBER, REPLAYED for a lower rank,
                EQUIVOCATION for another one of the same rank, MALFORMED for a raw key under a second key id.
        """
        self.check_traffic(now_ms)
        member = self.member(parse_manifest(signed.payload).agency, now_ms)
        return self._with_manifest(signed, verify_manifest(signed, member, self.federation_id, now_ms))

    def with_key_sheet(self, signed: SignedPayload, now_ms: int) -> Federation:
        """Adopt a key sheet after verification; the same one again changes nothing.

        Raises:
            RefusedError: As ``verify_key_sheet`` and ``manifest``; ROSTER_EXPIRED, REPLAYED, EQUIVOCATION.
        """
        self.check_traffic(now_ms)
        manifest = self.manifest(parse_key_sheet(signed.payload).agency, now_ms)
        return self._with_key_sheet(signed, verify_key_sheet(signed, manifest, self.federation_id, now_ms))

    def with_manifest_of_before(self, signed: SignedPayload) -> Federation:
        """Take up again a manifest that was adopted once, whatever has run out since; only its time is not judged.

        Raises:
            RefusedError: As ``with_manifest``.
        """
        agency, by = parse_manifest(signed.payload).agency, {each.key_id for each in signed.signatures}
        listed = [each.record.member(agency) for each in self.rosters]
        found = [each for each in listed if each is not None and each.root_key.key_id in by]
        if not found:
            raise RefusedError("SIGNER_UNKNOWN", f"no roster names the root that signed this manifest of {agency}")
        return self._with_manifest(signed, verify_manifest(signed, found[-1], self.federation_id, None))

    def with_key_sheet_of_before(self, signed: SignedPayload) -> Federation:
        """Take up again a key sheet that was adopted once, whatever has run out since; only its time is not judged.

        Raises:
            RefusedError: As ``with_key_sheet``.
        """
        manifest = self.newest_manifest(parse_key_sheet(signed.payload).agency)
        return self._with_key_sheet(signed, verify_key_sheet(signed, manifest, self.federation_id, None))

    def root_sequence(self, agency: str, root: bytes) -> int:
        """Count the roots that the rosters have named for a member before this one, by its key id."""
        members = (each.record.member(agency) for each in self.rosters)
        return list(dict.fromkeys(each.root_key.key_id for each in members if each is not None)).index(root)

    def _with_manifest(self, signed: SignedPayload, manifest: Manifest) -> Federation:
        agency, digest = manifest.agency, record_digest("manifest", signed.payload)
        rank = rank_of(self.root_sequence(agency, signed.signatures[0].key_id), manifest.version)
        if _same(self.manifests.get(agency), rank, digest):
            return self
        sheets, known = self.key_sheets, self.key_sheets.get(agency)
        if known is not None and known.record.manifest_version > manifest.version:
            # It names a manifest of a root that is replaced: it must not stand above every sheet of the new one.
            sheets = {each: sheet for each, sheet in sheets.items() if each != agency}
        return replace(
            self,
            manifests={**self.manifests, agency: Adopted(record=manifest, digest=digest, signed=signed, rank=rank)},
            key_sheets=sheets,
            raw_keys=claim_raw_keys(self.raw_keys, manifest.records),
        )

    def _with_key_sheet(self, signed: SignedPayload, sheet: KeySheet) -> Federation:
        agency, digest = sheet.agency, record_digest("key-sheet", signed.payload)
        if _same(self.key_sheets.get(agency), sheet.rank, digest):
            return self
        adopted = Adopted(record=sheet, digest=digest, signed=signed, rank=sheet.rank)
        return replace(self, key_sheets={**self.key_sheets, agency: adopted})


def _same(known: Adopted[Manifest] | Adopted[KeySheet] | None, rank: int, digest: bytes) -> bool:
    """Return whether a record is the one known; refuse it if it is older, or another one of the same rank."""
    if known is None or rank > known.rank:
        return False
    if digest == known.digest:
        return True
    maker, version = known.record.agency, shown_rank(rank)
    if rank == known.rank:
        raise RefusedError(
            "EQUIVOCATION", f"{maker} has signed {short(digest)} and {short(known.digest)} as version {version}"
        )
    raise RefusedError("REPLAYED", f"version {version} of {maker} is below {shown_rank(known.rank)}, known here")
