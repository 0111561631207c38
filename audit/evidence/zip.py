"""A file of files that can be written in one way only: a ZIP without compression that any computer opens.

Members in the order of their names, no compression, no times, no comments, nothing between them. What is read is
written again and compared, so every byte of an archive is either a member's own or the only one that can stand there:
two readers never see two things in one file, and nothing can hide beside the members.

Source: PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16.
"""

import re
import struct
import zlib
from collections.abc import Mapping

from keys.errors import RefusedError

MAGIC = b"PK\x03\x04"
MAX_MEMBERS = 4400  # 1,000 recipients with four members each, and room
MAX_MEMBER_BYTES = 8 << 20
MAX_ARCHIVE_BYTES = 24 << 20  # a statement of 1 MiB stands in it three times: as bytes, as a frame, in a page
_MAX_NAME_BYTES = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*(/[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*){0,2}")
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_VERSION = 20  # folders in names
_MADE_BY = 3 << 8 | _VERSION  # Unix, so that the mode below counts
_DATE = 1 << 5 | 1  # 1980-01-01, the earliest that the format knows
_MODE = 0o100644 << 16


def write_archive(members: Mapping[str, bytes]) -> bytes:
    """Return the one archive of *members*.

    Raises:
        ValueError: A name or a size that ``read_archive`` would refuse.
    """
    if not 0 < len(members) <= MAX_MEMBERS:
        raise ValueError(f"an archive of {len(members)} members")
    local, central = bytearray(), bytearray()
    for name in sorted(members):
        data, raw = members[name], name.encode()
        if not is_member_name(name) or len(data) > MAX_MEMBER_BYTES:
            raise ValueError(f"member {name!a} of {len(data)} bytes")
        offset, crc = len(local), zlib.crc32(data)
        local += _LOCAL.pack(MAGIC, _VERSION, 0, 0, 0, _DATE, crc, len(data), len(data), len(raw), 0) + raw + data
        rest = (crc, len(data), len(data), len(raw), 0, 0, 0, 0, _MODE, offset)
        central += _CENTRAL.pack(b"PK\x01\x02", _MADE_BY, _VERSION, 0, 0, 0, _DATE, *rest) + raw
    count = len(members)
    end = _END.pack(b"PK\x05\x06", 0, 0, count, count, len(central), len(local), 0)
    return bytes(local + central + end)


def read_archive(data: bytes) -> dict[str, bytes]:
    """Return the members of an archive that ``write_archive`` could have written.

    Raises:
        RefusedError: TOO_LARGE, MALFORMED; the message says which member or byte, and what was expected.
    """
    if len(data) > MAX_ARCHIVE_BYTES:
        raise RefusedError("TOO_LARGE", f"archive: {len(data)} bytes, at most {MAX_ARCHIVE_BYTES} were expected")
    members: dict[str, bytes] = {}
    at = 0
    while data[at : at + 4] == MAGIC:
        name, content, at = _member(data, at)
        if members and name <= max(members):
            raise _malformed(at, f"member {name} after {max(members)}; ascending names were expected")
        if len(members) == MAX_MEMBERS:
            raise _malformed(at, f"more than {MAX_MEMBERS} members")
        members[name] = content
    if not members:
        raise _malformed(0, f"begins with {data[:4].hex() or 'nothing'} instead of {MAGIC.hex()}")
    whole = write_archive(members)
    if whole != data:
        offset = next((i for i, (one, two) in enumerate(zip(whole, data, strict=False)) if one != two), len(whole))
        raise _malformed(min(offset, len(data)), f"{_where(members, offset)}: not the bytes that such a file must have")
    return members


def is_member_name(name: str) -> bool:
    """Return whether a member may have this name: letters, digits, ``_ - .`` and at most two folders."""
    return len(name) <= _MAX_NAME_BYTES and _NAME.fullmatch(name) is not None


def _member(data: bytes, at: int) -> tuple[str, bytes, int]:
    """Read the member that begins at *at*; return where the next one does."""
    if len(data) - at < _LOCAL.size:
        raise _malformed(at, "ends in the head of a member")
    size, name_size = _LOCAL.unpack_from(data, at)[8:10]
    start = at + _LOCAL.size
    raw = data[start : start + name_size]
    name = raw.decode("ascii", "replace")
    if not is_member_name(name):
        raise _malformed(start, f"a member named {name[:40]!a}; letters, digits, _ - . and / were expected")
    start += name_size
    if size > MAX_MEMBER_BYTES:
        raise _malformed(at, f"{name}: {size} bytes, at most {MAX_MEMBER_BYTES} were expected")
    if len(data) - start < size:
        raise _malformed(at, f"{name}: {len(data) - start} of {size} bytes; the file is cut off")
    return name, data[start : start + size], start + size


def _where(members: Mapping[str, bytes], offset: int) -> str:
    """Name the member in whose head *offset* lies, or the directory at the end."""
    at = 0
    for name in sorted(members):
        at += _LOCAL.size + len(name) + len(members[name])
        if offset < at:
            return f"the head of {name}"
    return "the directory at the end"


def _malformed(at: int, what: str) -> RefusedError:
    return RefusedError("MALFORMED", f"archive: at byte {at}: {what}")
