"""What a forger with all the files, and perhaps the key, would do: write any entries as a well-formed log folder."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from audit.entry.entry import Body, Entry, genesis_previous, leaf_hash, parse_entry
from audit.note.checkpoint import Checkpoint, VerifierKey, sign_checkpoint
from audit.tiles.tile_names import ENTRIES, encode_bundle, tile_name
from audit.tiles.tiles import TileFolder
from audit.tree.merkle import root_of
from keys.signer import Signer
from tests.audit.store import ORIGIN, START_US


def read_log(folder: Path, size: int) -> list[bytes]:
    """Return all entries of a folder."""
    tiles = TileFolder(folder)
    return [e for i in range(-(-size // 256)) for e in tiles.entries(i, min(256, size - 256 * i))]


def rechain(entries: Sequence[bytes], origin: str = ORIGIN) -> list[bytes]:
    """Return the same bodies and times as a correct chain."""
    out: list[bytes] = []
    link = genesis_previous(origin)
    for index, raw in enumerate(entries):
        entry = parse_entry(raw)
        out.append(Entry(index=index, time_us=entry.time_us, previous=link, body=entry.body).encode())
        link = leaf_hash(out[-1])
    return out


def chain(bodies: Sequence[Body | bytes], origin: str = ORIGIN) -> list[bytes]:
    """Return bodies as a correct chain, no rule checked."""
    raw = [b if isinstance(b, bytes) else b.encode() for b in bodies]
    made = [Entry(index=0, time_us=START_US + i, previous=bytes(32), body=b).encode() for i, b in enumerate(raw)]
    return rechain(made, origin)


def root(entries: Sequence[bytes]) -> bytes:
    """Return the root over entries."""
    return root_of([leaf_hash(entry) for entry in entries])


def write_log(folder: Path, entries: Sequence[bytes], note: str, key: VerifierKey | None = None) -> Path:
    """Write entries, tiles that fit them, and any note, in place of what was there. Up to 65,536 entries."""
    shutil.rmtree(folder, ignore_errors=True)
    files: dict[str, bytes] = {"checkpoint": note.encode()}
    if key:
        files["log.vkey"] = f"{key}\n".encode()
    leaves = [leaf_hash(entry) for entry in entries]
    roots = []
    for index in range(-(-len(entries) // 256)):
        part = leaves[256 * index : 256 * index + 256]
        files[tile_name(0, index, len(part))] = b"".join(part)
        files[tile_name(ENTRIES, index, len(part))] = encode_bundle(list(entries[256 * index : 256 * index + 256]))
        if len(part) == 256:
            roots.append(root_of(part))
    if roots:
        files[tile_name(1, 0, len(roots))] = b"".join(roots)
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def sign(entries: Sequence[bytes], signer: Signer, origin: str = ORIGIN) -> str:
    """Return the note that a thief of the key signs over entries."""
    return sign_checkpoint(Checkpoint(origin=origin, size=len(entries), root=root(entries)), signer)
