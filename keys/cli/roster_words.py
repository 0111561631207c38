"""A roster's twelve words on a screen, and the question whether they are those that somebody was told.

A terminal may be 80 columns wide, and twelve words of eight letters are wider: there they stand six a line, so that none
is cut. For programs and files they stay in one line.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from keys.errors import RefusedError

HALF = 6


class WordsError(RefusedError):
    """The roster is not the one whose words were told."""

    def __init__(self, found: Sequence[str]) -> None:
        super().__init__("PEER_UNTRUSTED", f"the roster's words are: {' '.join(found)}")
        self.hint = "these are not the words that you were told; go no further, ask who sent you the file"


def after(label: str, found: Sequence[str]) -> str:
    """Write the words behind a label, for stderr: in one line, or on a terminal below it, six a line."""
    if not sys.stderr.isatty():
        return f"{label} {' '.join(found)}"
    return "\n  ".join((label.rstrip(), " ".join(found[:HALF]), " ".join(found[HALF:])))


def confirm(found: Sequence[str], question: str) -> None:
    """Ask whether these are the words; WordsError where they are not."""
    if not click.confirm(question, err=True):
        raise WordsError(found)
