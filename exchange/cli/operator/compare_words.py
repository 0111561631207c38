"""Comparing a roster's twelve words with those that somebody was told: nobody is trusted on first use."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from keys.cli.roster_words import WordsError, after, confirm

if TYPE_CHECKING:
    from keys.dsse import SignedPayload


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
            raise WordsError(found)
        return
    if not sys.stdin.isatty():
        raise click.UsageError("nobody is there to compare the roster's words; say --words")
    click.echo(after("The roster's words: ", found), err=True)
    confirm(found, "Are these the words that you were told by another way?")
