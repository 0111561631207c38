"""Every known way in which our verdict differs from that of aics-tlog, and why ours is meant.

A row holds for a case if its test says so of the bytes that both were given, and the verdicts are the ones it names.
The fuzzers fail on any disagreement that no row explains, and on a row that explains nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.tlog.cases import WITNESSES, Case, text


class Disagreement(NamedTuple):
    """One row."""

    ours: bool  # what we say; aics-tlog says the opposite
    holds: Callable[[Case], bool]
    why: str


def _parts(case: Case) -> tuple[list[str], list[str]]:
    """Split a note as aics-tlog does: at the last blank line."""
    above, _, below = case.data.decode(errors="replace").rpartition("\n\n")
    return above.split("\n"), below.split("\n")


def _extended(case: Case) -> bool:
    return len(_parts(case)[0]) > 3


def _blank(case: Case) -> bool:
    below = _parts(case)[1]
    return below[-1] != "" or "" in below[:-1]


def _many_lines(case: Case) -> bool:
    return sum(line != "" for line in _parts(case)[1]) > 32


def _bare_hash(case: Case) -> bool:
    return any(len(line.rpartition(" ")[2]) == 8 for line in _parts(case)[1])


def _witness_twice(case: Case) -> bool:
    known = {f"— {key.name} {text(key.key_hash)[:5]}" for key in WITNESSES}  # five whole characters of the hash
    seen = [line[: line.rindex(" ") + 6] for line in _parts(case)[1] if line.count(" ") == 2]
    return case.kind == "cosigned" and any(seen.count(start) > 1 for start in known)


def _huge_size(case: Case) -> bool:
    lines = _parts(case)[0]
    return len(lines) > 1 and lines[1].isdigit() and int(lines[1]) >= 1 << 63


def _long_name(case: Case) -> bool:
    names = (line.split(" ")[1] for line in _parts(case)[1] if line.count(" ") == 2)
    return any(len(name.encode()) > 255 for name in names)


def _zero(case: Case) -> bool:
    return case.kind == "consistency" and case.request[1] == 0


def _odd_hash(case: Case) -> bool:
    return case.kind == "inclusion" and case.odd_lengths


def _entries_read(case: Case) -> bool:
    return case.kind == "resigned" and case.step in (3, 6, 8)


def _longer_file(case: Case) -> bool:
    return case.kind == "altered" and case.change == "longer" and case.step == 4


def _note(test: Callable[[Case], bool]) -> Callable[[Case], bool]:
    return lambda case: bool(case.data) and test(case)


KNOWN: dict[str, Disagreement] = {
    "extension lines": Disagreement(
        False,
        _note(_extended),
        "C2SP lets a checkpoint carry further lines; ours never does, and none may be smuggled in",
    ),
    "blank lines": Disagreement(
        False,
        _note(_blank),
        "aics-tlog skips blank lines among signature lines and does not miss the last newline; C2SP has neither",
    ),
    "more than 32 lines": Disagreement(
        False, _note(_many_lines), "C2SP asks for 16 at least; a limit of ours keeps the work before a signature small"
    ),
    "a signature of no bytes": Disagreement(
        False,
        _note(_bare_hash),
        "four bytes of key hash with nothing after them are no signature; aics-tlog skips them",
    ),
    "sizes from 2^63": Disagreement(
        False, _note(_huge_size), "tlog-tiles counts with signed 64-bit numbers; aics-tlog with any"
    ),
    "names of more than 255 bytes": Disagreement(
        True, _note(_long_name), "C2SP sets no limit to a key's name; the note's own limit of 64 KiB is enough"
    ),
    "a witness twice": Disagreement(
        True,
        _witness_twice,
        "aics-tlog refuses a known witness's second line; with us one key counts once, as C2SP lets it",
    ),
    "consistency from size 0": Disagreement(
        False, _zero, "every tree extends the empty one, so there is nothing to prove, and we take no proof of it"
    ),
    "hashes of another length": Disagreement(
        False, _odd_hash, "aics-tlog hashes siblings of any length in an inclusion proof; ours have 32 bytes"
    ),
    "entries that break our rules": Disagreement(
        False, _entries_read, "signed anew with the real key; aics-tlog reads no entries, it only hashes them"
    ),
    "tiles that go on": Disagreement(
        False, _longer_file, "aics-tlog takes the first hashes of a right-hand tile and leaves the rest unread"
    ),
}


def explain(case: Case, ours: bool) -> str | None:
    """Name the row that explains why aics-tlog says the opposite of *ours*."""
    for name, row in KNOWN.items():
        if row.ours == ours and row.holds(case):
            return name
    return None
