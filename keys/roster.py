"""Who is in the federation: the roster, signed by its roots, which are its makers.

Version 1 founds the federation: it alone carries 32 zero bytes as federation id, and every root that it names must
have signed it. Its digest is the federation's id in all else. Later versions need the old and the new threshold;
this version of the program does not adopt them.

Everything in a roster has bounds and an order, every key in it has signed its own key id, and no raw signing key
stands in it under two key ids (docs/design.md, "Roster").
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from keys import bounds
from keys.certificate import check_ca
from keys.dsse import SignedPayload, verify
from keys.errors import RefusedError
from keys.external_witness import (
    ExternalWitness,
    check_external_witness,
    register_external_witness,
    witness_from_message,
    witness_to_message,
)
from keys.files import PUBLIC, write_file
from keys.identity import DIGEST_BYTES, Usage, record_digest, short
from keys.member import (
    Application,
    LogKey,
    Member,
    MemberStatus,
    check_member,
    member_from_message,
    member_to_message,
    parse_federation_name,
)
from keys.signer import KeyRecord, register
from keys.v1 import roster_pb2
from keys.words import words

__all__ = [
    "FIRST_ID",
    "Application",
    "ExternalWitness",
    "LogKey",
    "Member",
    "MemberStatus",
    "Roster",
    "catalogue_digest",
    "load_signed",
    "parse_federation_name",
    "parse_roster",
    "save_signed",
    "verify_first_roster",
    "words",
]

FIRST_ID = bytes(DIGEST_BYTES)  # stands in roster 1, whose digest the id is
MAX_ROOTS = 32
# Each takes about 6 KiB with its hybrid root, so that they fit a record of 1 MiB; with the second keys of log and
# witness it is 13 KiB, and about 70 of them fit.
MAX_MEMBERS = 128
MAX_EXTERNAL_WITNESSES = 16  # oversight bodies; each is one more line under every checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """The members and roots of a federation, in one version."""

    federation_id: bytes  # FIRST_ID in version 1
    version: int
    previous: bytes = b""  # digest of the version before; empty in version 1
    federation_name: str
    issued_ms: int
    expires_ms: int
    roots: tuple[KeyRecord, ...]  # ascending by key id
    threshold: int
    catalogue_digest: bytes
    members: tuple[Member, ...]  # ascending by number
    witness_quorum: int
    witnesses: tuple[ExternalWitness, ...] = ()  # without a node; ascending by name
    _by_agency: Mapping[str, Member] = field(init=False, repr=False, compare=False)
    _by_number: Mapping[int, Member] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_agency", {each.agency: each for each in self.members})
        object.__setattr__(self, "_by_number", {each.number: each for each in self.members})

    def member(self, agency: str) -> Member | None:
        """Find a member by its code, whatever its status."""
        return self._by_agency.get(agency)

    def by_number(self, number: int) -> Member | None:
        """Find a member by its number, as log entries name it."""
        return self._by_number.get(number)

    @property
    def records(self) -> tuple[KeyRecord, ...]:
        """Every key record in it."""
        members = (record for each in self.members for record in each.records)
        return (*self.roots, *members, *(record for each in self.witnesses for record in each.records))

    def encode(self) -> bytes:
        """Encode to the payload that is signed."""
        message = roster_pb2.Roster(
            federation_id=self.federation_id,
            version=self.version,
            previous=self.previous,
            federation_name=self.federation_name,
            issued_ms=self.issued_ms,
            expires_ms=self.expires_ms,
            roots=[each.to_message() for each in self.roots],
            threshold=self.threshold,
            catalogue_digest=self.catalogue_digest,
            members=[member_to_message(each) for each in self.members],
            witness_quorum=self.witness_quorum,
            witnesses=[witness_to_message(each) for each in self.witnesses],
        )
        return bounds.encode_record(message)


def parse_roster(payload: bytes) -> Roster:
    """Parse a roster of any version and check every bound, order and rule that needs no signature.

    1. canonical bytes, 2. version, id and previous fit each other, 3. name, times and counts, 4. roots and
    threshold, 5. members, 6. external witnesses and quorum, 7. no raw signing key twice.

    Raises:
        RefusedError: MALFORMED, TOO_LARGE, NOT_UNDERSTOOD, SUITE_UNKNOWN, WRONG_MAKER, WRONG_TYPE.
    """
    message = bounds.parse_record(payload, roster_pb2.Roster)
    roster = Roster(
        federation_id=bounds.digest_field(message.federation_id, "the federation id"),
        version=message.version,
        previous=message.previous,
        federation_name=parse_federation_name(message.federation_name),
        issued_ms=message.issued_ms,
        expires_ms=message.expires_ms,
        roots=tuple(KeyRecord.from_message(each) for each in message.roots),
        threshold=message.threshold,
        catalogue_digest=bounds.digest_field(message.catalogue_digest, "the catalogue's digest"),
        members=tuple(member_from_message(each) for each in message.members),
        witness_quorum=message.witness_quorum,
        witnesses=tuple(witness_from_message(each) for each in message.witnesses),
    )
    _check_version(roster)
    bounds.window(roster.issued_ms, roster.expires_ms, "the roster")
    _check_roots(roster)
    bounds.count(roster.members, 1, MAX_MEMBERS, "members")
    bounds.ascending([each.number for each in roster.members], "members")
    bounds.require(len({each.agency for each in roster.members}) == len(roster.members), "an agency is listed twice")
    for member in roster.members:
        bounds.require(member.number >= 1, f"{member.agency} has no number")
        check_member(member, roster.federation_name)
    _check_witnesses(roster)
    claim_raw_keys({}, roster.records)
    return roster


def verify_first_roster(signed: SignedPayload) -> Roster:
    """Verify the roster that founds a federation.

    1. form and bounds, 2. it is version 1, 3. each root has signed its own key id, 4. every root that it names has
    signed it, and nobody else, 5. every member's keys have signed their key ids, and its CA has our profile, 6. so
    have the external witnesses' keys.

    First contact compares its digest as twelve words with a person who has it; nothing here replaces that.

    Raises:
        RefusedError: As ``parse_roster``; ROSTER_UNKNOWN for a later version, SIGNERS_DIFFER, SIGNER_UNKNOWN,
            WRONG_TYPE, SIGNATURE_INVALID, PEER_UNTRUSTED.
    """
    roster = parse_roster(signed.payload)
    if roster.version != 1:
        raise RefusedError("ROSTER_UNKNOWN", f"roster {roster.version}: versions after the first are not adopted yet")
    roots = {
        key.key_id: key
        for each in roster.roots
        for key in (register(each, owner=each.owner, usage={Usage.ROSTER_ROOT}),)
    }
    verify(signed, "roster", roots.get, count=len(roots))
    for member in roster.members:
        register(member.root, owner=member.agency, usage={Usage.AGENCY_ROOT})
        register(member.witness, owner=member.agency, usage={Usage.WITNESS})
        if member.witness_mldsa44 is not None:
            register(member.witness_mldsa44, owner=member.agency, usage={Usage.WITNESS}, second=True)
        for each in member.log_keys:
            register(each.key, owner=member.agency, usage={Usage.LOG})
        for each in member.log_mldsa44_keys:
            register(each.key, owner=member.agency, usage={Usage.LOG}, second=True)
        check_ca(member.tls_ca, member.agency, roster.federation_name)
    for witness in roster.witnesses:
        register_external_witness(witness)
    return roster


def claim_raw_keys(known: Mapping[bytes, bytes], records: Iterable[KeyRecord]) -> dict[bytes, bytes]:
    """Enforce that a raw signing key, each half of a hybrid one, has one key id, for ever and in all lists.

    Args:
        known: Raw key → key id, from all lists seen so far.
        records: The keys of a new list.

    Returns:
        *known* and the new ones.

    Raises:
        RefusedError: MALFORMED; the key would count twice, or serve two purposes.
    """
    claimed = dict(known)
    for record in records:
        for raw in record.raw_keys:
            if claimed.setdefault(raw, record.key_id) != record.key_id:
                raise RefusedError(
                    "MALFORMED",
                    f"key {short(record.key_id)} has the raw key of {short(claimed[raw])}",
                )
    return claimed


def catalogue_digest(files: Mapping[str, bytes]) -> bytes:
    """Digest a catalogue: for each file ascending by name u16 length, name, u32 length, bytes.

    Args:
        files: By name, e.g. ``policy.yaml``.
    """
    parts = []
    for name, data in sorted((name.encode(), data) for name, data in files.items()):
        parts += [len(name).to_bytes(2, "big"), name, len(data).to_bytes(4, "big"), data]
    return hashlib.sha256(b"exchange/v1/catalogue\0" + b"".join(parts)).digest()


def roster_digest(signed: SignedPayload) -> bytes:
    """Return the digest by which statements and people name this roster."""
    return record_digest("roster", signed.payload)


def save_signed(path: Path, signed: SignedPayload, *, replace: bool = False) -> None:
    """Keep a roster, manifest or key sheet as a file: the canonical bytes of the wrapper."""
    write_file(path, signed.encode(), mode=PUBLIC, replace=replace)


def load_signed(path: Path) -> SignedPayload:
    """Read such a file; nothing in it is verified by that. Errors as ``SignedPayload.decode``, with the file's name."""
    with path.open("rb") as file:
        data = file.read(2 * bounds.MAX_RECORD_BYTES)
    try:
        return SignedPayload.decode(data, limit=bounds.MAX_RECORD_BYTES)
    except RefusedError as error:
        raise RefusedError(error.code, f"{path} is no signed record: {error}") from error


def _check_version(roster: Roster) -> None:
    first = roster.version == 1
    bounds.require(roster.version >= 1, "the roster has no version")
    bounds.require(first == (roster.federation_id == FIRST_ID), "the federation id and the version do not fit")
    bounds.require(
        not roster.previous if first else len(roster.previous) == DIGEST_BYTES,
        "the digest of the version before and the version do not fit",
    )


def _check_roots(roster: Roster) -> None:
    bounds.count(roster.roots, 1, MAX_ROOTS, "roster roots")
    bounds.ascending([each.key_id for each in roster.roots], "roster roots")
    owners = {each.owner for each in roster.roots}
    bounds.require(
        1 <= roster.threshold <= len(owners),
        f"the threshold is {roster.threshold}, the roots have {len(owners)} owners",
    )
    for each in roster.roots:
        bounds.require(each.usage == Usage.ROSTER_ROOT, "a root is a key of another usage", "WRONG_TYPE")


def _check_witnesses(roster: Roster) -> None:
    bounds.count(roster.witnesses, 0, MAX_EXTERNAL_WITNESSES, "external witnesses")
    names = [each.name for each in roster.witnesses]
    bounds.ascending(names, "external witnesses")
    taken = {each.witness_name for each in roster.members} & set(names)
    bounds.require(not taken, "an external witness has the name of a member's witness")
    for each in roster.witnesses:
        check_external_witness(each)
    most = len(roster.members) + len(roster.witnesses)
    bounds.require(roster.witness_quorum <= most, "the witness quorum is above the number of members and witnesses")
