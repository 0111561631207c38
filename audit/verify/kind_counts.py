"""What kinds a log's entries are of: how many, where first, and which one at any index, in constant memory.

One byte an entry is kept, the newest in memory and those of very long logs in a temporary file without a name.
"""

from collections import Counter
from collections.abc import Sequence

from audit.entry.kinds import Kind
from audit.verify.spool import Spool

# What is entered only after the other side has shown what it holds of this log: then a start alone is over.
ANSWERED = (Kind.CHECKPOINT_SEEN, Kind.RECEIPT_RECORDED, Kind.RECEIVED, Kind.DUPLICATE, Kind.WITHDRAWN)
IN_MEMORY = 1 << 24  # entries whose kinds are kept out of the file system


class KindCounts:
    """The kinds that a verification has met, in the order of the log; 0 where an entry was not understood.

    Args:
        in_memory: Entries whose kinds are kept out of the file system.

    Raises (every method):
        OSError: The temporary file could not be written or read.
    """

    def __init__(self, in_memory: int = IN_MEMORY) -> None:
        self.size = 0
        self.counts: Counter[int] = Counter()
        self.first: dict[int, int] = {}  # index of the first entry of each kind
        self.beginning = b""  # the first three
        self.after: tuple[int, int] | None = None  # (index, kind) of the first one later that adopts no manifest
        self.genesis_again: int | None = None
        self.alone_since: int | None = None  # the last STARTED_ALONE that no member's answer has followed
        self._starts = 0  # entries NODE_STARTED since then
        self._kinds = Spool(in_memory)

    def add(self, kinds: bytes) -> None:
        """Take the kinds of the next entries."""
        self._kinds.append(kinds)
        rest = kinds
        while rest:  # each round takes one kind out: a log has few, and many entries of each
            kind = rest[0]
            self.first.setdefault(kind, self.size + kinds.index(kind))
            rest = rest.translate(None, rest[:1])
            self.counts[kind] += kinds.count(kind)
        self._watch_beginning(kinds)
        self._watch_alone(kinds)
        self.size += len(kinds)

    def at(self, index: int) -> int:
        """Return the kind of an entry that was taken."""
        return self._kinds.read(index, 1)[0]

    def each(self, indices: Sequence[int]) -> bytes:
        """Return the kinds of entries that were taken."""
        return self._kinds.pick(indices)

    def _watch_beginning(self, kinds: bytes) -> None:
        if len(self.beginning) < 3:
            self.beginning = (self.beginning + kinds)[:3]
        if self.after is None:
            begin = max(0, 3 - self.size)
            rest = kinds[begin:].lstrip(bytes((Kind.MANIFEST_ADOPTED,)))
            if rest:
                self.after = self.size + len(kinds) - len(rest), rest[0]
        if self.genesis_again is None and (again := kinds.find(Kind.GENESIS, 0 if self.size else 1)) >= 0:
            self.genesis_again = self.size + again

    def _watch_alone(self, kinds: bytes) -> None:
        last = kinds.rfind(Kind.STARTED_ALONE)
        if last >= 0:
            self.alone_since, self._starts = self.size + last, 0
        if self.alone_since is None:
            return
        rest = kinds[last + 1 :]
        self._starts += rest.count(Kind.NODE_STARTED)  # the first is of the same run; a later one was answered
        if self._starts > 1 or any(kind in rest for kind in ANSWERED):
            self.alone_since = None
