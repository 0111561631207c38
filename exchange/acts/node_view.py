"""What a node is and holds at one moment: its agency, its keys, the federation as it has adopted it.

A value: adopting a record makes a new view. Acts take it as an argument, so that each sees one state throughout.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from audit.note.checkpoint import Checkpoint, VerifierKey
from audit.note.epochs import end_before, opening_of
from exchange.rules.catalogue import Catalogue
from exchange.store.storage_key import StorageKeys
from keys.errors import RefusedError
from keys.federation import Federation
from keys.identity import AgencyId, short
from keys.manifest import LogEpoch
from keys.seal import WindowOpener
from keys.signer import Signer

FIRST = (LogEpoch(epoch=1),)


def epochs_of(federation: Federation, agency: AgencyId) -> tuple[LogEpoch, ...]:
    """Return the epochs of a member's log that its manifest has opened; the first alone where none is known."""
    manifest = federation.manifests.get(agency)
    return manifest.record.log_epochs if manifest is not None else FIRST


def newest_epoch(federation: Federation, agency: AgencyId) -> int:
    """Return the epoch in which a member's log is now, as its manifest says."""
    return max(each.epoch for each in epochs_of(federation, agency))


def end_of_epoch_before(federation: Federation, agency: AgencyId, epoch: int) -> Checkpoint | None:
    """Return where the epoch before one of a member's log ended; None for the first, or one that is not open."""
    opening = opening_of(epochs_of(federation, agency), epoch)
    return end_before(opening) if opening is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """One agency's node as the acts see it."""

    agency: AgencyId
    number: int  # our member number
    epoch: int  # of our log
    federation: Federation
    catalogues: Mapping[bytes, Catalogue]  # by digest; each roster's is there
    operations: Signer
    log_signer: Signer
    encryption: Mapping[bytes, WindowOpener]  # by key id
    storage: StorageKeys
    pseudonym_key: bytes = field(repr=False)  # 32 bytes
    pseudonym_epoch: int = 1
    records: Mapping[str, bytes] = field(
        default_factory=dict
    )  # by agency, 32 bytes: of those in force, as the log says
    adopted_at: int = -1  # position of the newest adoption that is in *federation* and *records*
    log_mldsa44: Signer | None = None  # signs published checkpoints beside log_signer, where there is one

    @property
    def origin(self) -> str:
        """Name our log's present epoch."""
        return f"{self.agency.lower()}.{self.federation.roster.federation_name}/log/{self.epoch}"

    def pseudonym(self, owner: str) -> bytes:
        """Name a person in the log by 16 bytes that mean nothing once the key is gone."""
        return hmac.digest(self.pseudonym_key, owner.encode(), hashlib.sha256)[:16]

    def catalogue(self, roster_digest: bytes) -> Catalogue:
        """Return the catalogue of the roster that a statement names.

        Raises:
            RefusedError: ROSTER_UNKNOWN.
        """
        roster = self.federation.roster_by_digest(roster_digest)
        found = self.catalogues.get(roster.catalogue_digest)
        if found is None:
            raise RefusedError("ROSTER_UNKNOWN", f"the catalogue of roster {short(roster_digest)} is not here")
        return found

    @property
    def before(self) -> Checkpoint | None:
        """Where our log's epoch before this one ended; None in the first."""
        return end_of_epoch_before(self.federation, self.agency, self.epoch)

    def epochs(self, agency: AgencyId) -> tuple[LogEpoch, ...]:
        """Return the epochs of a member's log that its manifest has opened; the first alone where none is known."""
        return epochs_of(self.federation, agency)

    def newest_epoch(self, agency: AgencyId) -> int:
        """Return the epoch in which a member's log is now, as its manifest says."""
        return newest_epoch(self.federation, agency)

    def until_ms(self, agency: AgencyId) -> int:
        """Return the first millisecond at which a member's manifest, or its membership, has ended; 0 for neither."""
        member, manifest = self.federation.roster.member(agency), self.federation.manifests.get(agency)
        if member is None or manifest is None:
            return 0
        expires_ms = manifest.record.expires_ms
        return min(expires_ms, member.until_ms) if member.until_ms else expires_ms

    @property
    def own_until_ms(self) -> int:
        """Return the first millisecond at which our manifest, our membership or our operations key does not hold."""
        manifest = self.federation.manifests.get(self.agency)
        key = manifest.record.operations_by_id.get(self.operations.key.key_id) if manifest is not None else None
        return min(self.until_ms(self.agency), key.until_ms) if key is not None else 0

    def check_epoch(self, peer: AgencyId, epoch: int) -> None:
        """Refuse lanes of another epoch than the one that the peer's manifest opened last.

        One that has a successor is an old copy's: what it still numbers nobody will ever have numbered.

        Raises:
            RefusedError: LANE_UNKNOWN.
        """
        member = self.federation.roster.member(peer)
        newest = self.newest_epoch(peer)
        if member is None or member.log_key(epoch) is None or epoch != newest:
            raise RefusedError("LANE_UNKNOWN", f"{peer} has no open log of epoch {epoch}; its newest is {newest}")

    def key_of(self, peer: AgencyId, origin: str) -> VerifierKey:
        """Return the key of the very epoch of a member's log that a note is of; epochs of before stay true.

        Raises:
            RefusedError: NOT_A_MEMBER, LANE_UNKNOWN for an origin that is none of the peer's.
        """
        for each in self.epochs(peer):
            key = self.log_key(peer, each.epoch)
            if key.name == origin:
                return key
        raise RefusedError("LANE_UNKNOWN", f"{origin!a} is no log of {peer} that its manifest has opened")

    def check_ended(self, peer: AgencyId, checkpoint: Checkpoint) -> None:
        """Refuse a checkpoint that goes beyond the end of its epoch: an old copy of the peer's node goes on signing.

        Raises:
            RefusedError: RECEIPT_INVALID.
        """
        for each in self.epochs(peer):
            end = end_before(each)
            if end is not None and end.origin == checkpoint.origin and checkpoint.size > end.size:
                raise RefusedError(
                    "RECEIPT_INVALID", f"{end.origin} ended at size {end.size}, this is of size {checkpoint.size}"
                )

    def log_key(self, peer: AgencyId, epoch: int = 0) -> VerifierKey:
        """Return the verifier key of a member's log, in its newest epoch if none is named.

        Raises:
            RefusedError: NOT_A_MEMBER.
        """
        member = self.federation.roster.member(peer)
        epoch = epoch or self.newest_epoch(peer)
        key = member.log_key(epoch) if member is not None else None
        if member is None or key is None:
            raise RefusedError("NOT_A_MEMBER", f"{peer} has no log key in roster {self.federation.roster.version}")
        return VerifierKey(name=member.origin(epoch), key=key.public_key)

    def member_number(self, agency: str) -> int:
        """Return a member's number in the newest roster.

        Raises:
            RefusedError: NOT_A_MEMBER.
        """
        member = self.federation.roster.member(AgencyId(agency))
        if member is None:
            raise RefusedError("NOT_A_MEMBER", f"{agency} is not in roster {self.federation.roster.version}")
        return member.number
