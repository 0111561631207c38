"""What stands in an evidence file, by name: the proven core, and the pages and helps that are made from it.

``CORE`` members are judged by signatures and proofs. All others are made from the core by this program alone, so a
verifier makes them again and compares: a page that tells another story than the proofs is found.
"""

import hashlib
import re
from collections.abc import Mapping

from keys.errors import RefusedError

PURPOSE = "purpose.txt"
DISPATCH, STATEMENT, TEXT = "dispatch.signed", "statement.signed", "bulletin.txt"
REQUEST, BLIND = "export.signed", "export.blind"
PUBLISHED, RECEIVED = "proofs/published.tlog-proof", "proofs/received.tlog-proof"
EXPORTED, ERASED = "proofs/exported.tlog-proof", "proofs/erased.tlog-proof"
STAMP, STAMPED = "timestamps/stamp.tsr", "proofs/stamped.tlog-proof"  # RFC 3161 over the note in that proof
LOG_HEAD = "proofs/log-head.consistency"
LANE_HEAD, LANE_DELIVERIES = "lane/head.signed", "lane/deliveries.bin"
FIELDS = "disclosures/fields.disclosure"
SUMS, REPORT, PAGE, HOWTO, SCRIPT = "SHA256SUMS", "report.html", "verify.html", "HOWTO-verify.txt", "check.sh"
EDITION = "edition.txt"  # of the pages: another edition words the same proofs in another way
WORDED = frozenset((REPORT, PAGE, HOWTO, SCRIPT, EDITION))
_AGENCY = r"[A-Z]{2}(?:-[A-Z0-9]{2,8}){1,3}"
ROSTERS = re.compile(r"rosters/([1-9][0-9]{0,5})\.signed")
MANIFESTS = re.compile(rf"manifests/({_AGENCY})-([1-9][0-9]{{0,8}})\.signed")
DELIVERIES = re.compile(rf"deliveries/({_AGENCY})-([1-9][0-9]{{0,2}})\.bin")
QUEUED = re.compile(rf"proofs/queued-({_AGENCY})-([1-9][0-9]{{0,2}})\.tlog-proof")
ANSWERED = re.compile(rf"proofs/answered-({_AGENCY})-([1-9][0-9]{{0,2}})\.tlog-proof")
RECEIPTS = re.compile(rf"receipts/({_AGENCY})-([1-9][0-9]{{0,2}})\.tlog-proof")
_PATTERNS = (ROSTERS, MANIFESTS, DELIVERIES, QUEUED, ANSWERED, RECEIPTS)
_SINGLE = frozenset(
    (
        *(PURPOSE, DISPATCH, STATEMENT, TEXT, REQUEST, BLIND, PUBLISHED, RECEIVED, EXPORTED, ERASED),
        *(LOG_HEAD, LANE_HEAD, LANE_DELIVERIES, FIELDS, STAMP, STAMPED),
    )
)
MAX_SEQUENCE_GAP = 1000  # deliveries between ours and a lane head that evidence carries along
MAX_PURPOSE = 500  # characters, as the reason of a request
MAX_LANE_DELIVERY_BYTES = 1 << 10


def is_core(name: str) -> bool:
    """Return whether a member is judged by itself; the others are made from those."""
    return name in _SINGLE or any(each.fullmatch(name) for each in _PATTERNS)


def core_of(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the members that are judged by themselves."""
    return {name: data for name, data in members.items() if is_core(name)}


def numbered(core: Mapping[str, bytes], pattern: re.Pattern[str]) -> dict[tuple[str, int], str]:
    """Return the members of a pattern by agency and number."""
    found = {}
    for name in core:
        match = pattern.fullmatch(name)
        if match is not None:
            found[match[1], int(match[2])] = name
    return found


def rosters_of(core: Mapping[str, bytes]) -> list[bytes]:
    """Return the rosters in the order of their versions."""
    versions = {int(match[1]): name for name in core if (match := ROSTERS.fullmatch(name))}
    return [core[versions[version]] for version in sorted(versions)]


def sums(members: Mapping[str, bytes]) -> bytes:
    """Return SHA256SUMS of all members but itself, in the form that ``sha256sum -c`` reads."""
    rows = (f"{hashlib.sha256(members[name]).hexdigest()}  {name}\n" for name in sorted(members) if name != SUMS)
    return "".join(rows).encode()


def check_sums(members: Mapping[str, bytes]) -> None:
    """Find the member that was altered, added or taken away after the file was made.

    Raises:
        RefusedError: DAMAGED; the message names the member and both digests.
    """
    if SUMS not in members:
        raise RefusedError("DAMAGED", f"{SUMS}: missing")
    expected, stated = sums(members), members[SUMS]
    if stated == expected:
        return
    here, told = _rows(expected), _rows(stated)
    for name in sorted({*here, *told}):
        if here.get(name) != told.get(name):
            found, wanted = here.get(name, b"missing"), told.get(name, b"no such member")
            shown = name.decode("ascii", "replace")
            raise RefusedError(
                "DAMAGED", f"{shown}: {found[:8].decode()} found, {wanted[:8].decode('ascii', 'replace')} expected"
            )
    raise RefusedError("DAMAGED", f"{SUMS}: not in its one form")


def _rows(data: bytes) -> dict[bytes, bytes]:
    parts = (row.partition(b"  ") for row in data.splitlines())
    return {name: digest for digest, _, name in parts}


def read_text(name: str, data: bytes) -> str:
    """Decode a text member; RefusedError MALFORMED."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise RefusedError("MALFORMED", f"{name}: not UTF-8 at byte {error.start}") from error


def pack_deliveries(deliveries: list[bytes]) -> bytes:
    """Join deliveries, each after its length in two big-endian bytes."""
    return b"".join(len(each).to_bytes(2, "big") + each for each in deliveries)


def unpack_deliveries(data: bytes) -> list[bytes]:
    """Part what ``pack_deliveries`` joined; RefusedError MALFORMED."""
    found, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        if not 0 < size <= MAX_LANE_DELIVERY_BYTES or at + 2 + size > len(data):
            raise RefusedError("MALFORMED", f"{LANE_DELIVERIES}: at byte {at}: a delivery of {size} bytes")
        found.append(data[at + 2 : at + 2 + size])
        at += 2 + size
    return found
