"""A long file sealed to a passphrase or to an encryption key of ours, written and read in one pass: backups.

``exchange-backup/1\\n`` ‖ header (JSON in one line) ‖ ``\\n`` ‖ Cobblestone-256 stream. The header says how the file opens
and whatever its maker tells about the content; it is readable without a key, and bound to the stream through its
context, so that nothing in it can be changed. Memory stays flat. The decryptor hands out pieces before the end is
checked: whoever reads uses nothing before ``read_end`` returned.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import BinaryIO

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag

from keys import seal
from keys.errors import RefusedError
from keys.identity import short
from keys.keystore import ROOT, Profile, derive, parameters
from keys.seal import WindowOpener
from keys.signer import PublicKey

MAGIC = b"exchange-backup/1\n"
MAX_HEADER_BYTES = 1 << 14
PIECE_BYTES = 1 << 20
_KEY_BYTES, _SALT_BYTES = 32, 16
_LABEL, _WRAP_LABEL = b"exchange/v1/backup\0", b"exchange/v1/backup-key\0"

Random = Callable[[int], bytes]
Facts = Mapping[str, str | int]


class SealedWriter:
    """Writes one sealed file; what ``write`` is given leaves in pieces, and ``finish`` ends it."""

    def __init__(self, out: BinaryIO, header: bytes, key: bytes) -> None:
        self._out = out
        self._sealer = Cobblestone256Encryptor(key, _context(header))
        out.write(header)

    def write(self, data: bytes) -> int:
        """Seal what comes next."""
        self._out.write(self._sealer.update(data))
        return len(data)

    def finish(self) -> None:
        """Seal the end; without it the file opens for nobody."""
        self._out.write(self._sealer.finalize())


class SealedReader:
    """Reads one sealed file.

    Args:
        source: Behind its header.
        name: The file's, for messages.
        header: As ``read_header`` returned it.
        key: That the stream is sealed under.
    """

    def __init__(self, source: BinaryIO, name: str, header: bytes, key: bytes) -> None:
        self._source, self.name = source, name
        self._opener = Cobblestone256Decryptor(key, _context(header))
        self._open = b""
        self._at = 0

    def read(self, size: int) -> bytes:
        """Return the next bytes, fewer at the end; RefusedError UNOPENABLE."""
        parts, missing = [], size
        while missing:
            if self._at == len(self._open) and not self._next():
                break
            part = self._open[self._at : self._at + missing]
            self._at += len(part)
            missing -= len(part)
            parts.append(part)
        return b"".join(parts)

    def read_end(self) -> None:
        """Check that nothing was cut off or follows; only now may what was read be used. RefusedError UNOPENABLE."""
        if self.read(1):
            raise RefusedError("MALFORMED", f"{self.name}: more follows after its last file")

    def _next(self) -> bool:
        while self._source is not None:
            sealed = self._source.read(PIECE_BYTES)
            try:
                self._open = self._opener.update(sealed) if sealed else self._opener.finalize()
            except (InvalidTag, ValueError):
                raise closed(self.name) from None
            self._at = 0
            if not sealed:
                self._source = None  # type: ignore[assignment] # the end was checked
            if self._open:
                return True
        return False


def for_passphrase(
    facts: Facts, passphrase: bytes, random_bytes: Random, profile: Profile = ROOT
) -> tuple[bytes, bytes]:
    """Return header and key of a file that a passphrase opens; RefusedError NOT_ALLOWED for an empty one."""
    salt = random_bytes(_SALT_BYTES)
    cost = {"kdf": "argon2id", "memory_kib": profile.memory_kib, "passes": profile.passes, "salt": salt.hex()}
    return _header({**facts, **cost}), derive(passphrase, salt, profile)


def for_key(facts: Facts, recipient: PublicKey, random_bytes: Random) -> tuple[bytes, bytes]:
    """Return header and key of a file that an encryption key of ours opens (HPKE); RefusedError for another key."""
    key = random_bytes(_KEY_BYTES)
    wrapped = seal.wrap(key, recipient, _WRAP_LABEL + recipient.key_id)
    return _header({**facts, "kdf": "hpke", "key_id": recipient.key_id.hex(), "wrap": wrapped.hex()}), key


def read_header(source: BinaryIO, name: str) -> tuple[bytes, dict[str, object]]:
    """Read a file's header; nothing in it is verified before the stream has opened.

    Raises:
        RefusedError: MALFORMED, it is no such file, or of another version.
    """
    raw = source.read(len(MAGIC))
    if raw != MAGIC:
        other = raw.startswith(MAGIC[:16])
        raise RefusedError(
            "MALFORMED", f"{name} is {'of a newer format' if other else 'no backup'}; version 1 was expected"
        )
    line = source.readline(MAX_HEADER_BYTES)
    try:
        head = json.loads(line)
    except (ValueError, RecursionError):
        head = None
    if not isinstance(head, dict) or _header(head) != raw + line:
        raise RefusedError("MALFORMED", f"{name} has a damaged header")
    return raw + line, head


def needs_passphrase_alone(head: Mapping[str, object]) -> bool:
    """Return whether a passphrase opens the file; else a key does."""
    return head.get("kdf") == "argon2id"


def key_by_passphrase(head: Mapping[str, object], name: str, passphrase: bytes) -> bytes:
    """Return the key of a file; RefusedError MALFORMED for a header that is not ours, NOT_ALLOWED."""
    return derive(passphrase, *parameters(name, head))


def key_by_opener(head: Mapping[str, object], name: str, opener: WindowOpener) -> bytes:
    """Return the key of a file that was sealed to a key; RefusedError SIGNER_UNKNOWN for another one's, UNOPENABLE."""
    wanted, wrapped = head.get("key_id"), head.get("wrap")
    if head.get("kdf") != "hpke" or not isinstance(wanted, str) or not isinstance(wrapped, str):
        raise RefusedError("MALFORMED", f"{name} is sealed in a way that this program does not know")
    key_id = opener.public.key_id
    if wanted != key_id.hex():
        raise RefusedError("UNOPENABLE", f"{name} is sealed to key {wanted[:8]}, and this is key {short(key_id)}")
    try:
        found = opener.try_unwrap(bytes.fromhex(wrapped), _WRAP_LABEL + key_id)
    except ValueError:
        found = None
    if found is None:
        raise closed(name)
    return found


def closed(name: str) -> RefusedError:
    """Make the one error of a file that does not open."""
    return RefusedError(
        "UNOPENABLE", f"{name} does not open: another passphrase or key, or a truncated or altered file"
    )


def _header(head: Mapping[str, object]) -> bytes:
    return MAGIC + json.dumps(head, separators=(",", ":"), sort_keys=True).encode() + b"\n"


def _context(header: bytes) -> bytes:
    return _LABEL + hashlib.sha256(header).digest()
