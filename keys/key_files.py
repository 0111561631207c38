"""Three kinds of holder, each with its own key file, and what each can do once it is open.

- **root** (``root/root.keys``): agency root, CA and, where the agency has one, the roster root; carried away offline.
- **node** (``node.keys``, ``sealing.keys``, ``sealing.random``): what it signs, opens and stores with.
- **officer** (``officers/<id>/officer.keys``): one person's, or one system's, signing key and TLS key.

One passphrase and one derivation for each holder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from keys import certificate
from keys.certificate import PrivateKey
from keys.errors import RefusedError
from keys.files import read_private
from keys.identity import AgencyId, record_digest, split_owner
from keys.keystore import (
    MAX_FILE_BYTES,
    NODE_FILE,
    SEALING_FILE,
    Passphrase,
    StoredKey,
    load_keystore,
    load_sealing_keys,
)
from keys.seal import WindowOpener
from keys.secret import Secret
from keys.signer import Signer, record_of
from keys.timed_key import TimedKey

ROOT_FOLDER, OFFICERS_FOLDER = "root", "officers"
ROOT_FILE, OFFICER_FILE = "root.keys", "officer.keys"

Stored = Mapping[str, StoredKey]


@dataclass(frozen=True, slots=True, kw_only=True)
class RootKeys:
    """What lies offline, opened."""

    agency: AgencyId
    root: Signer
    roster_root: Signer | None
    ca_private: PrivateKey = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowKey:
    """An encryption key with its window, milliseconds UTC."""

    key: WindowOpener
    from_ms: int
    until_ms: int

    def timed(self) -> TimedKey:
        """Return the public half as the key sheet lists it."""
        return TimedKey(key=record_of(self.key.public), from_ms=self.from_ms, until_ms=self.until_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKeys:
    """What a node works with, opened."""

    agency: AgencyId
    operations: Signer
    log: Signer
    witness: Signer
    log_mldsa44: Signer | None = None  # None in a store made before there were second lines
    witness_mldsa44: Signer | None = None
    tls_private: PrivateKey = field(repr=False, compare=False)
    issuing_private: PrivateKey | None = field(repr=False, compare=False, default=None)  # None: no such key was founded
    encryption: tuple[WindowKey, ...]  # ascending by window
    storage: tuple[Secret, ...]  # 32 bytes each; the present one last
    derived: Secret  # with it the second file is written again

    def encryption_keys(self) -> dict[bytes, WindowOpener]:
        """Return the encryption keys by key id."""
        return {each.key.public.key_id: each.key for each in self.encryption}


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficerKeys:
    """One person's or system's keys, opened."""

    agency: AgencyId
    id: str
    signer: Signer
    tls_private: PrivateKey = field(repr=False, compare=False)


def open_root(stored: Stored) -> RootKeys:
    """Take the root's keys out of its store; RefusedError MALFORMED if one is missing."""
    root = _take(stored, "agency-root").signer()
    return RootKeys(
        agency=split_owner(root.key.owner)[0],
        root=root,
        roster_root=stored["roster-root"].signer() if "roster-root" in stored else None,
        ca_private=_private(_take(stored, "ca")),
    )


def open_node(stored: Stored, sealing: Stored, derived: Secret) -> NodeKeys:
    """Take the node's keys out of its two stores; RefusedError MALFORMED if one is missing."""
    operations = _take(stored, "operations").signer()
    encryption, storage = open_sealing(sealing)
    return NodeKeys(
        agency=split_owner(operations.key.owner)[0],
        operations=operations,
        log=_take(stored, "log").signer(),
        witness=_take(stored, "witness").signer(),
        log_mldsa44=stored["log-mldsa44"].signer() if "log-mldsa44" in stored else None,
        witness_mldsa44=stored["witness-mldsa44"].signer() if "witness-mldsa44" in stored else None,
        tls_private=_private(_take(stored, "tls")),
        issuing_private=_private(stored["issuing"]) if "issuing" in stored else None,
        encryption=encryption,
        storage=storage,
        derived=derived,
    )


def open_sealing(sealing: Stored) -> tuple[tuple[WindowKey, ...], tuple[Secret, ...]]:
    """Take encryption and storage keys out of the node's second store, each ascending by its time.

    Raises:
        RefusedError: MALFORMED, there is no storage key.
    """
    windows = sorted((key for name, key in sealing.items() if name.startswith("encryption-")), key=_begin)
    storage = sorted((key for name, key in sealing.items() if name.startswith("storage-")), key=_begin)
    if not storage:
        raise RefusedError("MALFORMED", "the node's store holds no storage key")
    opened = [WindowKey(key=each.opener(), from_ms=each.from_ms, until_ms=each.until_ms) for each in windows]
    return tuple(opened), tuple(each.secret for each in storage)


def open_officer(stored: Stored) -> OfficerKeys:
    """Take an officer's keys out of the store; RefusedError MALFORMED if one is missing."""
    signer = _take(stored, "sign").signer()
    agency, name = split_owner(signer.key.owner)
    if name is None:
        raise RefusedError("MALFORMED", f"the signing key is {agency}'s, nobody's in particular")
    return OfficerKeys(agency=agency, id=name, signer=signer, tls_private=_private(_take(stored, "tls")))


def load_root(home: Path, passphrase: Passphrase) -> RootKeys:
    """Open an agency's root; errors as ``load_keystore``."""
    return open_root(load_keystore(home / ROOT_FOLDER / ROOT_FILE, passphrase).keys)


def load_node(home: Path, passphrase: Passphrase) -> NodeKeys:
    """Open a node's keys, both files by one derivation; errors as ``load_keystore``."""

    def late() -> bytes:
        read_private(home / SEALING_FILE, MAX_FILE_BYTES)  # without it a passphrase opens nothing
        return passphrase() if callable(passphrase) else passphrase

    store = load_keystore(home / NODE_FILE, late)
    return open_node(store.keys, load_sealing_keys(home, store.derived), store.derived)


def load_officer(home: Path, officer: str, passphrase: Passphrase) -> OfficerKeys:
    """Open an officer's or a system's keys; errors as ``load_keystore``."""
    return open_officer(load_keystore(officer_folder(home, officer) / OFFICER_FILE, passphrase).keys)


def officer_folder(home: Path, officer: str) -> Path:
    """Return where an officer's files lie."""
    return home / OFFICERS_FOLDER / officer


def stored_tls(private: PrivateKey, owner: str) -> StoredKey:
    """Make the entry of a TLS or CA key; its id is the pin."""
    return StoredKey(
        secret=Secret(certificate.private_bytes(private)), key_id=certificate.spki_of(private.public_key()), owner=owner
    )


def stored_storage(secret: bytes, owner: str, now_ms: int) -> StoredKey:
    """Make the entry of a storage key, in use from *now_ms* until a later one is."""
    return StoredKey(secret=Secret(secret), key_id=record_digest("storage-key", secret), owner=owner, from_ms=now_ms)


def _take(stored: Stored, name: str) -> StoredKey:
    found = stored.get(name)
    if found is None:
        raise RefusedError("MALFORMED", f"the store holds no key {name}")
    return found


def _private(key: StoredKey) -> PrivateKey:
    return certificate.private_from_bytes(key.secret.reveal())


def _begin(key: StoredKey) -> int:
    return key.from_ms
