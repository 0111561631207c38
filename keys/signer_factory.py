"""What signs and where its key lies: a key URI says so; see ``keys.uri``. Nobody else makes a signer from a key.

``file:/srv/exchange/node.keys#log`` is the key *log* of a key file, opened with its passphrase. A URI never holds key
material. A token is one class here and one line in ``_SOURCES``: ``pkcs11:`` is left for it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from keys.errors import RefusedError
from keys.keystore import Keystore, load_keystore
from keys.signer import Signer
from keys.uri import resolve

Passphrase = Callable[[str], bytes]  # of what is opened, as messages call it


class KeySource(Protocol):
    """Somebody's keys, opened: a key file, later a token. What signs with them is asked for by name."""

    def signer(self, name: str) -> Signer:
        """Return what signs with a key; RefusedError MALFORMED where there is none of this name."""


def _key_file(path: str, passphrase: Passphrase) -> Keystore:
    return load_keystore(Path(path), lambda: passphrase(path))


_SOURCES: dict[str, Callable[[str, Passphrase], KeySource]] = {"file": _key_file}


def open_keys(uri: str, passphrase: Passphrase) -> KeySource:
    """Open somebody's keys; a key file costs one derivation, whatever number of keys it holds.

    Args:
        uri: Without a name of a key.
        passphrase: Asked once, for what opens it.

    Raises:
        FileNotFoundError: There is no such file.
        RefusedError: MALFORMED, no kind of key of ours is named; those of ``load_keystore``.
    """
    source, path = resolve(uri, _SOURCES, "kind of key")
    return source(path, passphrase)


def open_signer(uri: str, passphrase: Passphrase) -> Signer:
    """Open one signing key.

    Args:
        uri: As ``open_keys``, with ``#`` and the key's name at its end.
        passphrase: Asked once.

    Raises:
        RefusedError: As ``open_keys``; MALFORMED where the URI names no key, or there is none of this name.
    """
    keys, mark, name = uri.rpartition("#")
    if not mark or not name:
        raise RefusedError("MALFORMED", f"{uri!a} names no key; a key URI ends in # and the key's name")
    return open_keys(keys, passphrase).signer(name)
