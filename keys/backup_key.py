"""An agency's backup key: an encryption key of its own, whose private half lies where no node runs.

``backup.key`` is the public half, which a node seals its backups to; ``backup.keys`` is the private one, a key file like
the others. It stands in no list: nobody else ever seals anything to it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from keys import bounds
from keys.errors import RefusedError
from keys.files import PUBLIC, write_file
from keys.identity import AgencyId
from keys.keystore import INTERACTIVE, Profile, load_keystore, new_window_key, save_keystore
from keys.seal import WindowOpener, register_encryption
from keys.signer import KeyRecord, PublicKey, record_of
from keys.v1 import signed_pb2

PRIVATE_FILE, PUBLIC_FILE = "backup.keys", "backup.key"
MAX_RECORD_BYTES = 4096
_NAME = "backup"


def make_backup_key(
    folder: Path,
    agency: AgencyId,
    passphrase: bytes,
    random_bytes: Callable[[int], bytes],
    *,
    profile: Profile = INTERACTIVE,
) -> PublicKey:
    """Make an agency's backup key in a folder, which is made if it is not there.

    Raises:
        FileExistsError: There is one; it stays as it is.
        RefusedError: NOT_ALLOWED for an empty passphrase.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    stored = new_window_key(agency, random_bytes, 0, 0)
    save_keystore(folder / PRIVATE_FILE, passphrase, {_NAME: stored}, profile, random_bytes)
    public = stored.opener().public
    record = bounds.encode_record(record_of(public).to_message())
    write_file(folder / PUBLIC_FILE, record, mode=PUBLIC)
    return public


def load_backup_record(path: Path, agency: AgencyId) -> PublicKey:
    """Read what a node of an agency seals its backups to.

    Raises:
        FileNotFoundError: There is none.
        RefusedError: MALFORMED for another file; WRONG_MAKER, WRONG_TYPE for another key.
    """
    with path.open("rb") as file:
        data = file.read(MAX_RECORD_BYTES + 1)
    try:
        record = KeyRecord.from_message(bounds.parse_record(data, signed_pb2.KeyRecord))
    except RefusedError as error:
        hint = f"; {PUBLIC_FILE} beside it is the public half" if path.name == PRIVATE_FILE else ""
        raise RefusedError("MALFORMED", f"{path} is no backup key{hint}") from error
    return register_encryption(record, owner=agency)


def load_backup_key(path: Path, passphrase: bytes) -> WindowOpener:
    """Open the private half; errors as ``load_keystore``, MALFORMED for another key file."""
    found = load_keystore(path, passphrase).keys.get(_NAME)
    if found is None:
        raise RefusedError("MALFORMED", f"{path} holds no backup key")
    return found.opener()
