"""Who is in the federation: the roster, signed by its roots, which are its makers.

Version 1 founds the federation: it alone carries 32 zero bytes as federation id, and every root that it names must
have signed it. Its digest is the federation's id in all else. Later versions need the old and the new threshold;
this version of the program does not adopt them.

Everything in a roster has bounds and an order, every key in it has signed its own key id, and no raw signing key
stands in it under two key ids (design, section 4 "Roster").
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from keys import bounds, suites
from keys.certificate import check_ca
from keys.dsse import SignedPayload, verify
from keys.errors import RefusedError
from keys.files import PUBLIC, write_file
from keys.identity import DIGEST_BYTES, AgencyId, Usage, dns_label, parse_agency, record_digest, short
from keys.signing import KeyRecord, PublicKey, public_key, register
from keys.v1 import roster_pb2
from keys.words import words

__all__ = [
    "FIRST_ID",
    "Application",
    "LogKey",
    "Member",
    "MemberStatus",
    "Roster",
    "catalogue_digest",
    "load_signed",
    "parse_roster",
    "save_signed",
    "verify_first_roster",
    "words",
]

FIRST_ID = bytes(DIGEST_BYTES)  # stands in roster 1, whose digest the id is
MAX_NAME_BYTES = 180  # leaves room for "node.<label>." in 253
MAX_ROOTS = 32
MAX_MEMBERS = 256  # about 6 KiB each with a hybrid root; the limit of 1 MiB comes first
MAX_LOG_KEYS = 64
MAX_CA_BYTES = 4096
MAX_EPOCH = (1 << 31) - 1

_DNS_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")


class MemberStatus(IntEnum):
    """Whether a member takes part; who left stays listed for ever."""

    ACTIVE = 1
    SUSPENDED = 2
    LEFT = 3


_STATUSES = frozenset(each.value for each in MemberStatus)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKey:
    """A log key and the epochs that it holds for."""

    key: KeyRecord
    first_epoch: int  # from 1
    last_epoch: int = 0  # 0 while open
    public: PublicKey = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "public", public_key(self.key))

    def holds_for(self, epoch: int) -> bool:
        """Say whether the key signs the checkpoints of this epoch."""
        return self.first_epoch <= epoch and (not self.last_epoch or epoch <= self.last_epoch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One agency in the roster."""

    number: int  # from 1, never reused
    agency: AgencyId
    status: MemberStatus
    root: KeyRecord
    tls_ca: bytes  # X.509, DER
    log_name: str  # <agency>.<federation>/log; the origin adds /<epoch>
    log_keys: tuple[LogKey, ...]
    witness: KeyRecord
    minimum_suites: tuple[int, ...]
    from_ms: int
    until_ms: int = 0  # 0 while open
    root_key: PublicKey = field(init=False, compare=False)
    witness_key: PublicKey = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root_key", public_key(self.root))
        object.__setattr__(self, "witness_key", public_key(self.witness))

    @property
    def records(self) -> tuple[KeyRecord, ...]:
        """Every key record of this member."""
        return (self.root, *(each.key for each in self.log_keys), self.witness)

    def origin(self, epoch: int) -> str:
        """Name the member's log in an epoch, as its checkpoints do."""
        return f"{self.log_name}/{epoch}"

    def log_key(self, epoch: int) -> PublicKey | None:
        """Give the key that signs checkpoints of this epoch."""
        return next((each.public for each in self.log_keys if each.holds_for(epoch)), None)

    def takes_part(self, now_ms: int) -> bool:
        """Say whether the member is active at this time."""
        began = self.from_ms <= now_ms and (not self.until_ms or now_ms < self.until_ms)
        return self.status is MemberStatus.ACTIVE and began


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
        return (*self.roots, *(record for each in self.members for record in each.records))

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
            members=[_to_message(each) for each in self.members],
            witness_quorum=self.witness_quorum,
        )
        return bounds.encode_record(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """What an agency sends to whoever puts a roster together; not signed, but each key has signed its key id."""

    federation_name: str
    member: Member  # number 0, which the roster replaces
    roster_root: KeyRecord | None = None

    def encode(self) -> bytes:
        """Encode to the file ``application``."""
        root = self.roster_root.to_message() if self.roster_root is not None else None
        return bounds.encode_record(
            roster_pb2.Application(
                federation_name=self.federation_name, member=_to_message(self.member), roster_root=root
            )
        )

    @classmethod
    def decode(cls, data: bytes) -> Application:
        """Parse such a file and check the member's bounds; errors as ``parse_roster``."""
        message = bounds.parse_record(data, roster_pb2.Application)
        name = parse_federation_name(message.federation_name)
        bounds.require(message.member.number == 0, "an application numbers itself")
        member = _from_message(message.member)
        _check_member(member, name)
        root = KeyRecord.from_message(message.roster_root) if message.HasField("roster_root") else None
        if root is not None:
            bounds.require(root.usage == Usage.ROSTER_ROOT, "a root is a key of another usage", "WRONG_TYPE")
        return cls(federation_name=name, member=member, roster_root=root)


def parse_roster(payload: bytes) -> Roster:
    """Parse a roster of any version and check every bound, order and rule that needs no signature.

    1. canonical bytes, 2. version, id and previous fit each other, 3. name, times and counts, 4. roots and
    threshold, 5. members, 6. no raw signing key twice.

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
        members=tuple(_from_message(each) for each in message.members),
        witness_quorum=message.witness_quorum,
    )
    _check_version(roster)
    bounds.window(roster.issued_ms, roster.expires_ms, "the roster")
    _check_roots(roster)
    bounds.count(roster.members, 1, MAX_MEMBERS, "members")
    bounds.ascending([each.number for each in roster.members], "members")
    bounds.require(len({each.agency for each in roster.members}) == len(roster.members), "an agency is listed twice")
    for member in roster.members:
        _check_member(member, roster.federation_name)
    bounds.require(roster.witness_quorum <= len(roster.members), "the witness quorum is above the number of members")
    claim_raw_keys({}, roster.records)
    return roster


def verify_first_roster(signed: SignedPayload) -> Roster:
    """Verify the roster that founds a federation.

    1. form and bounds, 2. it is version 1, 3. each root has signed its own key id, 4. every root that it names has
    signed it, and nobody else, 5. every member's keys have signed their key ids, and its CA has our profile.

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
        for each in member.log_keys:
            register(each.key, owner=member.agency, usage={Usage.LOG})
        check_ca(member.tls_ca, member.agency, roster.federation_name)
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


def parse_federation_name(text: str) -> str:
    """Take a federation's name: a lower-case dNSName of at most 180 bytes; RefusedError MALFORMED otherwise."""
    bounds.require(
        len(text) <= MAX_NAME_BYTES and bool(_DNS_NAME.fullmatch(text)),
        "the federation's name is not a lower-case dNSName of at most 180 bytes",
    )
    return text


def roster_digest(signed: SignedPayload) -> bytes:
    """Give the digest by which statements and people name this roster."""
    return record_digest("roster", signed.payload)


def save_signed(path: Path, signed: SignedPayload, *, replace: bool = False) -> None:
    """Keep a roster, manifest or key sheet as a file: the canonical bytes of the wrapper."""
    write_file(path, signed.encode(), mode=PUBLIC, replace=replace)


def load_signed(path: Path) -> SignedPayload:
    """Read such a file; nothing in it is verified by that. Errors as ``SignedPayload.decode``."""
    with path.open("rb") as file:
        return SignedPayload.decode(file.read(2 * bounds.MAX_RECORD_BYTES), limit=bounds.MAX_RECORD_BYTES)


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


def _check_member(member: Member, federation_name: str) -> None:
    bounds.require(
        member.log_name == f"{dns_label(member.agency)}.{federation_name}/log",
        f"the log of {member.agency} has another name than its agency's",
    )
    bounds.require(0 < len(member.tls_ca) <= MAX_CA_BYTES, f"the CA of {member.agency} is absent or too large")
    bounds.window(member.from_ms, member.until_ms, f"member {member.number}", open_end=True)
    bounds.count(member.log_keys, 1, MAX_LOG_KEYS, "log keys")
    free = 1
    for place, each in enumerate(member.log_keys, start=1):
        last = each.last_epoch or MAX_EPOCH
        bounds.require(
            free <= each.first_epoch <= last and (bool(each.last_epoch) or place == len(member.log_keys)),
            f"the epochs of {member.agency}'s log keys overlap or do not ascend",
        )
        free = last + 1
    bounds.ascending(member.minimum_suites, "minimum suites")
    for number in member.minimum_suites:
        suites.suite(number)
    bounds.require(
        all(each.owner == member.agency for each in member.records),
        f"a key of {member.agency} has another owner",
        "WRONG_MAKER",
    )


def _from_message(message: roster_pb2.Member) -> Member:
    bounds.require(message.status in _STATUSES, "a member has no status of ours")
    return Member(
        number=message.number,
        agency=parse_agency(message.agency),
        status=MemberStatus(message.status),
        root=KeyRecord.from_message(message.root),
        tls_ca=message.tls_ca,
        log_name=message.log_name,
        log_keys=tuple(
            LogKey(
                key=KeyRecord.from_message(each.key),
                first_epoch=each.first_epoch,
                last_epoch=each.last_epoch,
            )
            for each in message.log_keys
        ),
        witness=KeyRecord.from_message(message.witness),
        minimum_suites=tuple(message.minimum_suites),
        from_ms=message.from_ms,
        until_ms=message.until_ms,
    )


def _to_message(member: Member) -> roster_pb2.Member:
    return roster_pb2.Member(
        number=member.number,
        agency=member.agency,
        status=roster_pb2.MemberStatus.ValueType(member.status),
        root=member.root.to_message(),
        tls_ca=member.tls_ca,
        log_name=member.log_name,
        log_keys=[
            roster_pb2.LogKey(key=each.key.to_message(), first_epoch=each.first_epoch, last_epoch=each.last_epoch)
            for each in member.log_keys
        ],
        witness=member.witness.to_message(),
        minimum_suites=member.minimum_suites,
        from_ms=member.from_ms,
        until_ms=member.until_ms,
    )
