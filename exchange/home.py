"""A node's home: one folder with its keys, database, lock, log and people, and how a node is opened from it."""

from __future__ import annotations

import os
from pathlib import Path

from audit.lock import SqliteLock
from exchange.house import House
from exchange.node import Node, Paths, now_ms, restore_federation
from exchange.sqlite import SqliteStore
from exchange.storage import StorageKeys
from keys.errors import IntegrityError
from keys.holders import NodeKeys, load_node
from keys.identity import AgencyId


def open_node(home: Path, passphrase: bytes) -> tuple[Node, NodeKeys]:
    """Open a home's keys and database and check database, log and lock against each other.

    Raises:
        IntegrityError: Something is missing, older than what was signed, or contradicts the rest.
        RefusedError: The passphrase does not open the keys.
    """
    paths = Paths(home=home)
    keys = load_node(home, passphrase)
    store = SqliteStore(paths.database)
    try:
        house = _house(store, keys, paths)
        lock = SqliteLock.open(paths.lock)
        return Node(home, house, store, lock, os.urandom), keys
    except BaseException:
        store.close()
        raise


def _house(store: SqliteStore, keys: NodeKeys, paths: Paths) -> House:
    reads = store.reads()
    agency, pseudonym_key = reads.meta("agency"), reads.meta("pseudonym-key")
    if agency is None or pseudonym_key is None:
        raise IntegrityError(f"{paths.database}: no agency in it; exchange node init did not end")
    federation, catalogues = restore_federation(reads, now_ms())
    member = federation.roster.member(agency.decode())
    if member is None:
        raise IntegrityError(f"{paths.database}: {agency.decode()} is not in its own roster")
    return House(
        agency=AgencyId(agency.decode()),
        number=member.number,
        epoch=1,
        federation=federation,
        catalogues=catalogues,
        operations=keys.operations,
        log_signer=keys.log,
        encryption={each.key.public.key_id: each.key for each in keys.encryption},
        storage=StorageKeys.of(*(secret.reveal() for secret in keys.storage)),
        pseudonym_key=pseudonym_key,
    )
