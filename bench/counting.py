"""Counts primitive calls from outside: what a run had to do, whatever program did it.

The product holds its primitives under module names; while ``counting()`` is open these names hold wrappers that count
(name, size) and call on. Nothing of the product is changed for a run that is timed. The sizes matter: a bound repeats
each call with as many bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import nacl.bindings
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor

from audit.log.sqlite_lock import SqliteLock
from keys import seal
from keys.signer import Ed25519Signer

Key = tuple[str, int]  # primitive, bytes
Calls = Counter[Key]

SIGN, VERIFY, WRAP, UNWRAP = "ed25519 sign", "ed25519 verify", "hpke wrap", "hpke unwrap"
SEAL, OPEN, STORE = "cobblestone seal", "cobblestone open", "xchacha20 store"
SHA256, HMAC, COMMIT = "sha-256", "hmac-sha-256", "commit group"
WHOLE_JOB = (SIGN, VERIFY, WRAP, UNWRAP, SEAL, OPEN, STORE, SHA256, HMAC, COMMIT)
INGEST = (VERIFY, SIGN, WRAP, SEAL, STORE, SHA256, HMAC, COMMIT)
OURS = ("keys.", "audit.", "exchange.")
_WRAPPED_BYTES = 32  # a content key


class ZeroCallsError(Exception):
    """A benchmark that did not do what it says it does."""


def by_name(calls: Calls) -> dict[str, int]:
    """Sum the calls of each primitive over all sizes."""
    names: Counter[str] = Counter()
    for (name, _), number in calls.items():
        names[name] += number
    return dict(sorted(names.items()))


def demand(calls: Calls, names: tuple[str, ...]) -> None:
    """Refuse a count of zero.

    Raises:
        ZeroCallsError: One of *names* was never called.
    """
    missing = [name for name in names if by_name(calls).get(name, 0) == 0]
    if missing:
        raise ZeroCallsError(f"never called: {', '.join(missing)}")


@contextmanager
def counting() -> Iterator[Calls]:
    """Count every primitive call of this process while the block runs; whatever it counts stays in the result."""
    calls: Calls = Counter()
    undo: list[tuple[Any, str, Any]] = []

    def put(owner: Any, name: str, value: Any) -> None:
        undo.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    for original, wrapper in _functions(calls):
        for owner, name in _holders(original):
            put(owner, name, wrapper)
    put(Ed25519Signer, "sign", _counted(calls, SIGN, Ed25519Signer.sign, lambda args: len(args[1])))
    put(SqliteLock, "compare_and_swap", _counted(calls, COMMIT, SqliteLock.compare_and_swap, lambda _: 0))
    put(seal, "_SUITE", _Suite(calls, seal._SUITE))
    put(seal, "Cobblestone256Encryptor", _chunked(calls, SEAL, Cobblestone256Encryptor))
    put(seal, "Cobblestone256Decryptor", _chunked(calls, OPEN, Cobblestone256Decryptor))
    try:
        yield calls
        calls += Counter()  # without the sizes of what was only a part
    finally:
        for owner, name, value in reversed(undo):
            setattr(owner, name, value)


def _functions(calls: Calls) -> list[tuple[Any, Any]]:
    seal = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt
    check = nacl.bindings.crypto_sign_open
    return [
        (hashlib.sha256, _counted(calls, SHA256, hashlib.sha256, lambda args: len(args[0]))),
        (hmac.digest, _counted(calls, HMAC, _hmac, lambda args: len(args[1]))),
        (check, _counted(calls, VERIFY, check, lambda args: len(args[0]))),
        (seal, _counted(calls, STORE, seal, lambda args: len(args[0]))),
    ]


_digest = hmac.digest


def _hmac(key: bytes, message: bytes, digest: object) -> bytes:
    """Call as the product would: the hash it names may be a counting wrapper just now."""
    return _digest(key, message, "sha256")


def _holders(function: Any) -> list[tuple[Any, str]]:
    """Find the names under which our modules, and hashlib and hmac for them, hold a function."""
    found = []
    for module in list(sys.modules.values()):
        name = getattr(module, "__name__", "")
        if module in (hashlib, hmac) or name.startswith(OURS):
            found += [(module, key) for key, value in list(vars(module).items()) if value is function]
    return found


def _counted(calls: Calls, name: str, call: Callable[..., Any], size: Callable[[tuple[Any, ...]], int]) -> Any:
    def counted(*args: Any, **named: Any) -> Any:
        calls[name, size(args)] += 1
        return call(*args, **named)

    return counted


class _Suite:
    """The HPKE suite with its two calls counted."""

    def __init__(self, calls: Calls, suite: Any) -> None:
        self.encrypt = _counted(calls, WRAP, suite.encrypt, lambda args: len(args[0]))
        self.decrypt = _counted(calls, UNWRAP, suite.decrypt, lambda _: _WRAPPED_BYTES)


def _chunked(calls: Calls, name: str, kind: Any) -> Any:
    class Counted:
        """One body; its size is what ``update`` is given, at once or in parts."""

        def __init__(self, key: bytes, context: bytes) -> None:
            self._inner, self._size = kind(key, context), 0
            self.finalize = self._inner.finalize

        def update(self, data: bytes) -> bytes:
            if self._size:
                calls[name, self._size] -= 1
            self._size += len(data)
            calls[name, self._size] += 1
            return bytes(self._inner.update(data))

    return Counted
