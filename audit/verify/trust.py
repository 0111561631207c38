"""Whose key a log's is and who witnesses it, from a roster that the auditor trusts."""

from dataclasses import dataclass
from pathlib import Path

from audit.note.checkpoint import VerifierKey, parse_note
from audit.note.cosignature import CosignerKey, cosigner_key
from audit.note.policy import WitnessPolicy, default_quorum
from audit.tiles.tiles import TileFolder
from keys.errors import RefusedError
from keys.identity import short
from keys.member import Member, MemberStatus
from keys.roster import Roster, load_signed, roster_digest, verify_first_roster


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTrust:
    """What a roster says of one log in one epoch."""

    key: VerifierKey
    mldsa44: CosignerKey | None  # of the log's own second line, where it has one
    policy: WitnessPolicy
    source: str  # what to call the roster in reports


def key_from_roster(path: Path, folder: TileFolder) -> tuple[VerifierKey, str]:
    """Return the log key that a roster names for the folder's origin, and what to call the roster: ``key_of_origin``."""
    return key_of_origin(path, parse_note(folder.note()).checkpoint.origin)


def key_of_origin(path: Path, origin: str) -> tuple[VerifierKey, str]:
    """Return the log key that a roster names for an origin, and what to call the roster; errors as ``trust_of``."""
    trust = trust_of(path, origin)
    return trust.key, trust.source


def trust_of(path: Path, origin: str) -> LogTrust:
    """Return what the roster in a file says of the log of this origin.

    The roster's own signatures are verified; that it is the right roster is the auditor's to know, by its words.

    Raises:
        OSError: The file cannot be read.
        RefusedError: The roster does not verify, or names no key for this log and epoch.
    """
    signed = load_signed(path)
    roster = verify_first_roster(signed)
    member, epoch = member_of_log(roster, origin)
    key = log_key(roster, origin)
    return LogTrust(
        key=key,
        mldsa44=log_mldsa44(member, epoch),
        policy=policy_of(roster, member.agency),
        source=f"from roster {roster.version}, {short(roster_digest(signed))}, as {member.agency}'s",
    )


def member_of_log(roster: Roster, origin: str) -> tuple[Member, int]:
    """Return whose log it is and in which epoch.

    Raises:
        RefusedError: NOT_A_MEMBER.
    """
    log_name, _, epoch = origin.rpartition("/")
    member = next((member for member in roster.members if member.log_name == log_name), None)
    if member is None or not epoch.isascii() or not epoch.isdecimal() or epoch.startswith("0") or len(epoch) > 10:
        raise RefusedError("NOT_A_MEMBER", f"names no log {origin}")
    return member, int(epoch)


def log_key(roster: Roster, origin: str) -> VerifierKey:
    """Return the key that signs this log's checkpoints.

    Raises:
        RefusedError: NOT_A_MEMBER, SIGNER_UNKNOWN (no key for this epoch).
    """
    member, epoch = member_of_log(roster, origin)
    key = member.log_key(epoch)
    if key is None:
        raise RefusedError("SIGNER_UNKNOWN", f"names no key of {member.log_name} for epoch {epoch}")
    return VerifierKey(name=origin, key=key.public_key)


def log_mldsa44(member: Member, epoch: int) -> CosignerKey | None:
    """Return the key of the second line under this log's published checkpoints, where it has one."""
    key = member.log_mldsa44_key(epoch)
    return cosigner_key(member.origin(epoch), key.public_key) if key is not None else None


def policy_of(roster: Roster, agency: str) -> WitnessPolicy:
    """Return who witnesses an agency's log: every other active member, and the witnesses without a node.

    The quorum is the roster's; of one that names none it is ``default_quorum`` of the witnesses. It stays where it is
    when a member is suspended: fewer witnesses never make a lower bar.
    """
    members = [each for each in roster.members if each.agency != agency and each.status is MemberStatus.ACTIVE]
    named = [(each.witness_name, each.witness_key, each.witness_mldsa44_key) for each in members]
    named += [(each.name, each.witness_key, each.witness_mldsa44_key) for each in roster.witnesses]
    return WitnessPolicy(
        quorum=(roster.witness_quorum or default_quorum(len(named))) if named else 0,
        witnesses=tuple(cosigner_key(name, key.public_key) for name, key, _ in named),
        mldsa44=tuple(cosigner_key(name, second.public_key) for name, _, second in named if second is not None),
    )
