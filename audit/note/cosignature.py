"""Cosignatures: a witness's timed statement that a checkpoint extends all that it has seen of the log.

Two types. 0x04 is Ed25519 over the text ``cosignature/v1``, ``time …`` and the checkpoint's three lines. 0x06 is
ML-DSA-44 over a binary structure that also names the cosigner; a log signs its own published checkpoints with it too.
Either stands under a note as ``— name base64(key hash ‖ time ‖ signature)``; verifiers without that key ignore it.

Source: c2sp.org/tlog-cosignature.
"""

import base64
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

from nacl.bindings import crypto_core_ed25519_is_valid_point, crypto_sign_open
from nacl.exceptions import BadSignatureError

from audit.note.checkpoint import (
    MAX_SIGNATURE_LINES,
    Checkpoint,
    SignatureLine,
    is_name,
    parse_line,
    parse_note,
    split_key,
)
from keys.errors import RefusedError

if TYPE_CHECKING:  # a verifier need not load what signs, nor ML-DSA before it meets such a line
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

    from keys.signer import Signer

ED25519_COSIGNATURE = 0x04
MLDSA44_COSIGNATURE = 0x06
MAX_TIME = (1 << 63) - 1
_KEY_BYTES = {ED25519_COSIGNATURE: 32, MLDSA44_COSIGNATURE: 1312}
_SIGNATURE_BYTES = {ED25519_COSIGNATURE: 64, MLDSA44_COSIGNATURE: 2420}
_TYPE_OF = {size: kind for kind, size in _KEY_BYTES.items()}
_TIME_BYTES = 8
_SUBTREE = b"subtree/v1\n\0"
_MAX_NAME_BYTES = 255  # the structure gives names one byte of length


@dataclass(frozen=True, slots=True, kw_only=True)
class CosignerKey:
    """A witness's public key under the witness's name, or a log's ML-DSA-44 key under its origin."""

    name: str
    type: int  # 0x04 Ed25519, 0x06 ML-DSA-44
    key: bytes  # 32 or 1,312 bytes

    @property
    def key_hash(self) -> bytes:
        """Return the four bytes by which a signature line names this key."""
        return _key_hash(self.name, self.type, self.key)

    def __str__(self) -> str:
        """Return ``name+hash+base64``, the form that C2SP tools take."""
        return f"{self.name}+{self.key_hash.hex()}+{base64.b64encode(bytes((self.type,)) + self.key).decode()}"


@lru_cache(maxsize=1024)  # a witness makes its own key's at each cosignature
def cosigner_key(name: str, public_key: bytes) -> CosignerKey:
    """Make the key of a witness, or of a log's ML-DSA-44 line; its length says which type it is.

    Raises:
        RefusedError: MALFORMED (name, or not a point of Ed25519's large group), SUITE_UNKNOWN (length).
    """
    kind = _TYPE_OF.get(len(public_key))
    if kind is None:
        raise RefusedError("SUITE_UNKNOWN", f"cosigner key: {len(public_key)} bytes instead of 32 or 1312")
    if not is_name(name) or len(name.encode()) > _MAX_NAME_BYTES:
        raise _malformed(f"key: a name of 1 to {_MAX_NAME_BYTES} bytes without space or plus was expected")
    if kind == ED25519_COSIGNATURE and not crypto_core_ed25519_is_valid_point(public_key):
        raise _malformed("key: not an Ed25519 public key")
    return CosignerKey(name=name, type=kind, key=public_key)


def parse_cosigner_key(text: str) -> CosignerKey:
    """Read ``name+hash+base64``; one final newline is allowed.

    Raises:
        RefusedError: MALFORMED, SUITE_UNKNOWN (neither type 0x04 nor 0x06).
    """
    name, stated, raw = split_key(text)
    if raw[0:1] not in (b"\4", b"\6"):
        raise RefusedError("SUITE_UNKNOWN", f"cosigner key: type 0x{raw[:1].hex()} instead of 0x04 or 0x06")
    if len(raw) != 1 + _KEY_BYTES[raw[0]]:
        raise _malformed(f"key: {len(raw) - 1} bytes instead of {_KEY_BYTES[raw[0]]}")
    key: CosignerKey = cosigner_key(name, raw[1:])
    if key.key_hash != stated:
        raise _malformed(f"key: hash {stated.hex()} instead of {key.key_hash.hex()}")
    return key


def cosign(checkpoint: Checkpoint, name: str, signer: "Signer", time_s: int) -> str:
    """Return one signature line, with its newline; the signer's key decides the type.

    The caller has put the checkpoint into its state first: a cosignature says that nothing larger was seen.

    Args:
        checkpoint: What is cosigned.
        name: The cosigner's; of a log's own ML-DSA-44 line the origin.
        signer: Ed25519, or plain ML-DSA-44 with the empty context.
        time_s: Seconds since 1970.
    """
    key = cosigner_key(name, signer.key.public_key)
    time = time_s.to_bytes(_TIME_BYTES, "big")
    signature = time + signer.sign(signed_message(checkpoint, key, time_s))
    return str(SignatureLine(name=name, key_hash=key.key_hash, signature=signature))


def verify_cosignature(line: SignatureLine, checkpoint: Checkpoint, key: CosignerKey) -> int:
    """Check a line that names *key*, and return its time in seconds since 1970 (0: the cosigner states none).

    Raises:
        RefusedError: SIGNATURE_INVALID.
    """
    refusal = RefusedError(
        "SIGNATURE_INVALID", f"cosignature: the signature by key {key.key_hash.hex()} of {key.name} is wrong"
    )
    if (line.name, line.key_hash) != (key.name, key.key_hash):
        raise refusal
    time = int.from_bytes(line.signature[:_TIME_BYTES], "big")
    signature = line.signature[_TIME_BYTES:]
    if len(signature) != _SIGNATURE_BYTES[key.type] or time > MAX_TIME:
        raise refusal
    message = signed_message(checkpoint, key, time)
    if key.type == MLDSA44_COSIGNATURE:
        _verify_mldsa44(key.key, signature, message, refusal)
        return time
    try:
        crypto_sign_open(signature + message, key.key)
    except BadSignatureError as error:
        raise refusal from error
    return time


def signed_message(checkpoint: Checkpoint, key: CosignerKey, time_s: int) -> bytes:
    """Return the bytes that the cosigner signs.

    Raises:
        RefusedError: MALFORMED; an origin that is too long for the structure of type 0x06.
    """
    if key.type == ED25519_COSIGNATURE:
        return f"cosignature/v1\ntime {time_s}\n{checkpoint.text()}".encode()
    origin, name = checkpoint.origin.encode(), key.name.encode()
    if len(origin) > _MAX_NAME_BYTES:
        raise _malformed(f"an origin of {len(origin)} bytes, more than {_MAX_NAME_BYTES}")
    return b"".join(
        (
            _SUBTREE,
            len(name).to_bytes(1, "big") + name,
            time_s.to_bytes(_TIME_BYTES, "big"),
            len(origin).to_bytes(1, "big") + origin,
            bytes(8),  # from leaf 0: a whole tree
            checkpoint.size.to_bytes(8, "big"),
            checkpoint.root,
        )
    )


def parse_lines(text: str) -> tuple[SignatureLine, ...]:
    """Read what a witness answers: signature lines, each with its newline, nothing else; none is verified.

    Raises:
        RefusedError: MALFORMED.
    """
    lines = text.split("\n")
    if len(lines) < 2 or lines[-1] != "" or len(lines) - 1 > MAX_SIGNATURE_LINES:
        raise _malformed(f"1 to {MAX_SIGNATURE_LINES} lines were expected, each with its newline")
    return tuple(parse_line(line, number) for number, line in enumerate(lines[:-1], 1))


def add_lines(note: str, lines: str) -> str:
    """Return *note* with signature lines added: the log's own first, then the others in the order they came.

    A line by the same name and key hash takes the place of the one before it; whoever calls has verified it.

    Args:
        note: A checkpoint with at least one line.
        lines: Signature lines, each with its newline.

    Raises:
        RefusedError: MALFORMED; also where more than 32 lines would stand under the note.
    """
    read = parse_note(note)
    merged = {(line.name, line.key_hash): line for line in (*read.signatures, *parse_lines(lines))}
    own = [line for line in merged.values() if line.name == read.checkpoint.origin]
    others = [line for line in merged.values() if line.name != read.checkpoint.origin]
    text = f"{read.checkpoint.text()}\n{''.join(map(str, own + others))}"
    parse_note(text)  # its limits hold for what we make, too
    return text


@lru_cache(maxsize=1024)  # the same few witnesses, thousands of times a second
def _key_hash(name: str, kind: int, key: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + bytes((kind,)) + key).digest()[:4]


def _verify_mldsa44(key: bytes, signature: bytes, message: bytes, refusal: RefusedError) -> None:
    from cryptography.exceptions import InvalidSignature

    try:
        _mldsa44(key).verify(signature, message)
    except InvalidSignature as error:
        raise refusal from error


@lru_cache(maxsize=256)
def _mldsa44(raw: bytes) -> "MLDSA44PublicKey":
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

    return MLDSA44PublicKey.from_public_bytes(raw)


def _malformed(what: str) -> RefusedError:
    return RefusedError("MALFORMED", f"cosignature: {what}")
