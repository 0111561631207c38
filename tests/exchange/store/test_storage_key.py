"""Storage keys: what was stored opens under its own key for its own statement, and under nothing else."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.store.storage_key import ID_BYTES, NONCE_BYTES, StorageKeys, storage_key_id
from keys.errors import IntegrityError, RefusedError

CONTENT_KEY, DIGEST = bytes(range(32)), b"s" * 32
FIRST, SECOND = b"1" * 32, b"2" * 32


def test_a_stored_key_is_recovered() -> None:
    keys = StorageKeys.of(FIRST)
    stored = keys.store(CONTENT_KEY, DIGEST, os.urandom)
    assert len(stored) == ID_BYTES + NONCE_BYTES + 48
    assert CONTENT_KEY not in stored
    assert keys.recover(stored, DIGEST) == CONTENT_KEY


def test_the_present_key_stores_and_an_older_living_one_still_opens() -> None:
    stored = StorageKeys.of(FIRST).store(CONTENT_KEY, DIGEST, os.urandom)
    both = StorageKeys.of(FIRST, SECOND)
    assert both.recover(stored, DIGEST) == CONTENT_KEY
    assert both.store(CONTENT_KEY, DIGEST, os.urandom).startswith(storage_key_id(SECOND))


def test_after_its_storage_key_is_destroyed_nothing_opens() -> None:
    stored = StorageKeys.of(FIRST).store(CONTENT_KEY, DIGEST, os.urandom)
    with pytest.raises(RefusedError) as raised:
        StorageKeys.of(SECOND).recover(stored, DIGEST)
    assert raised.value.code == "KEY_GONE"


def test_a_stored_key_opens_for_its_own_statement_only() -> None:
    keys = StorageKeys.of(FIRST)
    with pytest.raises(IntegrityError):
        keys.recover(keys.store(CONTENT_KEY, DIGEST, os.urandom), b"t" * 32)


@given(st.integers(min_value=ID_BYTES, max_value=ID_BYTES + NONCE_BYTES + 47), st.integers(0, 7))
def test_any_changed_bit_is_an_integrity_error(index: int, bit: int) -> None:
    keys = StorageKeys.of(FIRST)
    stored = bytearray(keys.store(CONTENT_KEY, DIGEST, lambda count: bytes(count)))
    stored[index] ^= 1 << bit
    with pytest.raises(IntegrityError):
        keys.recover(bytes(stored), DIGEST)


@given(st.binary(max_size=ID_BYTES + NONCE_BYTES + 47))
def test_garbage_never_opens(garbage: bytes) -> None:
    keys = StorageKeys.of(FIRST)
    for stored in (garbage, storage_key_id(FIRST) + garbage):
        with pytest.raises((IntegrityError, RefusedError)):
            keys.recover(stored, DIGEST)


def test_storage_keys_print_without_their_secrets_row_49() -> None:
    text = repr(StorageKeys.of(FIRST))
    assert FIRST.hex() not in text
    assert repr(FIRST) not in text
