"""One way to write a tar, and only that way read: same members, same bytes; nothing in a header can mean two things.

POSIX ustar; names ascend by their bytes; mode 0644, all else zero; two zero blocks end the file, nothing follows. The
reader makes each header again from name and size and compares all 512 bytes, so links, devices, folders, sparse files,
extended headers, other checksums and second names of one file do not exist here. Nothing is ever extracted.

Source: POSIX.1-2017, pax, "ustar Interchange Format".
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from keys.errors import RefusedError

BLOCK = 512
END = bytes(2 * BLOCK)
MAX_MEMBERS = 1 << 20  # a hundred million entries have 800,000 tiles
MAX_NAME_BYTES, MAX_PREFIX_BYTES = 100, 155
MAX_MEMBER_BYTES = 8**11 - 1  # eleven octal digits
_NAME = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_OCTAL = re.compile(rb"[0-7]{11}\0")


def header(name: str, size: int) -> bytes:
    """Return the 512 bytes before a member.

    Raises:
        RefusedError: MALFORMED; the name has a form that a bundle never holds, or is too long, or the size is.
    """
    raw = name.encode("ascii", "replace")
    if not _NAME.fullmatch(raw) or not 0 <= size <= MAX_MEMBER_BYTES:
        raise _refused(name, "no name or size that a bundle can hold")
    prefix, rest = _split(name, raw)
    return _header(prefix, rest, b"%011o" % size)


def _split(name: str, raw: bytes) -> tuple[bytes, bytes]:
    if len(raw) <= MAX_NAME_BYTES:
        return b"", raw
    prefix, _, rest = raw.rpartition(b"/")
    if len(rest) > MAX_NAME_BYTES or len(prefix) > MAX_PREFIX_BYTES:
        raise _refused(name, "a name too long for a tar")
    return prefix, rest


def _header(prefix: bytes, name: bytes, size: bytes) -> bytes:
    parts = (
        name.ljust(100, b"\0"),
        b"0000644\0",
        b"0000000\0" * 2,
        size + b"\0",
        b"00000000000\0",
        b" " * 8,
        b"0" + bytes(100),
        b"ustar\00000",
        bytes(64),
        b"0000000\0" * 2,
        prefix.ljust(155, b"\0"),
        bytes(12),
    )
    block = b"".join(parts)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def write(out: BinaryIO, members: Iterable[tuple[str, bytes]]) -> None:
    """Write a whole tar; *members* ascend by name, none twice.

    Raises:
        RefusedError: MALFORMED; a name out of order or of a wrong form.
    """
    last = ""
    for name, data in members:
        if name <= last:
            raise _refused(name, f"it comes after {last}")
        out.write(header(name, len(data)))
        out.write(data)
        out.write(bytes(-len(data) % BLOCK))
        last = name
    out.write(END)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tar:
    """The members of a tar: where each lies. Made by ``open_tar``; reads its file again each time."""

    path: Path
    members: dict[str, tuple[int, int]] = field(repr=False)  # name: offset, size; in their order

    def read(self, name: str) -> bytes:
        """Return a member's bytes.

        Raises:
            KeyError: There is none of this name.
            RefusedError: MALFORMED; the file has changed since it was opened.
            OSError: The file cannot be read.
        """
        offset, size = self.members[name]
        with self.path.open("rb") as file:
            file.seek(offset)
            data = file.read(size)
        if len(data) != size:
            raise _refused(name, f"{len(data)} bytes instead of {size}: the file has changed")
        return data

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Yield (name, bytes) of all members, in their order, by one reading of the file; errors as ``read``."""
        with self.path.open("rb") as file:
            for name, (offset, size) in self.members.items():
                file.seek(offset)
                data = file.read(size)
                if len(data) != size:
                    raise _refused(name, f"{len(data)} bytes instead of {size}: the file has changed")
                yield name, data


def open_tar(path: Path, *, most: int = MAX_MEMBERS) -> Tar:
    """Read all headers of a tar, and the zeros around its members; no member's content.

    Args:
        path: The file.
        most: How many members it may have.

    Raises:
        RefusedError: MALFORMED; the message names the member, what was found and what was expected.
        OSError: The file cannot be read.
    """
    members: dict[str, tuple[int, int]] = {}
    last, end = "", path.stat().st_size
    with path.open("rb") as file:
        while True:
            at = file.tell()
            block = file.read(BLOCK)
            if block == bytes(BLOCK):
                break
            name, size = parse_header(block, at, last)
            if name <= last:
                raise _refused(name, f"it comes after {last}; names ascend, and none stands twice")
            padding = -size % BLOCK
            if at + BLOCK + size + padding > end:
                raise _refused(name, f"{size} bytes are announced, the file ends after {max(0, end - at - BLOCK)}")
            if len(members) >= most:
                raise _refused(name, f"more than {most} members")
            members[name], last = (at + BLOCK, size), name
            file.seek(size, os.SEEK_CUR)
            if file.read(padding) != bytes(padding):
                raise _refused(name, "other bytes than zeros after it")
        if file.read(BLOCK + 1) != bytes(BLOCK):
            raise RefusedError("MALFORMED", f"after {last or 'nothing'}: two zero blocks and the end were expected")
    return Tar(path=path, members=members)


def parse_header(block: bytes, at: int, last: str) -> tuple[str, int]:
    """Return (name, size) of a header that is exactly the one that we would write; RefusedError MALFORMED."""
    where = f"after {last}" if last else "at the beginning"
    if len(block) != BLOCK:
        raise RefusedError(
            "MALFORMED", f"{where}: the file ends at byte {at + len(block)}, without its two zero blocks"
        )
    name, prefix, size = block[:100].rstrip(b"\0"), block[345:500].rstrip(b"\0"), block[124:136]
    whole = prefix + b"/" + name if prefix else name
    if not _NAME.fullmatch(whole) or not _OCTAL.fullmatch(size):
        raise RefusedError("MALFORMED", f"{where}: no header of a plain file at byte {at}")
    text = whole.decode()
    if header(text, int(size[:11], 8)) != block:
        raise _refused(text, f"its header at byte {at} is not that of a plain file as bundles hold it")
    return text, int(size[:11], 8)


def _refused(name: str, what: str) -> RefusedError:
    return RefusedError("MALFORMED", f"{name}: {what}")
