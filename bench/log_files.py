"""A log folder of any length quickly: published files alone, no database, in constant memory.

Two mixtures. ``NODE``: what a sender's and recipient's node writes for each bulletin. ``LARGE``: entries of nearly
300 bytes, with every optional field that their kinds admit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from audit.entry.entry import Body, Kind, encode_entry, genesis_previous, leaf_hash
from audit.note.checkpoint import Checkpoint, VerifierKey, sign_checkpoint
from audit.tiles.tile_names import CHECKPOINT, ENTRIES, KEY_FILE, encode_bundle, tile_name
from audit.tree.merkle import EMPTY_ROOT, TILE_WIDTH, root_of
from keys.identity import Usage, records_digest
from keys.signer import Ed25519Signer

SIGNER = Ed25519Signer.from_seed(Usage.LOG, "BENCH", bytes(range(32)))
START_US = 1_790_000_000_000_000
DIGEST = bytes(range(1, 33))  # of every record
RECORDS = records_digest(DIGEST, DIGEST, DIGEST)
Mixture = Callable[[int, bytes], list[Body]]


def write_log(folder: Path, origin: str, size: int, mixture: Mixture) -> VerifierKey:
    """Write a signed log of exactly *size* entries into a new folder; give its key."""
    key = VerifierKey(name=origin, key=SIGNER.key.public_key)
    levels: list[list[bytes]] = [[]]
    entries = islice(_entries(origin, size, mixture), size)
    for index in range(-(-size // TILE_WIDTH)):
        bundle = list(islice(entries, TILE_WIDTH))
        leaves = [leaf_hash(entry) for entry in bundle]
        _write(folder, tile_name(ENTRIES, index, len(bundle)), encode_bundle(bundle))
        _promote(folder, levels, 0, index, leaves)
    for level, row in enumerate(levels[1:], 1):
        if row:
            _write(folder, tile_name(level, (size >> 8 * level) // TILE_WIDTH, len(row)), b"".join(row))
    root = _root(levels)
    note = sign_checkpoint(Checkpoint(origin=origin, size=size, root=root), SIGNER)
    _write(folder, KEY_FILE, f"{key}\n".encode())
    _write(folder, CHECKPOINT, note.encode())
    return key


def _promote(folder: Path, levels: list[list[bytes]], level: int, index: int, hashes: list[bytes]) -> None:
    """Write a tile; a complete one's root goes into the level above, which may complete a tile there."""
    _write(folder, tile_name(level, index, len(hashes)), b"".join(hashes))
    if len(hashes) < TILE_WIDTH:
        levels[0] = hashes
        return
    if len(levels) == level + 1:
        levels.append([])
    above = levels[level + 1]
    above.append(root_of(hashes))
    if len(above) == TILE_WIDTH:
        full = levels[level + 1] = []
        assert not full
        _promote(folder, levels, level + 1, index // TILE_WIDTH, above)


def _root(levels: list[list[bytes]]) -> bytes:
    ragged: list[bytes] = []
    for row in levels:
        part = row + ragged
        ragged = [root_of(part)] if part else []
    return ragged[0] if ragged else EMPTY_ROOT


def _write(folder: Path, name: str, data: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _entries(origin: str, size: int, mixture: Mixture) -> Iterator[bytes]:
    link, now, index = genesis_previous(origin), START_US, 0
    bodies = _first()
    while index < size:
        for body in bodies:
            entry = encode_entry(index, now, link, body.encode())
            yield entry
            link, now, index = leaf_hash(entry), now + 700, index + 1
        bodies = mixture(index, os.urandom(256))


def _first() -> list[Body]:
    adopted = [Body(kind=Kind.MANIFEST_ADOPTED, peer=peer, count=1, digest=DIGEST) for peer in range(1, 5)]
    sheets = [Body(kind=Kind.KEY_SHEET_ADOPTED, peer=peer, count=1, digest=DIGEST) for peer in range(1, 5)]
    return [
        Body(kind=Kind.GENESIS, digest=DIGEST),
        Body(kind=Kind.ROSTER_ADOPTED, count=1, digest=DIGEST),
        *(adopted[:1] + sheets[:1] + adopted[1:] + sheets[1:]),
    ]


def node_mixture(index: int, noise: bytes) -> list[Body]:
    """Return PUBLISHED, two QUEUED, two RECEIPT_RECORDED, RECEIVED, OPENED: about 190 bytes an entry."""
    parts = [noise[i : i + 32] for i in range(0, 256, 32)]
    sent, got, actor = parts[0][:16], parts[0][16:], parts[1][:16]
    lanes = [{"peer": peer, "delivery_digest": parts[2][:31] + bytes((peer,))} for peer in (2, 3)]
    return [
        Body(
            kind=Kind.PUBLISHED,
            actor=actor,
            actor_epoch=1,
            role=1,
            bulletin_id=sent,
            dispatch_digest=parts[3],
            statement_digest=parts[4],
            retain_until_day=21_000,
            retention_rule=1,
            key_id=parts[5],
            records=RECORDS,
        ),
        *(
            Body(kind=Kind.QUEUED, bulletin_id=sent, dispatch_digest=parts[3], refers_to=index, count=index, **lane)
            for lane in lanes
        ),
        *(
            Body(
                kind=Kind.RECEIPT_RECORDED,
                bulletin_id=sent,
                dispatch_digest=parts[3],
                outcome=1,
                peer_index=index,
                peer_leaf_hash=parts[6],
                peer_size=index + 8,
                peer_root=parts[7],
                refers_to=index + place,
                records=RECORDS,
                **lane,
            )
            for place, lane in enumerate(lanes, 1)
        ),
        Body(
            kind=Kind.RECEIVED,
            peer=4,
            bulletin_id=got,
            dispatch_digest=parts[5],
            delivery_digest=parts[6],
            opening=parts[7],
            retain_until_day=21_000,
            count=index,
            records=RECORDS,
        ),
        Body(
            kind=Kind.OPENED,
            actor=actor,
            actor_epoch=1,
            role=3,
            peer=4,
            bulletin_id=got,
            purpose=2,
            refers_to=index + 5,
            digest=parts[4],
            records=RECORDS,
        ),
    ]


def large_mixture(index: int, noise: bytes) -> list[Body]:
    """Return entries with every field that their kinds admit: 297 bytes on average; none may be longer than 303."""
    parts = [noise[i : i + 32] for i in range(0, 256, 32)]
    large, huge = 1 << 30, (1 << 63) + index
    who = {"actor": parts[1][:16], "actor_epoch": large, "role": 5}
    lane = {"peer": large, "bulletin_id": parts[0][:16], "dispatch_digest": parts[3], "delivery_digest": parts[2]}
    told = {"peer_leaf_hash": parts[6], "peer_root": parts[7], "outcome": 131, "count": huge, "digest": parts[4]}
    receipts = [
        Body(
            kind=Kind.RECEIPT_RECORDED,
            **lane,
            **told,
            peer_index=huge + place,
            peer_size=huge + 100,
            refers_to=index + 1,
            refers_to_epoch=0 if place < 6 else large,
        )
        for place in range(40)
    ]
    refused = [
        Body(
            kind=Kind.REFUSED,
            **who,
            peer=large,
            bulletin_id=parts[0][16:],
            dispatch_digest=parts[5],
            delivery_digest=bytes((place,)) + parts[6][1:],
            statement_digest=parts[7],
            purpose=large,
            outcome=131,
            key_id=parts[1],
            count=huge,
            digest=parts[2],
        )
        for place in range(16)
    ]
    published = Body(
        kind=Kind.PUBLISHED,
        **who,
        bulletin_id=parts[0][:16],
        dispatch_digest=parts[3],
        statement_digest=parts[4],
        retain_until_day=21_000,
        retention_rule=1,
        key_id=parts[5],
        digest=parts[6],
    )
    queued = Body(kind=Kind.QUEUED, **lane, statement_digest=parts[4], refers_to=index, count=huge)
    return [published, queued, *receipts, *refused]
