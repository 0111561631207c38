"""What post-quantum wraps cost: the whole job with hybrid wraps against the same job with X25519 alone.

The classical suite (RFC 9180, KEM 0x20) is put in the sealing module's place here, for the second run only; the product
has no such option. Its wraps are 80 bytes long and use the X25519 halves of the very same keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from bench.acts import Acts
from bench.federation import ABSENT, READERS, Federation, bulletins
from bench.setting import Setting
from bench.spent import Rounds, spent
from bench.table import Row
from exchange.records import sealed_statement
from keys import seal
from keys.seal import EncryptionKey
from keys.suites import MLKEM768_KEY_BYTES

NUMBER = 64  # bulletins a round
WRAP_BYTES = 32 + 32 + 16  # enc, content key, tag


def measure(setting: Setting) -> list[Row]:
    """Measure both sizes; hybrid and classical take turns."""
    hybrid, classical = setting.federation(), setting.federation("classical")
    with ExitStack() as stack:
        acts = Acts(hybrid, stack)
        with x25519_alone():
            other = Acts(classical, stack)
        return [_row(setting, acts, other, classical, name, size) for name, size in setting.sizes.items()]


def _row(setting: Setting, hybrid: Acts, classical: Acts, made: Federation, name: str, size: int) -> Row:
    rounds = Rounds(NUMBER)
    for place in range(setting.rounds + 1):
        fresh = bulletins(NUMBER, size, *READERS, ABSENT, first=setting.serials(NUMBER))
        one = spent(partial(hybrid.whole_job, fresh), NUMBER)
        with x25519_alone():
            two = spent(partial(classical.whole_job, fresh), NUMBER)
        if place:  # the first round only warms both
            rounds.add(one, two)
    return Row(
        what=f"hybrid / classical wraps, whole job, acts, CPU, {name}",
        product=rounds.product,
        bound=rounds.rival,
        share=rounds.cpu_share,
        must=0.65,
        aim=0.8,
        cpu_us=rounds.cpu_us,
        bound_cpu_us=rounds.rival_cpu_us,
    )


@contextmanager
def x25519_alone() -> Iterator[None]:
    """Let the sealing module wrap and unwrap with X25519 while the block runs."""
    changed = [
        (seal, "_SUITE", Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)),
        (seal, "_hybrid", cache(_public)),
        (seal, "WRAP_BYTES", WRAP_BYTES),
        (sealed_statement, "WRAP_BYTES", WRAP_BYTES),
        (EncryptionKey, "from_seed", classmethod(_from_seed)),
    ]
    before = [(owner, name, vars(owner)[name]) for owner, name, _ in changed]
    for owner, name, value in changed:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def _public(raw: bytes) -> X25519PublicKey:
    return X25519PublicKey.from_public_bytes(raw[MLKEM768_KEY_BYTES:])


_HYBRID_FROM_SEED = EncryptionKey.__dict__["from_seed"].__func__


def _from_seed(kind: type[EncryptionKey], owner: str, seed: bytes) -> EncryptionKey:
    """Make the same public key, with the X25519 half of the private one."""
    public = _HYBRID_FROM_SEED(kind, owner, seed).public
    half: Any = X25519PrivateKey.from_private_bytes(hashlib.shake_256(seed).digest(96)[64:])
    return EncryptionKey(public=public, private=half)
