"""Wraps, bodies, padding: bound to federation, statement and recipient; one error for all that fails."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import counting
from keys import seal as sealing
from keys.errors import RefusedError
from keys.identity import Usage
from keys.seal import (
    BUCKET_BYTES,
    MAX_PADDED_BYTES,
    WRAP_BYTES,
    EncryptionKey,
    open_body,
    open_wrapped,
    pad,
    register_encryption,
    seal_body,
    unpad,
    wrap,
    wrap_info,
)
from keys.signer import Ed25519Signer, KeyRecord, record_of
from tests.keys import cobblestone
from tests.keys.world import refused

OURS = EncryptionKey.from_seed("HK-SB", bytes(range(32)))
THEIRS = EncryptionKey.from_seed("TH-DSI", bytes(range(32)))  # the same raw key under another owner
FEDERATION, STATEMENT, CEK = b"F" * 32, b"S" * 32, b"C" * 32
INFO = wrap_info(FEDERATION, STATEMENT, OURS.public.key_id)
BODY = pad(b"signed statement")


def sealed() -> bytes:
    return seal_body(CEK, FEDERATION, STATEMENT, BODY)


def test_a_wrap_opens_for_its_recipient_only() -> None:
    wrapped = wrap(CEK, OURS.public, INFO)
    assert len(wrapped) == WRAP_BYTES == 1168
    assert wrapped != wrap(CEK, OURS.public, INFO)
    assert OURS.unwrap(wrapped, INFO) == CEK
    stranger = EncryptionKey.from_seed("HK-SB", bytes(32))
    refused("UNOPENABLE", lambda: stranger.unwrap(wrapped, INFO))


def test_info_is_federation_statement_and_recipient() -> None:
    assert b"exchange/v1/wrap\0" + FEDERATION + STATEMENT + OURS.public.key_id == INFO
    for digests in ((b"", STATEMENT, CEK), (FEDERATION, STATEMENT[:31], CEK), (FEDERATION, STATEMENT, CEK + b"x")):
        with pytest.raises(ValueError):
            wrap_info(*digests)


def test_row_06_another_federation_opens_nothing() -> None:
    other = b"G" * 32
    wrapped = wrap(CEK, OURS.public, INFO)
    refused("UNOPENABLE", lambda: OURS.unwrap(wrapped, wrap_info(other, STATEMENT, OURS.public.key_id)))
    body = sealed()
    refused("UNOPENABLE", lambda: open_body(CEK, other, STATEMENT, body))
    refused("UNOPENABLE", lambda: open_body(CEK, FEDERATION, other, body))
    assert open_body(CEK, FEDERATION, STATEMENT, body) == BODY


def test_row_07_one_raw_key_under_two_owners_shares_no_wrap() -> None:
    assert OURS.public.public_key == THEIRS.public.public_key
    assert OURS.public.key_id != THEIRS.public.key_id
    wrapped = wrap(CEK, OURS.public, INFO)
    theirs = wrap_info(FEDERATION, STATEMENT, THEIRS.public.key_id)
    refused("UNOPENABLE", lambda: THEIRS.unwrap(wrapped, theirs))


def test_a_wrap_of_anything_but_a_content_key_is_refused() -> None:
    """A sender may wrap what it likes; only 32 bytes are a content key."""
    suite = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
    for size in (0, 31, 33):
        wrapped = suite.encrypt(bytes(size), OURS.private.public_key(), INFO)
        refused("UNOPENABLE", lambda wrapped=wrapped: OURS.unwrap(wrapped, INFO))


def test_row_10_bad_encryption_keys_are_not_registered() -> None:
    record = record_of(OURS.public)
    assert register_encryption(record, owner="HK-SB") == OURS.public
    low_order = [
        bytes(32),
        b"\x01" + bytes(31),
        bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    ]
    for point in low_order:
        weak = replace(record, public_key=record.public_key[:1184] + point)
        refused("MALFORMED", lambda weak=weak: register_encryption(weak, owner="HK-SB"))
    beyond = replace(record, public_key=b"\xff" * 1184 + record.public_key[1184:])  # coefficients above q
    refused("MALFORMED", lambda: register_encryption(beyond, owner="HK-SB"))


def test_encryption_keys_are_registered_only_in_their_place() -> None:
    record = record_of(OURS.public)
    refused("WRONG_MAKER", lambda: register_encryption(record, owner="TH-DSI"))
    refused("MALFORMED", lambda: register_encryption(replace(record, proof=bytes(64)), owner="HK-SB"))
    refused("MALFORMED", lambda: register_encryption(replace(record, public_key=b"short"), owner="HK-SB"))
    refused("SUITE_UNKNOWN", lambda: register_encryption(replace(record, suite=1), owner="HK-SB"))
    refused("WRONG_TYPE", lambda: register_encryption(replace(record, usage=3), owner="HK-SB"))
    assert KeyRecord.from_message(record.to_message()) == record
    assert record.raw_keys == ()  # encryption keys need no such rule: the key id is in the wrap's info


def test_wrapping_for_a_key_that_is_no_encryption_key_is_refused() -> None:
    signer = Ed25519Signer.from_seed(Usage.AGENCY, "HK-SB", bytes(32))
    refused("SUITE_UNKNOWN", lambda: wrap(CEK, signer.key, INFO))
    with pytest.raises(ValueError):
        wrap(CEK[:16], OURS.public, INFO)
    with pytest.raises(ValueError):
        EncryptionKey.from_seed("HK-SB", bytes(31))


def test_row_11_a_body_opens_under_one_key_only() -> None:
    """Two content keys for one ciphertext: the commitment binds the key, so the second one fails before any chunk."""
    body, second = sealed(), b"D" * 32
    refused("UNOPENABLE", lambda: open_body(second, FEDERATION, STATEMENT, body))
    other = seal_body(second, FEDERATION, STATEMENT, BODY)
    for cut in (24, 56):  # the other's salt, or salt and commitment, before this one's chunks
        forged = other[:cut] + body[cut:]
        refused("UNOPENABLE", lambda forged=forged: open_body(CEK, FEDERATION, STATEMENT, forged))
        refused("UNOPENABLE", lambda forged=forged: open_body(second, FEDERATION, STATEMENT, forged))


def test_row_11_an_independent_decryptor_agrees() -> None:
    """Cobblestone-256 from its parts: HKDF-SHA-512, then AES-256-GCM in chunks of 16 KiB (C2SP chunked encryption)."""
    padded = pad(bytes(range(256)) * 150)
    body = seal_body(CEK, FEDERATION, STATEMENT, padded)
    context = b"exchange/v1/body\0" + FEDERATION + STATEMENT
    assert cobblestone.decrypt(CEK, context, body) == padded


def flip(data: bytes, offset: int) -> bytes:
    return data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]


def unsealed(padded: bytes) -> bytes:
    return unpad(open_body(CEK, FEDERATION, STATEMENT, seal_body(CEK, FEDERATION, STATEMENT, padded)))


def failures() -> dict[str, Callable[[], bytes]]:
    body, wrapped = sealed(), wrap(CEK, OURS.public, INFO)
    bad_fill, bad_length = bytearray(BODY), bytearray(BODY)
    bad_fill[-1] = 1
    bad_length[0] = 255
    return {
        "wrap: enc altered": lambda: OURS.unwrap(flip(wrapped, 0), INFO),
        "wrap: x25519 share altered": lambda: OURS.unwrap(flip(wrapped, 1100), INFO),
        "wrap: low-order share": lambda: OURS.unwrap(wrapped[:1088] + bytes(32) + wrapped[1120:], INFO),
        "wrap: ciphertext altered": lambda: OURS.unwrap(flip(wrapped, 1167), INFO),
        "wrap: other info": lambda: OURS.unwrap(wrapped, INFO + b"x"),
        "wrap: shorter": lambda: OURS.unwrap(wrapped[:-1], INFO),
        "wrap: longer": lambda: OURS.unwrap(wrapped + b"x", INFO),
        "wrap: empty": lambda: OURS.unwrap(b"", INFO),
        "body: salt altered": lambda: open_body(CEK, FEDERATION, STATEMENT, flip(body, 0)),
        "body: commitment altered": lambda: open_body(CEK, FEDERATION, STATEMENT, flip(body, 30)),
        "body: chunk altered": lambda: open_body(CEK, FEDERATION, STATEMENT, flip(body, 100)),
        "body: tag altered": lambda: open_body(CEK, FEDERATION, STATEMENT, flip(body, len(body) - 1)),
        "body: truncated": lambda: open_body(CEK, FEDERATION, STATEMENT, body[:-1]),
        "body: longer": lambda: open_body(CEK, FEDERATION, STATEMENT, body + b"x"),
        "body: empty": lambda: open_body(CEK, FEDERATION, STATEMENT, b""),
        "body: header only": lambda: open_body(CEK, FEDERATION, STATEMENT, body[:56]),
        "body: wrong key": lambda: open_body(b"D" * 32, FEDERATION, STATEMENT, body),
        "body: short key": lambda: open_body(b"D", FEDERATION, STATEMENT, body),
        "padding: filler": lambda: unsealed(bytes(bad_fill)),
        "padding: length": lambda: unsealed(bytes(bad_length)),
        "padding: next bucket": lambda: unsealed(BODY + bytes(BUCKET_BYTES)),
        "padding: no bucket": lambda: unsealed(BODY[:-1]),
    }


@pytest.mark.parametrize("kind", failures())
def test_row_12_every_failure_looks_the_same(kind: str) -> None:
    error = refused("UNOPENABLE", failures()[kind])
    assert str(error) == "the envelope cannot be opened"
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


def test_row_13_chunks_reordered_dropped_or_doubled_are_refused() -> None:
    padded = pad(bytes(60_000))
    body = seal_body(CEK, FEDERATION, STATEMENT, padded)
    head, rest, size = body[:56], body[56:], 16 * 1024
    chunks = [rest[at : at + size] for at in range(0, len(rest), size)]
    assert len(chunks) > 3
    altered = [
        [chunks[1], chunks[0], *chunks[2:]],
        [chunks[0], *chunks[2:]],
        chunks[:-1],
        [chunks[0], chunks[0], *chunks[1:]],
    ]
    for each in altered:
        refused("UNOPENABLE", lambda each=each: open_body(CEK, FEDERATION, STATEMENT, head + b"".join(each)))
    assert open_body(CEK, FEDERATION, STATEMENT, body) == padded


def test_row_35_only_bucket_sizes_show() -> None:
    sizes = {len(pad(bytes(length))) for length in range(0, 40_000, 123)}
    assert sizes == {4096, 8192, 16384, 32768, 65536}


@pytest.mark.parametrize(
    ("length", "size"), [(0, 4096), (4091, 4096), (4092, 4096), (4093, 8192), (8188, 8192), (8189, 16384)]
)
def test_padding_fills_the_smallest_bucket(length: int, size: int) -> None:
    padded = pad(b"x" * length)
    assert len(padded) == size
    assert padded[:4] == length.to_bytes(4, "big")
    assert unpad(padded) == b"x" * length


def test_row_38_padding_has_a_limit() -> None:
    most = MAX_PADDED_BYTES - 4
    assert len(pad(bytes(most - 1))) == len(pad(bytes(most))) == MAX_PADDED_BYTES
    refused("TOO_LARGE", lambda: pad(bytes(most + 1)))
    beyond = (MAX_PADDED_BYTES).to_bytes(4, "big").ljust(2 * MAX_PADDED_BYTES, b"\0")
    refused("UNOPENABLE", lambda: unpad(beyond))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=9000))
def test_padding_comes_off_again(data: bytes) -> None:
    assert unpad(pad(data)) == data


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=6000))
def test_garbage_is_not_unpadded(data: bytes) -> None:
    try:
        inside = unpad(data)
    except RefusedError:
        return
    assert pad(inside) == data


def test_row_49_an_encryption_key_prints_no_private_key() -> None:
    assert "private" not in repr(OURS)
    assert hashlib.shake_256(bytes(range(32))).hexdigest(16) not in repr(OURS)


CHUNK = (16 << 10) + 16


def wrongs(signed: bytes) -> dict[str, tuple[bytes, bytes]]:
    """Return a wrap and a body for each step that can fail."""
    wrapped, padded = wrap(CEK, OURS.public, INFO), pad(signed)
    body = seal_body(CEK, FEDERATION, STATEMENT, padded)
    return {
        "wrap": (flipped(wrapped, -1), body),
        "encapsulation": (flipped(wrapped, 0), body),
        "another's wrap": (wrap(CEK, THEIRS.public, INFO[:-1] + b"x"), body),
        "a wrap of another key": (wrap(bytes(32), OURS.public, INFO), body),
        "salt": (wrapped, flipped(body, 0)),
        "commitment": (wrapped, flipped(body, 30)),
        "first chunk": (wrapped, flipped(body, 60)),
        "middle": (wrapped, flipped(body, len(body) // 2)),
        "last chunk": (wrapped, flipped(body, -1)),
        "cut": (wrapped, body[:-20]),
        "header alone": (wrapped, body[:56]),
        "nothing": (wrapped, b""),
        "padding": (wrapped, seal_body(CEK, FEDERATION, STATEMENT, padded[:-1] + b"\1")),
        "length": (wrapped, seal_body(CEK, FEDERATION, STATEMENT, b"\xff" * len(padded))),
        "bucket": (wrapped, seal_body(CEK, FEDERATION, STATEMENT, padded + bytes(len(padded)))),
    }


def flipped(data: bytes, offset: int) -> bytes:
    altered = bytearray(data)
    altered[offset] ^= 1
    return bytes(altered)


@pytest.mark.parametrize("size", [0, 1, 4092, 4093, 20_000, 60_000])
def test_what_was_wrapped_and_sealed_opens_whatever_its_size(size: int) -> None:
    signed = bytes(range(256)) * (size // 256) + bytes(size % 256)
    body = seal_body(CEK, FEDERATION, STATEMENT, pad(signed))
    assert open_wrapped(OURS, wrap(CEK, OURS.public, INFO), body, FEDERATION, STATEMENT) == (CEK, signed)


def test_a_body_under_nobodys_key_does_not_open_by_a_wrap_that_failed() -> None:
    body = seal_body(sealing._NOBODYS_KEY, FEDERATION, STATEMENT, BODY)
    refused("UNOPENABLE", lambda: open_wrapped(OURS, bytes(WRAP_BYTES), body, FEDERATION, STATEMENT))


@pytest.mark.parametrize("size", [3000, 60_000])
def test_row_12_every_refusal_costs_one_unwrapping_and_one_pass_over_the_body(size: int) -> None:
    for kind, (wrapped, body) in wrongs(bytes(size)).items():
        with counting.counting() as calls:
            refused("UNOPENABLE", lambda w=wrapped, b=body: open_wrapped(OURS, w, b, FEDERATION, STATEMENT))
        names = counting.by_name(calls)
        assert names[counting.UNWRAP] == names.get(counting.OPEN, 1) == 1, kind
        passed = sum(n * size for (name, size), n in calls.items() if name in (counting.OPEN, counting.SEAL))
        assert len(body) <= passed <= len(body) + CHUNK, kind
