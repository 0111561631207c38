"""Private keys at rest: own file format, version 1.

``exchange-keys/1\\n`` ‖ header (JSON in one line) ‖ ``\\n`` ‖ nonce 24 ‖ ciphertext. All before the nonce is associated
data, so no parameter, name or key id can be changed. XChaCha20-Poly1305 under Argon2id of the passphrase; parameters
are read from the header, never below the floor. One derivation per holder: what belongs to one holder is one file.

A node has a second file, its encryption and storage keys, under HMAC-SHA-256(derived key, 32 random bytes); the random
bytes lie in a third, made again and overwritten in place whenever keys are destroyed, so that an old copy of the second
opens nothing. No backup may hold the second or the third (docs/design.md, "At rest").
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id

from keys.errors import RefusedError
from keys.files import PRIVATE, overwrite_in_place, read_private, sync_folder, write_file
from keys.identity import Usage
from keys.seal import EncryptionKey, WindowOpener
from keys.secret import Secret
from keys.signer import Signer, second_suite_of, seed_length, signer_from_seed, suite_of
from keys.suites import HYBRID_KEM

MAGIC = b"exchange-keys/1\n"
NODE_FILE, SEALING_FILE, RANDOM_FILE = "node.keys", "sealing.keys", "sealing.random"
_NEXT_FILE = "sealing.next"
MAX_FILE_BYTES = 1 << 18  # a node's keys for a year of windows stay below
MIN_MEMORY_KIB, MIN_PASSES = 64 * 1024, 3  # the floor: RFC 9106's second recommendation
MAX_MEMORY_KIB, MAX_PASSES = 1024 * 1024, 16  # above, an altered header only wastes our memory
_KEY_BYTES, _SALT_BYTES, _NONCE_BYTES = 32, 16, 24
Passphrase = bytes | Callable[[], bytes]  # itself, or what asks for it
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What one guess of the passphrase costs."""

    memory_kib: int
    passes: int


INTERACTIVE = Profile(memory_kib=MIN_MEMORY_KIB, passes=MIN_PASSES)  # about 0.15 s
ROOT = Profile(memory_kib=256 * 1024, passes=3)  # for agency and roster roots; up to 2 s


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """One private key in a file. ``usage`` and ``suite`` are 0 for keys that are no exchange keys (TLS, storage)."""

    secret: Secret  # the seed: 32 bytes, 64 for suite 2; a TLS key's scalar
    key_id: bytes  # 32 bytes; of a TLS key the SHA-256 of its public key
    owner: str
    usage: int = 0
    suite: int = 0
    from_ms: int = 0  # the window of an encryption or storage key; 0 where there is none
    until_ms: int = 0

    def signer(self) -> Signer:
        """Make the signer of it; RefusedError SUITE_UNKNOWN if it cannot sign."""
        return signer_from_seed(Usage(self.usage), self.suite, self.owner, self.secret.reveal())

    def opener(self) -> WindowOpener:
        """Make what opens with this encryption key."""
        return EncryptionKey.from_seed(self.owner, self.secret.reveal())


@dataclass(frozen=True, slots=True, kw_only=True)
class Keystore:
    """An opened file: its keys by name, and the derived key, which opens the node's second file."""

    keys: Mapping[str, StoredKey]
    derived: Secret

    def signer(self, name: str) -> Signer:
        """Return what signs with a key of this file; RefusedError MALFORMED where there is none of this name."""
        if name not in self.keys:
            raise RefusedError("MALFORMED", f"the store holds no key {name}")
        return self.keys[name].signer()


def new_signing_key(
    usage: Usage, owner: str, random_bytes: Callable[[int], bytes], *, second: bool = False
) -> StoredKey:
    """Make a signing key of the usage's suite, or of its second suite."""
    suite = second_suite_of(usage) if second else suite_of(usage)
    seed = random_bytes(seed_length(suite))
    return stored_signer(signer_from_seed(usage, suite, owner, seed), seed)


def new_window_key(owner: str, random_bytes: Callable[[int], bytes], from_ms: int, until_ms: int) -> StoredKey:
    """Make an encryption key with its window, milliseconds UTC."""
    seed = random_bytes(seed_length(HYBRID_KEM))
    return stored_encryption(EncryptionKey.from_seed(owner, seed), seed, from_ms, until_ms)


def stored_signer(signer: Signer, seed: bytes) -> StoredKey:
    """Make the entry of a signing key."""
    key = signer.key
    return StoredKey(secret=Secret(seed), key_id=key.key_id, owner=key.owner, usage=key.usage, suite=key.suite)


def stored_encryption(key: EncryptionKey, seed: bytes, from_ms: int, until_ms: int) -> StoredKey:
    """Make the entry of an encryption key with its window."""
    public = key.public
    return StoredKey(
        secret=Secret(seed),
        key_id=public.key_id,
        owner=public.owner,
        usage=public.usage,
        suite=public.suite,
        from_ms=from_ms,
        until_ms=until_ms,
    )


def save_keystore(
    path: Path,
    passphrase: bytes,
    keys: Mapping[str, StoredKey],
    profile: Profile,
    random_bytes: Callable[[int], bytes],
) -> Keystore:
    """Write a holder's keys under a passphrase into a new file of mode 0600.

    Returns:
        The store as ``load_keystore`` would open it, without a second derivation.

    Raises:
        FileExistsError: There is such a file; it stays as it is.
        RefusedError: NOT_ALLOWED for an empty passphrase.
    """
    salt = random_bytes(_SALT_BYTES)
    derived = derive(passphrase, salt, profile)
    head = {
        "kdf": "argon2id",
        "memory_kib": profile.memory_kib,
        "passes": profile.passes,
        "salt": salt.hex(),
    }
    write_file(path, _seal(head, keys, derived, random_bytes), mode=PRIVATE)
    return Keystore(keys=dict(keys), derived=Secret(derived))


def load_keystore(path: Path, passphrase: Passphrase) -> Keystore:
    """Open a holder's keys.

    Args:
        path: The file.
        passphrase: Or what asks for it: only once there is a file that a passphrase may open.

    Raises:
        FileNotFoundError: There is no such file.
        RefusedError: NOT_ALLOWED if others may read it, MALFORMED if it is no keystore or below the floor,
            UNOPENABLE for another passphrase or an altered file.
    """
    data = read_private(path, MAX_FILE_BYTES)
    head, _ = _split(str(path), data)
    costs = parameters(str(path), head)
    derived = derive(passphrase() if callable(passphrase) else passphrase, *costs)
    return Keystore(keys=_open(str(path), data, derived), derived=Secret(derived))


def save_sealing_keys(
    folder: Path,
    derived: Secret,
    keys: Mapping[str, StoredKey],
    random_bytes: Callable[[int], bytes],
) -> None:
    """Write the node's second file again, under new random bytes; keys left out are destroyed by it.

    Args:
        derived: Of the node's first file.
    """
    fresh = random_bytes(_KEY_BYTES)
    target, current, following = (folder / name for name in (SEALING_FILE, RANDOM_FILE, _NEXT_FILE))
    write_file(following, fresh, mode=PRIVATE, replace=True)
    # A crash from here on leaves a second file that opens with one of the two; loading takes the one that fits.
    data = _seal({"kdf": "hmac-sha256"}, keys, _sealing_key(derived, fresh), random_bytes)
    write_file(target, data, mode=PRIVATE, replace=True)
    if not current.exists():
        write_file(current, fresh, mode=PRIVATE)
    _finish(folder, fresh)


def load_sealing_keys(folder: Path, derived: Secret) -> dict[str, StoredKey]:
    """Open the node's second file; errors as ``load_keystore``."""
    path = folder / SEALING_FILE
    data = read_private(path, MAX_FILE_BYTES)
    head, _ = _split(str(path), data)
    if head["kdf"] != "hmac-sha256":
        raise RefusedError("MALFORMED", f"{path} is another kind of key file")
    candidates = [folder / name for name in (RANDOM_FILE, _NEXT_FILE) if (folder / name).exists()]
    for candidate in candidates:
        random = read_private(candidate, _KEY_BYTES)
        try:
            keys = _open(str(path), data, _sealing_key(derived, random))
        except RefusedError:
            continue
        if candidate.name == _NEXT_FILE:  # a crash came between: finish what was begun
            _finish(folder, random)
        return keys
    if not candidates:
        raise RefusedError("KEY_GONE", f"{folder / RANDOM_FILE} is missing, and without it {path} opens for nobody")
    raise _closed(str(path))


def _finish(folder: Path, random: bytes) -> None:
    """Let the random bytes that the second file was written under take the old ones' very place."""
    overwrite_in_place(folder / RANDOM_FILE, random)
    overwrite_in_place(folder / _NEXT_FILE, bytes(_KEY_BYTES))
    (folder / _NEXT_FILE).unlink()
    sync_folder(folder)


def _sealing_key(derived: Secret, random: bytes) -> bytes:
    return hmac.new(derived.reveal(), random, hashlib.sha256).digest()


def derive(passphrase: bytes, salt: bytes, profile: Profile) -> bytes:
    """Derive 32 bytes from a passphrase by Argon2id; RefusedError NOT_ALLOWED for an empty one."""
    if not passphrase:
        raise RefusedError("NOT_ALLOWED", "an empty passphrase protects nothing")
    memory = profile.memory_kib * 1024
    return bytes(argon2id.kdf(_KEY_BYTES, passphrase, salt, opslimit=profile.passes, memlimit=memory))


def _seal(
    head: Mapping[str, object],
    keys: Mapping[str, StoredKey],
    key: bytes,
    random_bytes: Callable[[int], bytes],
) -> bytes:
    for name in keys:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a name for a key")
    names = sorted(keys)
    listed = [_listed(name, keys[name]) for name in names]
    aad = MAGIC + _line({**head, "keys": listed}) + b"\n"
    nonce = random_bytes(_NONCE_BYTES)
    plain = b"".join(len(seed).to_bytes(2, "big") + seed for seed in (keys[name].secret.reveal() for name in names))
    return aad + nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(plain, aad, nonce, key)


def _listed(name: str, key: StoredKey) -> dict[str, object]:
    return {
        "name": name,
        "usage": key.usage,
        "suite": key.suite,
        "owner": key.owner,
        "key_id": key.key_id.hex(),
        "from_ms": key.from_ms,
        "until_ms": key.until_ms,
    }


def _line(head: Mapping[str, object]) -> bytes:
    return json.dumps(head, separators=(",", ":"), sort_keys=True).encode()


def _split(name: str, data: bytes) -> tuple[dict[str, object], int]:
    """Read the header; return it and where the nonce begins. Nothing in it is believed before the file opens."""
    end = data.find(b"\n", len(MAGIC))
    if not data.startswith(MAGIC) or end < 0 or len(data) < end + 1 + _NONCE_BYTES + 16:
        raise RefusedError("MALFORMED", f"{name} is not a key file of version 1")
    try:
        head = json.loads(data[len(MAGIC) : end])
    except (ValueError, RecursionError):
        raise RefusedError("MALFORMED", f"{name} has a header that is not JSON") from None
    if not isinstance(head, dict) or _line(head) != data[len(MAGIC) : end] or "kdf" not in head:
        raise RefusedError("MALFORMED", f"{name} has a header in another form than ours")
    return head, end + 1


def parameters(name: str, head: Mapping[str, object]) -> tuple[bytes, Profile]:
    """Read salt and cost out of a header; RefusedError MALFORMED where they are not within what is safe."""
    memory, passes, salt = (head.get(each) for each in ("memory_kib", "passes", "salt"))
    if head["kdf"] != "argon2id" or not isinstance(memory, int) or not isinstance(passes, int):
        raise RefusedError("MALFORMED", f"{name} is another kind of key file")
    if not (MIN_MEMORY_KIB <= memory <= MAX_MEMORY_KIB and MIN_PASSES <= passes <= MAX_PASSES):
        raise RefusedError("MALFORMED", f"{name} asks for {memory} KiB and {passes} passes, outside what is safe")
    if not isinstance(salt, str) or not re.fullmatch(r"[0-9a-f]{32}", salt):
        raise RefusedError("MALFORMED", f"{name} has no salt of 16 bytes")
    return bytes.fromhex(salt), Profile(memory_kib=memory, passes=passes)


def _open(name: str, data: bytes, key: bytes) -> dict[str, StoredKey]:
    head, start = _split(name, data)
    nonce, sealed = data[start : start + _NONCE_BYTES], data[start + _NONCE_BYTES :]
    try:
        plain = crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, data[:start], nonce, key)
    except CryptoError:
        raise _closed(name) from None
    listed = cast("list[dict[str, object]]", head["keys"])  # the file opened, so it is as we wrote it
    return {str(row["name"]): key for row, key in zip(listed, _entries(listed, plain), strict=True)}


def _entries(listed: Sequence[Mapping[str, object]], plain: bytes) -> list[StoredKey]:
    """Pair the listed keys with their seeds."""
    found, at = [], 0
    for row in listed:
        end = at + 2 + int.from_bytes(plain[at : at + 2], "big")
        found.append(
            StoredKey(
                secret=Secret(plain[at + 2 : end]),
                key_id=bytes.fromhex(str(row["key_id"])),
                owner=str(row["owner"]),
                usage=int(str(row["usage"])),
                suite=int(str(row["suite"])),
                from_ms=int(str(row["from_ms"])),
                until_ms=int(str(row["until_ms"])),
            )
        )
        at = end
    return found


def _closed(name: str) -> RefusedError:
    return RefusedError("UNOPENABLE", f"{name} does not open: another passphrase, or an altered file")
