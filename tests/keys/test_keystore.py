"""Private keys at rest, and the node's three files."""

from __future__ import annotations

import json
import pickle
import shutil
import stat
from pathlib import Path

import pytest

from keys.files import overwrite_in_place, read_private, write_file
from keys.identity import Usage
from keys.keystore import (
    INTERACTIVE,
    MAGIC,
    NODE_FILE,
    RANDOM_FILE,
    ROOT,
    SEALING_FILE,
    Profile,
    StoredKey,
    load_keystore,
    load_sealing_keys,
    save_keystore,
    save_sealing_keys,
    stored_encryption,
    stored_signer,
)
from keys.seal import EncryptionKey
from keys.secret import Secret
from keys.signer import Ed25519Signer
from tests.keys.world import NOW, refused, stream

PASSPHRASE = b"correct horse battery staple"
SEED = bytes(range(32))
SIGNER = Ed25519Signer.from_seed(Usage.AGENCY, "HK-SB", SEED)
SEALER = EncryptionKey.from_seed("HK-SB", SEED)
KEYS = {
    "operations": stored_signer(SIGNER, SEED),
    "tls": StoredKey(secret=Secret(b"t" * 32), key_id=b"\x07" * 32, owner="HK-SB"),
}
SEALING = {
    "encryption-1": stored_encryption(SEALER, SEED, NOW, NOW + 1),
    "storage-1": StoredKey(secret=Secret(b"s" * 32), key_id=b"\x08" * 32, owner="HK-SB", from_ms=NOW),
}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / NODE_FILE
    save_keystore(path, PASSPHRASE, KEYS, INTERACTIVE, stream("keystore"))
    return path


def rewrite(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


def test_keys_come_back_with_what_they_are(saved: Path) -> None:
    store = load_keystore(saved, PASSPHRASE)
    assert store.keys == KEYS
    assert store.keys["operations"].signer().key == SIGNER.key
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    assert SEED not in saved.read_bytes()


def test_the_file_is_one_header_line_nonce_and_ciphertext(saved: Path) -> None:
    magic, header, _ = saved.read_bytes().split(b"\n", 2)
    assert magic + b"\n" == MAGIC
    head = json.loads(header)
    assert (head["kdf"], head["memory_kib"], head["passes"], len(head["salt"])) == ("argon2id", 65536, 3, 32)
    assert [row["key_id"] for row in head["keys"]] == [KEYS[name].key_id.hex() for name in ("operations", "tls")]


def test_another_passphrase_opens_nothing(saved: Path) -> None:
    refused("UNOPENABLE", lambda: load_keystore(saved, b"wrong"))
    refused("NOT_ALLOWED", lambda: load_keystore(saved, b""))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"passes":3', b'"passes":4'),
        (b'"memory_kib":65536', b'"memory_kib":65537'),
        (b'"owner":"HK-SB"', b'"owner":"TH-SB"'),
        (b'"usage":3', b'"usage":5'),
        (KEYS["operations"].key_id.hex().encode(), bytes(32).hex().encode()),
    ],
)
def test_no_word_of_the_header_can_be_changed(saved: Path, old: bytes, new: bytes) -> None:
    rewrite(saved, old, new)
    refused("UNOPENABLE", lambda: load_keystore(saved, PASSPHRASE))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"passes":3', b'"passes":2'),
        (b'"passes":3', b'"passes":17'),
        (b'"passes":3', b'"passes":"3"'),
        (b'"memory_kib":65536', b'"memory_kib":65535'),
        (b'"memory_kib":65536', b'"memory_kib":1048577'),
        (b'"kdf":"argon2id"', b'"kdf":"pbkdf2"'),
        (b'"kdf"', b'"KDF"'),
        (b'"salt":"', b'"salt":"x'),
        (b'"kdf":"argon2id"', b'"kdf": "argon2id"'),
        (b'{"kdf"', b'["kdf"'),
        (b"exchange-keys/1", b"exchange-keys/2"),
    ],
)
def test_parameters_below_the_floor_and_other_files_are_refused(saved: Path, old: bytes, new: bytes) -> None:
    rewrite(saved, old, new)
    refused("MALFORMED", lambda: load_keystore(saved, PASSPHRASE))


def test_an_altered_or_cut_ciphertext_is_refused(saved: Path) -> None:
    data = saved.read_bytes()
    for altered in (data[:-1] + bytes([data[-1] ^ 1]), data[:-1], data + b"x"):
        saved.write_bytes(altered)
        refused("UNOPENABLE", lambda: load_keystore(saved, PASSPHRASE))
    saved.write_bytes(data[: data.index(b"\n", len(MAGIC)) + 10])
    refused("MALFORMED", lambda: load_keystore(saved, PASSPHRASE))


def test_a_file_that_others_may_read_is_refused(saved: Path) -> None:
    for mode in (0o640, 0o604, 0o660, 0o644):
        saved.chmod(mode)
        refused("NOT_PRIVATE", lambda: load_keystore(saved, PASSPHRASE))


def test_an_existing_file_is_never_overwritten(saved: Path) -> None:
    before = saved.read_bytes()
    with pytest.raises(FileExistsError):
        save_keystore(saved, b"another", KEYS, INTERACTIVE, stream("again"))
    assert saved.read_bytes() == before
    assert [each.name for each in saved.parent.iterdir()] == [saved.name]


def test_files_have_a_size_limit(tmp_path: Path) -> None:
    path = tmp_path / "big"
    write_file(path, bytes(11), mode=0o600)
    assert read_private(path, 11) == bytes(11)
    refused("TOO_LARGE", lambda: read_private(path, 10))


def test_names_of_keys_are_plain(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        save_keystore(tmp_path / "x", PASSPHRASE, {"a\nb": KEYS["tls"]}, INTERACTIVE, stream("x"))


def test_roots_cost_more_to_guess() -> None:
    assert ROOT.memory_kib == 4 * INTERACTIVE.memory_kib == 262_144
    assert Profile(memory_kib=65536, passes=3) == INTERACTIVE


def test_the_second_file_opens_with_the_first_one_s_derivation(saved: Path) -> None:
    folder = saved.parent
    store = load_keystore(saved, PASSPHRASE)
    save_sealing_keys(folder, store.derived, SEALING, stream("sealing"))
    assert load_sealing_keys(folder, store.derived) == SEALING
    for name in (SEALING_FILE, RANDOM_FILE):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    refused("UNOPENABLE", lambda: load_sealing_keys(folder, Secret(bytes(32))))
    refused("MALFORMED", lambda: load_keystore(folder / SEALING_FILE, PASSPHRASE))


def test_the_first_file_is_not_a_second_one(saved: Path) -> None:
    store = load_keystore(saved, PASSPHRASE)
    shutil.copy(saved, saved.parent / SEALING_FILE)
    refused("MALFORMED", lambda: load_sealing_keys(saved.parent, store.derived))


def test_row_64_an_old_copy_of_the_second_file_opens_nothing_after_destruction(saved: Path, tmp_path: Path) -> None:
    folder = saved.parent
    derived = load_keystore(saved, PASSPHRASE).derived
    save_sealing_keys(folder, derived, SEALING, stream("before"))
    old = (folder / SEALING_FILE).read_bytes()
    left = {"storage-1": SEALING["storage-1"]}
    save_sealing_keys(folder, derived, left, stream("after"))
    assert load_sealing_keys(folder, derived) == left
    (folder / SEALING_FILE).write_bytes(old)  # a backup of the second file alone
    refused("UNOPENABLE", lambda: load_sealing_keys(folder, derived))


def test_a_crash_between_the_two_writes_loses_nothing(saved: Path) -> None:
    folder = saved.parent
    derived = load_keystore(saved, PASSPHRASE).derived
    save_sealing_keys(folder, derived, SEALING, stream("first"))
    random, body = (folder / RANDOM_FILE).read_bytes(), (folder / SEALING_FILE).read_bytes()
    left = {"storage-1": SEALING["storage-1"]}
    save_sealing_keys(folder, derived, left, stream("second"))
    fresh = (folder / RANDOM_FILE).read_bytes()
    # Crash after the new random bytes were written, before the new body: the old pair still opens.
    write_file(folder / "sealing.next", fresh, mode=0o600)
    write_file(folder / SEALING_FILE, body, mode=0o600, replace=True)
    overwrite_in_place(folder / RANDOM_FILE, random)
    assert load_sealing_keys(folder, derived) == SEALING
    # Crash after the new body, before the old random bytes were overwritten: the new pair opens, and is finished.
    save_sealing_keys(folder, derived, left, stream("second"))
    write_file(folder / "sealing.next", fresh, mode=0o600)
    overwrite_in_place(folder / RANDOM_FILE, random)
    assert load_sealing_keys(folder, derived) == left
    assert (folder / RANDOM_FILE).read_bytes() == fresh
    assert not (folder / "sealing.next").exists()


def test_row_49_secrets_print_their_length_only() -> None:
    secret = Secret(b"x" * 32)
    assert repr(secret) == str(secret) == "Secret(32 bytes)"
    assert "78" * 8 not in repr(KEYS)
    assert secret == Secret(b"x" * 32) != Secret(b"y" * 32)
    assert secret != b"x" * 32
    assert len({secret, Secret(b"x" * 32)}) == 1
    with pytest.raises(TypeError):
        pickle.dumps(secret)
