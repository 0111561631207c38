"""Comparing a roster's twelve words with those that somebody was told: nobody is trusted on first use."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from keys.errors import RefusedError

if TYPE_CHECKING:
    from keys.dsse import SignedPayload


class WordsError(RefusedError):
    """The roster is not the one whose words were told."""

    def __init__(self, found: str) -> None:
        super().__init__("PEER_UNTRUSTED", f"the roster's words are: {found}")
        self.hint = "these are not the words that you were told; go no further, ask who sent you the file"


def compare_words(roster: SignedPayload, told: str | None) -> None:
    """Compare a roster's twelve words with those that somebody was told, or ask for two of them.

    Raises:
        WordsError: They differ.
    """
    from keys.roster import roster_digest
    from keys.words import words

    found = words(roster_digest(roster))
    if told is not None:
        if told.lower().split() != found:
            raise WordsError(" ".join(found))
        return
    if not sys.stdin.isatty():
        raise click.UsageError("nobody is there to compare the roster's words; say --words")
    click.echo(f"The roster's words:  {' '.join(found)}", err=True)
    if not click.confirm("Are these the words that you were told by another way?", err=True):
        raise WordsError(" ".join(found))
