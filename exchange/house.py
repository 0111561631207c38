"""What a node is and holds at one moment: its agency, its keys, the federation as it has adopted it.

A value: adopting a record makes a new house. Acts take it as an argument, so that each sees one state throughout.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from audit.checkpoint import VerifierKey
from exchange.rules.catalogue import Catalogue
from exchange.storage import StorageKeys
from keys.errors import RefusedError
from keys.federation import Federation
from keys.identity import AgencyId, short
from keys.sealing import EncryptionKey
from keys.signing import Signer

GRACE_MS = 30 * 86_400_000  # traffic goes on so long under a roster that has expired or been replaced


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """One agency's node as the acts see it."""

    agency: AgencyId
    number: int  # our member number
    epoch: int  # of our log
    federation: Federation
    catalogues: Mapping[bytes, Catalogue]  # by digest; each roster's is there
    operations: Signer
    log_signer: Signer
    encryption: Mapping[bytes, EncryptionKey]  # by key id
    storage: StorageKeys
    pseudonym_key: bytes = field(repr=False)  # 32 bytes
    pseudonym_epoch: int = 1

    @property
    def origin(self) -> str:
        """Name our log's present epoch."""
        return f"{self.agency.lower()}.{self.federation.roster.federation_name}/log/{self.epoch}"

    def pseudonym(self, owner: str) -> bytes:
        """Name a person in the log by 16 bytes that mean nothing once the key is gone."""
        return hmac.digest(self.pseudonym_key, owner.encode(), hashlib.sha256)[:16]

    def catalogue(self, roster_digest: bytes) -> Catalogue:
        """Give the catalogue of the roster that a statement names.

        Raises:
            RefusedError: ROSTER_UNKNOWN.
        """
        roster = self.federation.roster_by_digest(roster_digest)
        found = self.catalogues.get(roster.catalogue_digest)
        if found is None:
            raise RefusedError("ROSTER_UNKNOWN", f"the catalogue of roster {short(roster_digest)} is not here")
        return found

    def check_accepted(self, roster_digest: bytes, delivery_ms: int, now_ms: int) -> None:
        """Refuse a statement under a roster that is unknown, or was replaced too long before its delivery.

        Raises:
            RefusedError: ROSTER_UNKNOWN, STALE_ROSTER, ROSTER_EXPIRED.
        """
        self.federation.roster_by_digest(roster_digest)
        self.federation.check_traffic(now_ms)
        for before, after in pairwise(self.federation.rosters):
            if before.digest == roster_digest and after.record.issued_ms + GRACE_MS < delivery_ms:
                raise RefusedError("STALE_ROSTER", f"roster {short(roster_digest)} was replaced over 30 days before")

    def check_epoch(self, peer: AgencyId, epoch: int) -> None:
        """Refuse an epoch for which the roster names no log key of the peer, or that its manifest has not opened.

        Raises:
            RefusedError: LANE_UNKNOWN.
        """
        member = self.federation.roster.member(peer)
        manifest = self.federation.manifests.get(peer)
        opened = manifest is None or any(each.epoch == epoch for each in manifest.record.log_epochs)
        if member is None or member.log_key(epoch) is None or not opened:
            raise RefusedError("LANE_UNKNOWN", f"{peer} has no log of epoch {epoch}")

    def log_key(self, peer: AgencyId, epoch: int = 1) -> VerifierKey:
        """Give the verifier key of a member's log.

        Raises:
            RefusedError: NOT_A_MEMBER.
        """
        member = self.federation.roster.member(peer)
        key = member.log_key(epoch) if member is not None else None
        if member is None or key is None:
            raise RefusedError("NOT_A_MEMBER", f"{peer} has no log key in roster {self.federation.roster.version}")
        return VerifierKey(name=member.origin(epoch), key=key.public_key)

    def member_number(self, agency: str) -> int:
        """Give a member's number in the newest roster.

        Raises:
            RefusedError: NOT_A_MEMBER.
        """
        member = self.federation.roster.member(AgencyId(agency))
        if member is None:
            raise RefusedError("NOT_A_MEMBER", f"{agency} is not in roster {self.federation.roster.version}")
        return member.number
