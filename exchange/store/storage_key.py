"""The storage key: what opens the bulletins that a node holds.

At publishing and at intake a bulletin's content key is wrapped again under a key of the node's own, so that old
encryption keys are not needed for old mail, and destroying one bulletin means destroying one wrapped key.
XChaCha20-Poly1305, bound to the statement; a random nonce is safe at 24 bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from keys.errors import IntegrityError, RefusedError

NONCE_BYTES = 24
ID_BYTES = 32
STORED_BYTES = ID_BYTES + NONCE_BYTES + 32 + 16  # a content key and its tag
_LABEL = b"exchange/v1/stored\0"
_ID_LABEL = b"exchange/v1/storage-key\0"


@dataclass(frozen=True, slots=True)
class StorageKeys:
    """The present storage key and those before it that still live, by their ids."""

    present: bytes  # id of the one that new bulletins are stored under
    secrets: Mapping[bytes, bytes] = field(repr=False)

    @staticmethod
    def of(*secrets: bytes) -> StorageKeys:
        """Take 32-byte keys, the present one last."""
        named = {storage_key_id(secret): secret for secret in secrets}
        return StorageKeys(storage_key_id(secrets[-1]), named)

    def store(self, content_key: bytes, statement_digest: bytes, random_bytes: Callable[[int], bytes]) -> bytes:
        """Wrap a content key: id 32 ‖ nonce 24 ‖ ciphertext 48."""
        nonce = random_bytes(NONCE_BYTES)
        bound = _LABEL + self.present + statement_digest
        sealed = crypto_aead_xchacha20poly1305_ietf_encrypt(content_key, bound, nonce, self.secrets[self.present])
        return self.present + nonce + sealed

    def recover(self, stored: bytes, statement_digest: bytes) -> bytes:
        """Unwrap a content key.

        Raises:
            RefusedError: KEY_GONE, the storage key was destroyed.
            IntegrityError: The stored bytes are not what was written.
        """
        key_id, nonce, sealed = (
            stored[:ID_BYTES],
            stored[ID_BYTES : ID_BYTES + NONCE_BYTES],
            stored[ID_BYTES + NONCE_BYTES :],
        )
        secret = self.secrets.get(key_id)
        if len(stored) != STORED_BYTES:
            raise IntegrityError(f"stored key of statement {statement_digest.hex()[:8]} has {len(stored)} bytes")
        if secret is None:
            raise RefusedError("KEY_GONE", f"storage key {key_id.hex()[:8]} was destroyed")
        try:
            return crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, _LABEL + key_id + statement_digest, nonce, secret)
        except CryptoError as error:
            raise IntegrityError(f"stored key of statement {statement_digest.hex()[:8]} does not open") from error


def storage_key_id(secret: bytes) -> bytes:
    """Name a storage key without showing it."""
    return hashlib.sha256(_ID_LABEL + secret).digest()
