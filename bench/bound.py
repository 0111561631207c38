"""The bound: exactly the primitive calls of a product's run, with as many bytes, and nothing else.

Each commit group costs two flushes to disk, of the state and of the lock; they run in a thread of their own beside the
arithmetic, as they could in a perfect product. On two cores two processes share the calls.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey, Suite
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_sign,
    crypto_sign_open,
    crypto_sign_seed_keypair,
)

from bench import counting
from bench.counting import Calls

_INFO, _CONTEXT = bytes(113), bytes(81)  # as long as those of wraps and bodies
_ROW = bytes(4096)  # a page


class Primitives:
    """The primitives by name, on inputs made once."""

    def __init__(self, *, hybrid: bool = True) -> None:
        self._seed = bytes(range(32))
        self._public, self._secret = crypto_sign_seed_keypair(self._seed)
        self._suite, self._private, self._recipient = _hybrid() if hybrid else _classical()
        self._made: dict[Calls | Any, Callable[[], object]] = {}

    def call(self, name: str, size: int) -> Callable[[], object]:
        """Return a call without arguments for one primitive on so many bytes."""
        key = (name, size)
        if key not in self._made:
            self._made[key] = self._make(name, bytes(size))
        return self._made[key]

    def _make(self, name: str, data: bytes) -> Callable[[], object]:
        key = self._seed
        if name == counting.SIGN:
            return lambda: crypto_sign(data, self._secret)
        if name == counting.VERIFY:
            signed = crypto_sign(data[64:], self._secret)
            return lambda: crypto_sign_open(signed, self._public)
        if name == counting.WRAP:
            return lambda: self._suite.encrypt(data, self._recipient, _INFO)
        if name == counting.UNWRAP:
            wrapped = self._suite.encrypt(data, self._recipient, _INFO)
            return lambda: self._suite.decrypt(wrapped, self._private, _INFO)
        if name == counting.SEAL:
            return lambda: _chunks(Cobblestone256Encryptor(key, _CONTEXT), data)
        if name == counting.OPEN:
            body = _sealed(key, len(data))
            return lambda: _chunks(Cobblestone256Decryptor(key, _CONTEXT), body)
        if name == counting.STORE:
            return lambda: crypto_aead_xchacha20poly1305_ietf_encrypt(data, _CONTEXT, bytes(24), key)
        if name == counting.SHA256:
            return lambda: hashlib.sha256(data).digest()
        if name == counting.HMAC:
            return lambda: hmac.digest(key, data, "sha256")
        raise ValueError(f"{name} is no primitive of ours")


def run(calls: Calls, primitives: Primitives, folder: Path) -> tuple[float, Calls]:
    """Repeat the calls on one core.

    Returns:
        Seconds, and the calls as they were made.
    """
    made: Calls = Counter()
    groups = sum(number for (name, _), number in calls.items() if name == counting.COMMIT)
    work = [(key, primitives.call(*key), number) for key, number in calls.items() if key[0] != counting.COMMIT]
    flusher = threading.Thread(target=_flush, args=(folder, groups))
    began = time.perf_counter()
    flusher.start()
    for key, call, number in work:
        for _ in range(number):
            call()
        made[key] += number
    flusher.join()
    seconds = time.perf_counter() - began
    if groups:
        made[counting.COMMIT, 0] += groups
    return seconds, made


def run_on_two_cores(calls: Calls, folder: Path, *, hybrid: bool = True) -> tuple[float, Calls]:
    """Repeat the calls, half in each of two processes; the time is the slower one's."""
    halves: list[Calls] = [Counter(), Counter()]
    for key, number in calls.items():
        halves[0][key], halves[1][key] = number // 2, number - number // 2
    context = get_context("fork")
    answers = context.SimpleQueue()
    gate = context.Barrier(2)
    workers = [
        context.Process(target=_work, args=(half, hybrid, folder / str(place), gate, answers))
        for place, half in enumerate(halves)
    ]
    for worker in workers:
        worker.start()
    results = [answers.get() for _ in workers]
    for worker in workers:
        worker.join()
    return max(seconds for seconds, _ in results), results[0][1] + results[1][1]


def _work(calls: Calls, hybrid: bool, folder: Path, gate: Any, answers: Any) -> None:
    folder.mkdir(exist_ok=True)
    primitives = Primitives(hybrid=hybrid)
    for name, size in calls:
        if name != counting.COMMIT:
            primitives.call(name, size)()
    gate.wait()
    answers.put(run(calls, primitives, folder))


def _flush(folder: Path, groups: int) -> None:
    """Write and flush a page of the state and a page of the lock, so often."""
    if not groups:
        return
    files = [os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600) for name in ("state", "lock")]
    for _ in range(groups):
        for each in files:
            os.write(each, _ROW)
            os.fdatasync(each)
    for each in files:
        os.close(each)


def _chunks(cipher: Any, data: bytes) -> bytes:
    return bytes(cipher.update(data) + cipher.finalize())


def _sealed(key: bytes, size: int) -> bytes:
    """Make a body that is *size* bytes long once it is sealed."""
    overhead = len(_chunks(Cobblestone256Encryptor(key, _CONTEXT), b""))
    for length in range(max(0, size - overhead - (size // 16384 + 1) * 16), size - overhead + 1):
        body = _chunks(Cobblestone256Encryptor(key, _CONTEXT), bytes(length))
        if len(body) == size:
            return body
    raise ValueError(f"no sealed body has {size} bytes")


def _hybrid() -> tuple[Suite, Any, Any]:
    mlkem, x25519 = MLKEM768PrivateKey.from_seed_bytes(bytes(64)), X25519PrivateKey.from_private_bytes(bytes(range(32)))
    public = MLKEM768X25519PublicKey(mlkem.public_key(), x25519.public_key())
    suite = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
    return suite, MLKEM768X25519PrivateKey(mlkem, x25519), public


def _classical() -> tuple[Suite, Any, Any]:
    private = X25519PrivateKey.from_private_bytes(bytes(range(32)))
    return Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305), private, private.public_key()
