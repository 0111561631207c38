"""A member of a federation, as the roster lists it and as it applies to be listed.

A log and a witness each have an Ed25519 key and, since ML-DSA-44 lines are made, a second key beside it (suite 3);
records of before have none, and stay good.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import IntEnum

from keys import bounds, suites
from keys.identity import AgencyId, Usage, dns_label, parse_agency
from keys.signer import KeyRecord, PublicKey, public_key
from keys.v1 import roster_pb2

MAX_NAME_BYTES = 180  # leaves room for "node.<label>." in 253
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
        """Return whether the key signs the checkpoints of this epoch."""
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
    log_mldsa44_keys: tuple[LogKey, ...] = ()  # suite 3, with their epochs, as log_keys
    witness_mldsa44: KeyRecord | None = None  # suite 3
    root_key: PublicKey = field(init=False, compare=False)
    witness_key: PublicKey = field(init=False, compare=False)
    witness_mldsa44_key: PublicKey | None = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root_key", public_key(self.root))
        object.__setattr__(self, "witness_key", public_key(self.witness))
        second = public_key(self.witness_mldsa44) if self.witness_mldsa44 is not None else None
        object.__setattr__(self, "witness_mldsa44_key", second)

    @property
    def records(self) -> tuple[KeyRecord, ...]:
        """Every key record of this member."""
        second = (self.witness_mldsa44,) if self.witness_mldsa44 is not None else ()
        logs = (each.key for each in (*self.log_keys, *self.log_mldsa44_keys))
        return (self.root, *logs, self.witness, *second)

    @property
    def witness_name(self) -> str:
        """Name the member as a witness, in its cosignatures: ``<agency>.<federation>/witness``."""
        return f"{self.log_name.removesuffix('/log')}/witness"

    def origin(self, epoch: int) -> str:
        """Name the member's log in an epoch, as its checkpoints do."""
        return f"{self.log_name}/{epoch}"

    def log_key(self, epoch: int) -> PublicKey | None:
        """Return the key that signs checkpoints of this epoch."""
        return next((each.public for each in self.log_keys if each.holds_for(epoch)), None)

    def log_mldsa44_key(self, epoch: int) -> PublicKey | None:
        """Return the key of the second line under published checkpoints of this epoch, if there is one."""
        return next((each.public for each in self.log_mldsa44_keys if each.holds_for(epoch)), None)

    def takes_part(self, now_ms: int) -> bool:
        """Return whether the member is active at this time."""
        began = self.from_ms <= now_ms and (not self.until_ms or now_ms < self.until_ms)
        return self.status is MemberStatus.ACTIVE and began


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """What an agency sends to the person who puts a roster together; not signed, but each key has signed its key id."""

    federation_name: str
    member: Member  # number 0, which the roster replaces
    roster_root: KeyRecord | None = None

    def encode(self) -> bytes:
        """Encode to the file ``application``."""
        root = self.roster_root.to_message() if self.roster_root is not None else None
        return bounds.encode_record(
            roster_pb2.Application(
                federation_name=self.federation_name, member=member_to_message(self.member), roster_root=root
            )
        )

    @classmethod
    def decode(cls, data: bytes) -> Application:
        """Parse such a file and check the member's bounds; errors as ``parse_roster``."""
        message = bounds.parse_record(data, roster_pb2.Application)
        name = parse_federation_name(message.federation_name)
        bounds.require(message.member.number == 0, "an application numbers itself")
        member = member_from_message(message.member)
        check_member(member, name)
        root = KeyRecord.from_message(message.roster_root) if message.HasField("roster_root") else None
        if root is not None:
            bounds.require(root.usage == Usage.ROSTER_ROOT, "a root is a key of another usage", "WRONG_TYPE")
        return cls(federation_name=name, member=member, roster_root=root)


def parse_federation_name(text: str) -> str:
    """Take a federation's name: a lower-case dNSName of at most 180 bytes; RefusedError MALFORMED otherwise."""
    bounds.require(
        len(text) <= MAX_NAME_BYTES and bool(_DNS_NAME.fullmatch(text)),
        "the federation's name is not a lower-case dNSName of at most 180 bytes",
    )
    return text


def check_member(member: Member, federation_name: str) -> None:
    bounds.require(
        member.log_name == f"{dns_label(member.agency)}.{federation_name}/log",
        f"the log of {member.agency} has another name than its agency's",
    )
    bounds.require(0 < len(member.tls_ca) <= MAX_CA_BYTES, f"the CA of {member.agency} is absent or too large")
    bounds.window(member.from_ms, member.until_ms, f"member {member.number}", open_end=True)
    bounds.count(member.log_keys, 1, MAX_LOG_KEYS, "log keys")
    bounds.count(member.log_mldsa44_keys, 0, MAX_LOG_KEYS, "ML-DSA-44 log keys")
    _check_log_keys(member.agency, member.log_keys, suites.ED25519)
    _check_log_keys(member.agency, member.log_mldsa44_keys, suites.MLDSA44)
    check_witness(member.agency, member.witness, member.witness_mldsa44)
    bounds.ascending(member.minimum_suites, "minimum suites")
    for number in member.minimum_suites:
        suites.suite(number)
    bounds.require(
        all(each.owner == member.agency for each in member.records),
        f"a key of {member.agency} has another owner",
        "WRONG_MAKER",
    )


def _check_log_keys(agency: AgencyId, keys: tuple[LogKey, ...], suite: int) -> None:
    free = 1
    for number, each in enumerate(keys, start=1):
        last = each.last_epoch or MAX_EPOCH
        bounds.require(
            free <= each.first_epoch <= last and (bool(each.last_epoch) or number == len(keys)),
            f"the epochs of {agency}'s log keys overlap or do not ascend",
        )
        free = last + 1
        bounds.require(each.key.usage == Usage.LOG, f"a log key of {agency} is of another usage", "WRONG_TYPE")
        bounds.require(each.key.suite == suite, f"a log key of {agency} has suite {each.key.suite}", "SUITE_UNKNOWN")


def check_witness(owner: str, witness: KeyRecord, second: KeyRecord | None) -> None:
    """Check that two records are a witness's, each of its own suite; RefusedError WRONG_TYPE, SUITE_UNKNOWN."""
    for record, suite in ((witness, suites.ED25519), (second, suites.MLDSA44)):
        if record is not None:
            right = record.usage == Usage.WITNESS
            bounds.require(right, f"a witness key of {owner} is of another usage", "WRONG_TYPE")
            fits = record.suite == suite
            bounds.require(fits, f"a witness key of {owner} has suite {record.suite}", "SUITE_UNKNOWN")


def member_from_message(message: roster_pb2.Member) -> Member:
    bounds.require(message.status in _STATUSES, "a member has no status of ours")
    return Member(
        number=message.number,
        agency=parse_agency(message.agency),
        status=MemberStatus(message.status),
        root=KeyRecord.from_message(message.root),
        tls_ca=message.tls_ca,
        log_name=message.log_name,
        log_keys=tuple(_log_key(each) for each in message.log_keys),
        witness=KeyRecord.from_message(message.witness),
        minimum_suites=tuple(message.minimum_suites),
        from_ms=message.from_ms,
        until_ms=message.until_ms,
        log_mldsa44_keys=tuple(_log_key(each) for each in message.log_mldsa44_keys),
        witness_mldsa44=(
            KeyRecord.from_message(message.witness_mldsa44) if message.HasField("witness_mldsa44") else None
        ),
    )


def member_to_message(member: Member) -> roster_pb2.Member:
    return roster_pb2.Member(
        number=member.number,
        agency=member.agency,
        status=roster_pb2.MemberStatus.ValueType(member.status),
        root=member.root.to_message(),
        tls_ca=member.tls_ca,
        log_name=member.log_name,
        log_keys=[_log_key_message(each) for each in member.log_keys],
        witness=member.witness.to_message(),
        minimum_suites=member.minimum_suites,
        from_ms=member.from_ms,
        until_ms=member.until_ms,
        log_mldsa44_keys=[_log_key_message(each) for each in member.log_mldsa44_keys],
        witness_mldsa44=member.witness_mldsa44.to_message() if member.witness_mldsa44 is not None else None,
    )


def _log_key(message: roster_pb2.LogKey) -> LogKey:
    return LogKey(
        key=KeyRecord.from_message(message.key), first_epoch=message.first_epoch, last_epoch=message.last_epoch
    )


def _log_key_message(key: LogKey) -> roster_pb2.LogKey:
    return roster_pb2.LogKey(key=key.key.to_message(), first_epoch=key.first_epoch, last_epoch=key.last_epoch)
