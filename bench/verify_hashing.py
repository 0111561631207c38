"""What hashing alone takes of a verification: ``python -m bench.verify_hashing FOLDER PROCESSES``.

Leaf and node hashes of a log's first entries, in the tightest loop that this interpreter has; the entries are in
memory before the clock starts. No verifier that is written in it can be faster, whatever it leaves out.
"""

from __future__ import annotations

import json
import sys
import time
from hashlib import sha256
from pathlib import Path

from audit.tiles.tiles import TileFolder
from audit.tree.merkle import TILE_WIDTH, tile_roots
from audit.verify.fork_pool import in_copies

BUNDLES = 32  # 8,192 entries a process, hashed again and again
ROUNDS = 24


def hashed_each_second(folder: TileFolder, process: int) -> float:
    """Hash the entries of this process's bundles; give how many a second."""
    bundles = [folder.entries(process * BUNDLES + place, TILE_WIDTH) for place in range(BUNDLES)]
    copy = sha256(b"\0").copy
    began = time.perf_counter()
    for _ in range(ROUNDS):
        for entries in bundles:
            leaves = []
            for entry in entries:
                leaf = copy()
                leaf.update(entry)
                leaves.append(leaf.digest())
            tile_roots(leaves)
    return ROUNDS * BUNDLES * TILE_WIDTH / (time.perf_counter() - began)


def main(folder: Path, processes: int) -> None:
    """Hash in as many processes at once, each its own entries."""
    tiles = TileFolder(folder)
    print(json.dumps({"rate": sum(in_copies(lambda each: hashed_each_second(tiles, each), processes, processes))}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
