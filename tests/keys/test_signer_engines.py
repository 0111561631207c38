"""Seeds in memory, a key file and a token keep one contract; a key file's key is named by a URI."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.note.checkpoint import Checkpoint, VerifierKey, parse_note, sign_checkpoint, verify_read
from keys import suites
from keys.errors import RefusedError
from keys.identity import Usage
from keys.keystore import INTERACTIVE, new_signing_key, new_window_key, save_keystore
from keys.seal import WindowOpener
from keys.signer import seed_length, signer_from_seed
from keys.signer_factory import KeySource, open_keys, open_signer
from tests.keys.fake_token import Token
from tests.keys.signer_contract import OWNER, SIGNED, OpenerContract, SignerContract, SignerOf

PASSPHRASE = b"correct horse"


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Token]:
    made = Token(tmp_path_factory.mktemp("token"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> KeySource:
    """Two keys of each suite, in a file with a space in its name."""
    path = tmp_path_factory.mktemp("keys") / "a b.keys"
    stored = {
        f"key-{suite}-{number}": new_signing_key(usage, OWNER, os.urandom, second=suite == suites.MLDSA44)
        for suite, usage in SIGNED.items()
        for number in range(2)
    }
    save_keystore(path, PASSPHRASE, stored, INTERACTIVE, os.urandom)
    return open_keys(f"file:{path}", lambda _: PASSPHRASE)


class TestSeedSigner(SignerContract):
    """Keys in memory."""

    @pytest.fixture
    def signer_of(self) -> SignerOf:
        return lambda usage, suite: signer_from_seed(usage, suite, OWNER, os.urandom(seed_length(suite)))


class TestKeyFileSigner(SignerContract):
    """Keys of a key file, by their URI."""

    @pytest.fixture
    def signer_of(self, key_file: KeySource) -> SignerOf:
        numbers = itertools.count()
        return lambda _, suite: key_file.signer(f"key-{suite}-{next(numbers) % 2}")


class TestTokenSigner(SignerContract):
    """Keys in another process."""

    @pytest.fixture
    def signer_of(self, token: Token) -> SignerOf:
        return lambda usage, suite: token.make_signer(usage, suite, OWNER)


class TestSeedOpener(OpenerContract):
    """A window key in memory."""

    @pytest.fixture
    def opener(self) -> WindowOpener:
        return new_window_key(OWNER, os.urandom, 0, 1).opener()


class TestTokenOpener(OpenerContract):
    """A window key in another process."""

    @pytest.fixture
    def opener(self, token: Token) -> WindowOpener:
        return token.make_opener(OWNER)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("file") / "node.keys"
    stored = {"log": new_signing_key(Usage.LOG, OWNER, os.urandom)}
    save_keystore(path, PASSPHRASE, stored, INTERACTIVE, os.urandom)
    return path


def test_a_key_uri_opens_that_key_and_asks_for_the_passphrase_of_its_file_once(keys: Path) -> None:
    asked: list[str] = []

    def passphrase(of: str) -> bytes:
        asked.append(of)
        return PASSPHRASE

    signer = open_signer(f"file:{keys}#log", passphrase)
    assert (signer.key.owner, signer.key.usage) == (OWNER, Usage.LOG)
    assert asked == [str(keys)]


@pytest.mark.parametrize("uri", ["log", "file:node.keys", "file:node.keys#", "pkcs11:token#log", "seed:00#log", "#log"])
def test_what_names_no_key_is_refused_before_a_passphrase_is_asked_for(uri: str) -> None:
    def passphrase(of: str) -> bytes:
        raise AssertionError(of)

    with pytest.raises(RefusedError, match="names no"):
        open_signer(uri, passphrase)


def test_a_key_that_is_not_in_the_file_and_a_wrong_passphrase_are_refused(keys: Path) -> None:
    with pytest.raises(RefusedError, match="holds no key operations"):
        open_signer(f"file:{keys}#operations", lambda _: PASSPHRASE)
    with pytest.raises(RefusedError, match="does not open"):
        open_signer(f"file:{keys}#log", lambda _: b"wrong")
    with pytest.raises(FileNotFoundError):
        open_signer(f"file:{keys}.away#log", lambda _: PASSPHRASE)


def test_a_token_signs_a_checkpoint(token: Token) -> None:
    signer = token.make_signer(Usage.LOG, suites.ED25519, OWNER)
    checkpoint = Checkpoint(origin="hk-sb.exercise.example/log/1", size=1, root=bytes(32))
    note = parse_note(sign_checkpoint(checkpoint, signer))
    assert verify_read(note, VerifierKey(name=checkpoint.origin, key=signer.key.public_key)) == checkpoint
