"""What is wrong with a bulletin, where, and what would be right.

Codes and paths are a public contract: ``Y-`` reading, ``S-`` schema, ``R-`` registry, ``P-`` policy.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from keys.errors import RefusedError

WHOLE = "-"  # the path of a complaint about the bulletin as a whole
MOST = 200  # complaints of one layer; nobody reads more, and a peer must not make us write them


Fault = tuple[str, str, str | None]  # code, sentence, hint: a complaint before one knows where


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """One defect. *path* starts at the root (``persons[0].label``); *line* counts from 1 in the officer's file."""

    code: str
    path: str
    message: str
    hint: str | None = None
    line: int | None = None


class RulesError(RefusedError):
    """A bulletin that breaks rules: refusal code RULES, with every complaint that a client may show its author."""

    def __init__(self, complaints: tuple[Complaint, ...]) -> None:
        first = complaints[0]
        more = f" and {len(complaints) - 1} more" if len(complaints) > 1 else ""
        super().__init__("RULES", f"{first.code} at {first.path}{more}")
        self.complaints = complaints

    @property
    def exit_as(self) -> str:
        """Return that policy refuses, where nothing else is wrong with the draft."""
        return "NOT_ALLOWED" if all(each.code.startswith("P-") for each in self.complaints) else self.code


def nearest(word: str, words: Iterable[str]) -> str | None:
    """Return which of *words* was probably meant: ``did you mean 'addressees'?``, or nothing."""
    few = list(islice(words, 100))
    found = difflib.get_close_matches(word, few, n=1, cutoff=0.6) if len(word) <= 60 else []
    return f"did you mean '{found[0]}'?" if found else None
