"""Whose key a log's is, from a roster that the auditor trusts."""

from pathlib import Path

from audit.checkpoint import VerifierKey, parse_note
from audit.tiles import TileFolder
from keys.errors import RefusedError
from keys.identity import short
from keys.roster import load_signed, roster_digest, verify_first_roster


def key_from_roster(path: Path, folder: TileFolder) -> tuple[VerifierKey, str]:
    """Return the log key that a roster names for the folder's origin, and what to call the roster: ``key_of_origin``."""
    return key_of_origin(path, parse_note(folder.note()).checkpoint.origin)


def key_of_origin(path: Path, origin: str) -> tuple[VerifierKey, str]:
    """Return the log key that a roster names for an origin, and what to call the roster.

    The roster's own signatures are verified; that it is the right roster is the auditor's to know, by its words.

    Raises:
        OSError: The file cannot be read.
        RefusedError: The roster does not verify, or names no key for this log and epoch.
    """
    signed = load_signed(path)
    roster = verify_first_roster(signed)
    log_name, _, epoch = origin.rpartition("/")
    member = next((member for member in roster.members if member.log_name == log_name), None)
    if member is None or not epoch.isascii() or not epoch.isdecimal():
        raise RefusedError("NOT_A_MEMBER", f"names no log {origin}")
    key = member.log_key(int(epoch))
    if key is None:
        raise RefusedError("SIGNER_UNKNOWN", f"names no key of {log_name} for epoch {epoch}")
    source = f"from roster {roster.version}, {short(roster_digest(signed))}, as {member.agency}'s"
    return VerifierKey(name=origin, key=key.public_key), source
