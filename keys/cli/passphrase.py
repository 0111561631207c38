"""Passphrases in files: one rule for every command, so that a file that made keys opens them.

A file's line is a passphrase. It ends in LF or CRLF, as the system of whoever wrote it has it, and just that is taken
off: a blank, or a CR elsewhere, belongs to the passphrase. What an editor puts into a file and nobody can type is refused.
"""

from __future__ import annotations

import os
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE

import click

from keys.errors import RefusedError

MAX_PASSPHRASE_BYTES = 1024
_MAX_LINES = 1024
_NOT_TYPED = (BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE)


def passphrases_in(data: bytes, name: str) -> list[bytes]:
    """Return the lines of a file, without what ends them.

    Args:
        data: The file, or its beginning up to the end of a line.
        name: For the message.

    Raises:
        RefusedError: UNOPENABLE where it holds none, or something that is none.
    """
    if data.startswith(_NOT_TYPED) or b"\0" in data:
        raise RefusedError("UNOPENABLE", f"{name} is no plain text: save it as UTF-8, without a byte order mark")
    *ended, rest = data.split(b"\n")
    lines = [*(line.removesuffix(b"\r") for line in ended), *([rest] if rest else [])]
    if not lines or not lines[0]:
        raise RefusedError("UNOPENABLE", f"{name} holds no passphrase")
    if len(lines) > _MAX_LINES or max(map(len, lines)) > MAX_PASSPHRASE_BYTES:
        raise RefusedError(
            "UNOPENABLE", f"{name} holds more than {_MAX_LINES:,} lines, or one of over {MAX_PASSPHRASE_BYTES:,} bytes"
        )
    return lines


def first_passphrase(descriptor: int) -> bytes:
    """Read a descriptor to the end of its first line; errors as ``passphrases_in``, USAGE where it cannot be read."""
    return passphrases_in(_read(descriptor, MAX_PASSPHRASE_BYTES + 2, b"\n"), _name(descriptor))[0]


def all_passphrases(descriptor: int) -> list[bytes]:
    """Read the lines of a descriptor to its end; errors as ``first_passphrase``."""
    return passphrases_in(_read(descriptor, _MAX_LINES * (MAX_PASSPHRASE_BYTES + 2) + 1), _name(descriptor))


def _name(descriptor: int) -> str:
    return f"file descriptor {descriptor}"


def _read(descriptor: int, most: int, until: bytes = b"") -> bytes:
    data = b""
    try:
        while len(data) < most and not (until and until in data):
            more = os.read(descriptor, most - len(data))
            if not more:
                break
            data += more
    except OSError as error:
        raise click.UsageError(f"descriptor {descriptor} cannot be read: {error.strerror}") from error
    return data
