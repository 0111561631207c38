"""What everything that signs or opens promises (``keys.signer.Signer``, ``keys.seal.WindowOpener``).

A subclass gives ``signer_of`` and ``opener_of``, as fixtures: what makes a signer of a suite, and what opens.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from keys import suites
from keys.errors import RefusedError
from keys.frame import pae, payload_type
from keys.identity import Usage
from keys.seal import WindowOpener, register_encryption, wrap, wrap_info
from keys.signer import Signer, make_record, record_of, register

OWNER = "HK-SB"
SIGNED = {
    suites.ED25519: Usage.LOG,
    suites.ED25519_MLDSA65: Usage.AGENCY_ROOT,
    suites.MLDSA44: Usage.LOG,
}
FRAMES = [pae(payload_type("manifest"), payload) for payload in (b"", b"payload", bytes(1 << 16))]
SignerOf = Callable[[Usage, int], Signer]


@pytest.mark.parametrize("suite", SIGNED)
class SignerContract:
    """Run by subclasses named ``Test…`` with a fixture ``signer_of``."""

    def test_what_it_signs_verifies_under_its_key_and_nothing_else_does(self, signer_of: SignerOf, suite: int) -> None:
        signer, other = signer_of(SIGNED[suite], suite), signer_of(SIGNED[suite], suite)
        for frame in FRAMES:
            signature = signer.sign(frame)
            assert len(signature) == suites.suite(suite).signature_bytes
            signer.key.verify(frame, signature)
            for key, wrong in ((signer.key, frame + b"\0"), (other.key, frame)):
                with pytest.raises(RefusedError) as refused:
                    key.verify(wrong, signature)
                assert refused.value.code == "SIGNATURE_INVALID"

    def test_its_key_is_registered_by_its_proof_of_possession(self, signer_of: SignerOf, suite: int) -> None:
        signer = signer_of(SIGNED[suite], suite)
        assert (signer.key.owner, signer.key.usage, signer.key.suite) == (OWNER, SIGNED[suite], suite)
        record, second = make_record(signer), suite == suites.MLDSA44
        assert register(record, owner=OWNER, usage={SIGNED[suite]}, second=second) == signer.key

    def test_it_signs_for_several_threads(self, signer_of: SignerOf, suite: int) -> None:
        signer = signer_of(SIGNED[suite], suite)
        frames = [pae(payload_type("dispatch"), bytes([each])) for each in range(12)]
        with ThreadPoolExecutor(3) as threads:
            for frame, signature in zip(frames, threads.map(signer.sign, frames), strict=True):
                signer.key.verify(frame, signature)


class OpenerContract:
    """Run by subclasses named ``Test…`` with a fixture ``opener``, which opens wraps for its own public key."""

    def test_it_opens_what_was_wrapped_for_it(self, opener: WindowOpener) -> None:
        assert register_encryption(record_of(opener.public), owner=OWNER) == opener.public
        info = wrap_info(bytes(32), bytes(32), opener.public.key_id)
        wrapped = wrap(b"k" * 32, opener.public, info)
        assert opener.unwrap(wrapped, info) == opener.try_unwrap(wrapped, info) == b"k" * 32

    def test_whatever_does_not_open_ends_in_one_way(self, opener: WindowOpener) -> None:
        info = wrap_info(bytes(32), bytes(32), opener.public.key_id)
        wrapped = wrap(b"k" * 32, opener.public, info)
        flipped = wrapped[:-1] + bytes([wrapped[-1] ^ 1])
        for wrong, about in ((flipped, info), (wrapped, info + b"\0"), (wrapped[:-1], info), (b"", info)):
            assert opener.try_unwrap(wrong, about) is None
            with pytest.raises(RefusedError, match="the envelope cannot be opened") as refused:
                opener.unwrap(wrong, about)
            assert refused.value.code == "UNOPENABLE"
