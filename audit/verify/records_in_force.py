"""Whether ``records`` names the roster, manifest and key sheet that the log's ADOPTED entries had put in force before it.

Many entries name the same records, so a run keeps of them only what differs between two adoptions; a dictionary from
member to present digest is all that joining the runs takes. A log may say nothing of records, as older programs wrote
it, but once it has, it goes on. Where a verification does not begin with entry 0, what stood before it is unknown: until
all three are adopted anew, a member's entries are compared with each other alone.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from audit.entry.kinds import Kind
from keys.identity import DIGEST_BYTES, records_digest
from keys.varint import MAX_U64

OWN = 0  # in place of the member number of the log's own agency, which its entries do not repeat
OF_OURS = frozenset(map(int, (Kind.PUBLISHED, Kind.OPENED)))
OF_THE_PEER = frozenset(map(int, (Kind.RECEIVED, Kind.RECEIPT_RECORDED)))
NAMING = OF_OURS | OF_THE_PEER
ADOPTING = frozenset(map(int, (Kind.ROSTER_ADOPTED, Kind.MANIFEST_ADOPTED, Kind.KEY_SHEET_ADOPTED)))
_NONE = bytes(DIGEST_BYTES)  # where no record of a kind is known


class Adoption(NamedTuple):
    """One ADOPTED entry."""

    at: int  # its index
    kind: int
    peer: int  # 0 of a roster
    digest: bytes


Named = dict[tuple[int, bytes], int]
"""(maker's member number or ``OWN``, ``records``) → index of the first entry that says so."""


@dataclass(slots=True)
class RecordsTold:
    """What the entries of a run say of records, in their order, each only once between two adoptions."""

    parts: list[Adoption | Named] = field(default_factory=list)
    since: int | None = None  # the first entry that names records
    without: int | None = None  # the first entry that could name records and does not
    broken: int | None = None  # the first such entry after one that does

    def adopt(self, adopted: Adoption) -> None:
        """Take an ADOPTED entry."""
        self.parts.append(adopted)

    def name(self, maker: int, records: bytes, index: int) -> None:
        """Take an entry that names the records of *maker*."""
        part = self.parts[-1] if self.parts else None
        if not isinstance(part, dict):
            part = {}
            self.parts.append(part)
        if self.since is None:
            self.since = index
        part.setdefault((maker, records), index)

    def leave_out(self, index: int) -> None:
        """Take an entry that could name records and does not."""
        if self.without is None:
            self.without = index
        if self.broken is None and self.since is not None:
            self.broken = index

    def add(self, named: Sequence[Named], adopted: Sequence[Adoption], without: Sequence[Sequence[int]]) -> None:
        """Take entries in a row.

        Args:
            named: What they name, before the first adoption, between it and the second, and so on.
            adopted: The adoptions.
            without: Indices of entries that could name records and do not; each of these ascends.
        """
        for number, part in enumerate(named):
            if part:
                first = min(part.values())
                self.since = first if self.since is None else self.since
                for (maker, records), index in part.items():
                    self.name(maker, records, index)
            self.parts += adopted[number : number + 1]
        if without:
            self.without = min(self.without or MAX_U64, *(each[0] for each in without))
            if self.broken is None and self.since is not None:
                after = [
                    index for each in without if (at := bisect(each, self.since)) < len(each) for index in (each[at],)
                ]
                self.broken = min(after, default=None)


class RecordsInForce:
    """The records in force at each point of a log, for as far as its entries tell.

    Args:
        begun: Whether the first entry that is taken is the log's first.
    """

    def __init__(self, *, begun: bool = True) -> None:
        self._default: bytes | None = _NONE if begun else None
        self._roster = self._default
        self._parts: dict[tuple[int, int], bytes] = {}  # (kind, member number) → digest
        self._own = OWN  # our member number: that of the first manifest of the log
        self._begun = begun
        self._present: dict[int, bytes] = {}  # by member number, or OWN: what entries name now
        self._naming = False
        self.compared = 0  # makers' records that were held against adoptions

    def fault(self, told: RecordsTold) -> tuple[int, str] | None:
        """Take what the next entries say, and return the first that names the wrong records, or none where it must."""
        found: list[tuple[int, str]] = []
        missing = told.without if self._naming else told.broken
        if missing is not None:
            found.append((missing, "it names no records, and entries before it did"))
        for part in told.parts:
            if isinstance(part, Adoption):
                self._adopt(part)
            else:
                self._naming = True
                found += self._wrong(part)
        return min(found, default=None)

    def _adopt(self, adopted: Adoption) -> None:
        if adopted.kind == Kind.ROSTER_ADOPTED:
            self._roster = adopted.digest
            self._present.clear()
            return
        if self._begun and self._own == OWN:
            self._own = adopted.peer
        self._parts[adopted.kind, adopted.peer] = adopted.digest
        self._present.pop(adopted.peer, None)
        if adopted.peer == self._own or not self._begun:
            self._present.pop(OWN, None)

    def _wrong(self, named: Named) -> list[tuple[int, str]]:
        found = []
        for (maker, records), index in sorted(named.items(), key=lambda each: each[1]):
            present = self._present.get(maker)
            if present is None:
                present = self._present[maker] = self._digest(maker) or records
            if records != present:
                whose = "our own" if maker == OWN else f"member {maker}'s"
                found.append((index, f"it names other records than {whose} in force before it"))
        return found

    def _digest(self, maker: int) -> bytes | None:
        """Return the digest of what is in force, or None where a part of it was adopted before the first entry here."""
        member = self._own if maker == OWN else maker
        if maker == OWN and member == OWN:
            return None
        manifest = self._parts.get((Kind.MANIFEST_ADOPTED, member), self._default)
        sheet = self._parts.get((Kind.KEY_SHEET_ADOPTED, member), self._default)
        if self._roster is None or manifest is None or sheet is None:
            return None
        return records_digest(self._roster, manifest, sheet)
