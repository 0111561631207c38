"""Whether each delivery has one answer only, in constant memory up to a hundred million answers.

Kept is a record of 16 bytes an answer: the first eight of the delivery's digest, and the entry's index. A few megabytes
stay in memory, more goes to a temporary file without a name, and is dealt out over up to 128 others by the digest, so
that only one part is kept as numbers at a time. Whole digests are compared where the eight bytes agree.
"""

from __future__ import annotations

import sys
from array import array
from collections import Counter
from collections.abc import Sequence

from audit.entry.body import parse_body
from audit.entry.entry import parse_entry
from audit.tiles.tiles import TileFolder
from audit.tree.merkle import TILE_WIDTH
from audit.verify.spool import Spool

RECORD = 16  # bytes
IN_MEMORY = 1 << 22  # bytes that are kept out of the file system
PART = 1 << 18  # records whose digests are looked at together: about 30 MB
MAX_PARTS = 128  # open files
_BLOCK = RECORD << 16


def answer_record(delivery_digest: bytes, index: int) -> bytes:
    """Return what is kept of an answer; numbers as this machine has them."""
    return delivery_digest[:8] + index.to_bytes(8, sys.byteorder)


class Answers:
    """The answers that a verification has met.

    Args:
        in_memory: Bytes that are kept out of the file system.

    Raises (every method):
        OSError: The temporary files could not be written.
    """

    def __init__(self, in_memory: int = IN_MEMORY) -> None:
        self._records = Spool(in_memory)

    @property
    def count(self) -> int:
        """Return the number of answers."""
        return self._records.size // RECORD

    def add(self, records: bytes) -> None:
        """Keep records of answers, each of 16 bytes, in any order."""
        self._records.append(records)

    def doubles(self, folder: TileFolder, size: int) -> tuple[int, int] | None:
        """Return two entries that answer one delivery, those whose second comes first; None where there are none.

        Args:
            folder: The log's, to compare whole digests.
            size: The log's.
        """
        parts = min(MAX_PARTS, -(-self.count // PART))
        dealt = [self._records] if parts < 2 else _deal(self._records, parts)
        found = [pair for part in dealt if (pair := _search(folder, size, part))]
        return min(found, key=lambda pair: pair[1], default=None)


def _deal(records: Spool, parts: int) -> list[Spool]:
    files = [Spool(1 << 16) for _ in range(parts)]
    for block in records.blocks(_BLOCK):
        dealt = [bytearray() for _ in files]
        for at in range(0, len(block), RECORD):
            dealt[(block[at] << 8 | block[at + 1]) % parts] += block[at : at + RECORD]
        for file, part in zip(files, dealt, strict=True):
            file.append(part)
    return files


def _search(folder: TileFolder, size: int, records: Spool) -> tuple[int, int] | None:
    digests: array[int] = array("Q")
    for block in records.blocks(_BLOCK):
        digests.extend(array("Q", block)[::2])
    if len(set(digests)) == len(digests):
        return None
    suspects = {digest for digest, count in Counter(digests).items() if count > 1}
    indices: array[int] = array("Q")
    for block in records.blocks(_BLOCK):
        pairs = array("Q", block)
        indices.extend(index for digest, index in zip(pairs[::2], pairs[1::2], strict=True) if digest in suspects)
    return _confirm(folder, size, sorted(indices))  # of a few bundles they come shape by shape


def _confirm(folder: TileFolder, size: int, indices: Sequence[int]) -> tuple[int, int] | None:
    seen: dict[bytes, int] = {}
    loaded, entries = -1, [b""]
    for index in indices:
        bundle, offset = divmod(index, TILE_WIDTH)
        if bundle != loaded:
            loaded, entries = bundle, folder.entries(bundle, min(TILE_WIDTH, size - bundle * TILE_WIDTH))
        digest = parse_body(parse_entry(entries[offset]).body).delivery_digest
        if digest in seen:
            return seen[digest], index
        seen[digest] = index
    return None
