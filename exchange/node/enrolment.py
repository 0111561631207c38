"""What an officer's or a system's folder holds, so that its owner trusts nobody on first use.

``HOME/officers/<id>/`` has the key file, the leaf, the digest of the roster that was compared as twelve words when
the person was enrolled (``roster.sha256``), and the newest checkpoint that the person's programs have seen (``seen``).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from audit.record.statement import LogHead
from exchange.node.config import load_config
from keys import certificate
from keys.agency import CA_FILE, TLS_FILE
from keys.errors import IntegrityError, RefusedError
from keys.files import PRIVATE, PUBLIC, write_file
from keys.identity import AgencyId, parse_officer, short
from keys.key_files import OFFICER_FILE, officer_folder

PIN_FILE, SEEN_FILE = "roster.sha256", "seen"
_DIGEST = re.compile(r"[0-9a-f]{64}\n?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """One person's or system's part in an agency, as the own files say it; no key is opened."""

    home: Path
    agency: AgencyId
    officer: str
    desk: str  # host:port
    node_name: str  # the one dNSName of the own node's leaf
    ca: bytes = field(repr=False)  # DER, the own agency's
    leaf: bytes = field(repr=False)  # DER, of this person
    pin: bytes  # 32 bytes, of the roster compared at enrolment

    @property
    def owner(self) -> str:
        """AGENCY/id, as keys and certificates name this person."""
        return f"{self.agency}/{self.officer}"

    @property
    def folder(self) -> Path:
        """Where this person's files lie."""
        return officer_folder(self.home, self.officer)


class NotEnrolledError(RefusedError):
    """The person's folder lacks something that the ceremony leaves there."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__("SIGNER_UNKNOWN", message)
        self.hint = hint


def load_enrolment(home: Path, officer: str) -> Enrolment:
    """Read who somebody is in a home.

    Raises:
        FileNotFoundError: There is no such home.
        NotEnrolledError: The person has no key, leaf or roster digest there.
    """
    config = load_config(home)
    folder = officer_folder(home, parse_officer(officer))
    if not (folder / OFFICER_FILE).exists():
        raise NotEnrolledError(f"{folder}: {officer} has no keys there", "exchange keys make officer makes them")
    return Enrolment(
        home=home,
        agency=config.agency,
        officer=officer,
        desk=config.desk,
        node_name=certificate.peer_agency_name(_read(home / TLS_FILE)),
        ca=_read(home / CA_FILE),
        leaf=_read(folder / TLS_FILE),
        pin=_load_pin(folder / PIN_FILE, officer),
    )


def save_pin(home: Path, officer: str, roster_digest: bytes) -> None:
    """Write down the roster that was compared; another one than before is refused.

    Raises:
        RefusedError: WRONG_FEDERATION.
    """
    path = officer_folder(home, officer) / PIN_FILE
    if path.exists():
        pinned = _load_pin(path, officer)
        if pinned != roster_digest:
            raise RefusedError(
                "WRONG_FEDERATION", f"{officer} is enrolled under {short(pinned)}, not {short(roster_digest)}"
            )
        return
    write_file(path, roster_digest.hex().encode() + b"\n", mode=PUBLIC)


def load_seen(enrolment: Enrolment) -> LogHead | None:
    """Read the newest checkpoint of the own node's log that this person's programs have seen.

    Raises:
        IntegrityError: The file is not as we write it.
    """
    path = enrolment.folder / SEEN_FILE
    try:
        read = json.loads(path.read_bytes())
        return LogHead(origin=str(read["origin"]), size=int(read["size"]), root=bytes.fromhex(read["root"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path}: it does not say which checkpoint was seen") from error


def save_seen(enrolment: Enrolment, head: LogHead) -> None:
    """Write it down."""
    text = json.dumps({"origin": head.origin, "size": head.size, "root": head.root.hex()})
    write_file(enrolment.folder / SEEN_FILE, text.encode() + b"\n", mode=PRIVATE, replace=True)


def save_leaf(enrolment: Enrolment, leaf: bytes, now_ms: int) -> bool:
    """Keep a renewed certificate that waited at the desk, where it is ours and holds longer than the one of now.

    Returns:
        Whether it was kept; a folder that takes no file is no reason to end, for the countdown goes on.
    """
    try:
        if certificate.verify_client_leaf(leaf, enrolment.ca, now_ms) != certificate.spki_sha256(enrolment.leaf):
            return False
        if certificate.ends_ms(leaf) <= certificate.ends_ms(enrolment.leaf):
            return False
        write_file(enrolment.folder / TLS_FILE, leaf, mode=PUBLIC, replace=True)
    except (RefusedError, OSError):
        return False
    return True


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotEnrolledError(f"{path} is missing", "the ceremony that makes the keys leaves it there") from error


def _load_pin(path: Path, officer: str) -> bytes:
    try:
        text = path.read_text(encoding="ascii")
    except FileNotFoundError as error:
        hint = f"compare the roster's twelve words, then: exchange node enrol --as {officer} --roster FILE"
        raise NotEnrolledError(f"{path} is missing: no roster was compared for {officer}", hint) from error
    if not _DIGEST.fullmatch(text):
        raise IntegrityError(f"{path}: it is no digest")
    return bytes.fromhex(text)
