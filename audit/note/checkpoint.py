"""Checkpoints: C2SP signed notes of three body lines, read in one way only.

``origin``, ``size``, ``root`` in base64, no extension lines; then a blank line and signature lines ``— name base64``.
(origin, size, root) are what is compared, never a file's hash. A line under the known key that does not verify
refuses the note; lines under other keys are ignored. The signature is over the text itself, no frame.

Sources: c2sp.org/signed-note, c2sp.org/tlog-checkpoint.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

from nacl.bindings import crypto_core_ed25519_is_valid_point, crypto_sign_open
from nacl.exceptions import BadSignatureError

from keys.bounds import MAX_NOTE_BYTES
from keys.errors import RefusedError
from keys.values import hot_value

if TYPE_CHECKING:  # a verifier need not load what signs
    from keys.signer import Signer

MAX_SIGNATURE_LINES = 32
MAX_SIZE = (1 << 63) - 1
ED25519_TYPE = 0x01  # C2SP's number of a plain Ed25519 note signature
_DASH = "— "
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_HASH_TEXT = re.compile(r"[0-9a-f]{8}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")  # all below the space but the newline
_NAME = re.compile(r"[^\s+\x00-\x1f]+")


@hot_value(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a log commits to: every entry below ``size`` by ``root``."""

    origin: str
    size: int
    root: bytes  # 32 bytes

    def text(self) -> str:
        """Return the three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureLine:
    """One line under a note: a hint of whose key it is, and the signature, not yet verified."""

    name: str
    key_hash: bytes  # 4 bytes
    signature: bytes

    def __str__(self) -> str:
        """Return the line with its newline, as it stands in a note."""
        return f"{_DASH}{self.name} {base64.b64encode(self.key_hash + self.signature).decode()}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A checkpoint as read from its text; nothing in it is verified."""

    checkpoint: Checkpoint
    signatures: tuple[SignatureLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierKey:
    """A log's Ed25519 key under the log's name, as ``log.vkey`` holds it."""

    name: str  # the origin
    key: bytes  # 32 bytes

    @property
    def key_hash(self) -> bytes:
        """Return the four bytes by which a signature line names this key."""
        return _key_hash(self.name, self.key)

    def __str__(self) -> str:
        """Return ``name+hash+base64``, the form that C2SP tools take."""
        key = base64.b64encode(bytes((ED25519_TYPE,)) + self.key).decode()
        return f"{self.name}+{self.key_hash.hex()}+{key}"


def parse_verifier_key(text: str) -> VerifierKey:
    """Read ``name+hash+base64``; one final newline is allowed.

    Raises:
        RefusedError: MALFORMED (form, or a point that is not one of the curve's large group), SUITE_UNKNOWN (not
            type 0x01).
    """
    name, stated, raw = split_key(text)
    if raw[:1] != bytes((ED25519_TYPE,)):
        raise RefusedError("SUITE_UNKNOWN", f"verifier key: type 0x{raw[:1].hex()} instead of 0x01")
    if len(raw) != 33 or not crypto_core_ed25519_is_valid_point(raw[1:]):
        raise _malformed("verifier key: not an Ed25519 public key")
    key = VerifierKey(name=name, key=raw[1:])
    if key.key_hash != stated:
        raise _malformed(f"verifier key: hash {stated.hex()} instead of {key.key_hash.hex()}")
    return key


def split_key(text: str) -> tuple[str, bytes, bytes]:
    """Split ``name+hash+base64`` into name, the four bytes of hash as stated, and type byte with key; unchecked.

    Raises:
        RefusedError: MALFORMED.
    """
    parts = text.removesuffix("\n").split("+", 2)
    if len(parts) != 3 or not is_name(parts[0]) or not _HASH_TEXT.fullmatch(parts[1]):
        raise _malformed("a verifier key reads <name>+<8 hex digits>+<base64>")
    return parts[0], bytes.fromhex(parts[1]), decode_base64(parts[2], "verifier key")


def sign_checkpoint(checkpoint: Checkpoint, signer: "Signer") -> str:
    """Return the signed note: the checkpoint's text with the log's own line under it.

    The caller has put (origin, size, root) into the lock first.
    """
    key = VerifierKey(name=checkpoint.origin, key=signer.key.public_key)
    text = checkpoint.text()
    line = SignatureLine(name=key.name, key_hash=key.key_hash, signature=signer.sign(text.encode()))
    return f"{text}\n{line}"


def parse_note(text: str) -> Note:
    """Read a checkpoint strictly; no signature is verified.

    Raises:
        RefusedError: MALFORMED; the message says which line and what was expected.
    """
    try:
        if len(text) > MAX_NOTE_BYTES or len(text.encode()) > MAX_NOTE_BYTES:
            raise _malformed(f"more than {MAX_NOTE_BYTES} bytes")
    except UnicodeEncodeError as error:
        raise _malformed("not UTF-8") from error
    lines = text.split("\n")
    if len(lines) < 6 or lines[-1] != "" or lines[3] != "":
        raise _malformed("expected three lines, a blank one and signature lines, each with its newline")
    if len(lines) - 5 > MAX_SIGNATURE_LINES:
        raise _malformed(f"{len(lines) - 5} signature lines, more than {MAX_SIGNATURE_LINES}")
    if _CONTROL.search(text):
        raise _malformed("a control character")
    checkpoint = _parse_body(lines[:3])
    signatures = tuple(parse_line(line, number) for number, line in enumerate(lines[4:-1], 5))
    return Note(checkpoint=checkpoint, signatures=signatures)


def _parse_body(lines: list[str]) -> Checkpoint:
    origin, size, root = lines
    if not is_name(origin):
        raise _malformed("line 1: an origin without space or plus was expected")
    if not _SIZE.fullmatch(size) or int(size) > MAX_SIZE:
        raise _malformed("line 2: a size in plain decimal digits was expected")
    digest = decode_base64(root, "line 3")
    if len(digest) != 32:
        raise _malformed(f"line 3: a root of {len(digest)} bytes instead of 32")
    return Checkpoint(origin=origin, size=int(size), root=digest)


def parse_line(line: str, number: int) -> SignatureLine:
    """Read one signature line, without its newline; *number* is its line in the file, from 1, for messages.

    Raises:
        RefusedError: MALFORMED.
    """
    name, space, text = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space or not is_name(name):
        raise _malformed(f"line {number}: a signature line '— name base64' was expected")
    raw = decode_base64(text, f"line {number}")
    if len(raw) < 5:
        raise _malformed(f"line {number}: a signature of {len(raw)} bytes")
    return SignatureLine(name=name, key_hash=raw[:4], signature=raw[4:])


def verify_note(text: str, key: VerifierKey) -> Checkpoint:
    """Return the checkpoint, if *key* is its origin's and signed it.

    Raises:
        RefusedError: MALFORMED, SIGNER_UNKNOWN (another origin, or no line by this key), SIGNATURE_INVALID.
    """
    return verify_read(parse_note(text), key)


def verify_read(note: Note, key: VerifierKey) -> Checkpoint:
    """Do the same with a note that was read before; errors as ``verify_note``."""
    checkpoint = note.checkpoint
    if checkpoint.origin != key.name:
        raise RefusedError("SIGNER_UNKNOWN", f"checkpoint: origin {checkpoint.origin}, but the key is {key.name}'s")
    lines = [s for s in note.signatures if s.name == key.name and s.key_hash == key.key_hash]
    if not lines:
        raise RefusedError("SIGNER_UNKNOWN", f"checkpoint: no signature by key {key.key_hash.hex()} of {key.name}")
    if len(lines) > 1:
        raise _malformed(f"two signature lines by key {key.key_hash.hex()}")
    verify_line(lines[0], checkpoint.text().encode(), key)
    return checkpoint


def verify_line(line: SignatureLine, text: bytes, key: VerifierKey) -> None:
    """Check one signature line over the note's text.

    Raises:
        RefusedError: SIGNATURE_INVALID.
    """
    refusal = RefusedError("SIGNATURE_INVALID", f"checkpoint: the signature by key {key.key_hash.hex()} is wrong")
    if len(line.signature) != 64:
        raise refusal
    try:
        crypto_sign_open(line.signature + text, key.key)
    except BadSignatureError as error:
        raise refusal from error


def decode_base64(text: str, where: str) -> bytes:
    """Decode canonical base64: the only text that encodes its bytes.

    Raises:
        RefusedError: MALFORMED; *where* begins the message.
    """
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:  # binascii.Error, or text that is not ASCII
        raise _malformed(f"{where}: not base64") from error
    if binascii.b2a_base64(raw, newline=False).decode() != text:
        raise _malformed(f"{where}: base64 with other padding bits than it should have")
    return raw


def is_name(text: str) -> bool:
    """Return whether *text* may name a key: not empty, without white space, plus or control character."""
    return _NAME.fullmatch(text) is not None


@lru_cache(maxsize=1024)  # the same few logs, thousands of times a second
def _key_hash(name: str, key: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + bytes((ED25519_TYPE,)) + key).digest()[:4]


def _malformed(what: str) -> RefusedError:
    return RefusedError("MALFORMED", f"checkpoint: {what}")
