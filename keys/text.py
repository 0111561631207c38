"""What others wrote, made fit for a screen.

A terminal obeys control characters, and direction controls can make a label read as another. So whatever a peer wrote
passes through :func:`safe_text`: controls, invisible characters, private-use and unassigned ones are shown by number, as
``⟨U+202E⟩``. Joiners that Khmer, Burmese, Persian and emoji need stay where they join letters; direction marks and
isolates never reach a terminal, which orders a right-to-left field by itself as long as it stands on its own line.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

DEFAULT_LIMIT = 200  # characters of one field on one line
CLIPPED = "…"
MAX_MARKS = 8  # on one letter; more of them would climb over the lines above

_JOINERS = frozenset("\u200b\u200c\u200d")  # ZWSP, ZWNJ, ZWJ
_VARIATIONS = frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
# Blank or invisible although Unicode calls them letters or symbols: fillers and the braille blank.
_BLANKS = frozenset("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\u034f\u180b\u180c\u180d\u180e\u180f")
_SHOWN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def safe_text(text: str, limit: int | None = DEFAULT_LIMIT, *, lines: bool = False) -> str:
    """Make *text* fit for a terminal; letters stay as they are.

    Args:
        text: Anything.
        limit: Longest result in characters; the rest becomes one "…". None for all of it.
        lines: Keep newlines (prose); otherwise they become blanks, so that a field stays one line.

    Returns:
        Text without C0 (but newline, if asked), C1, direction controls, tags, private use, surrogates, non-characters.
    """
    cut = text if limit is None else text[: limit + 1]
    if not (cut.isascii() and cut.isprintable()):
        shown = [_one_line(line) for line in cut.replace("\r\n", "\n").split("\n")]
        cut = ("\n" if lines else " ").join(shown)
    return cut if limit is None or len(cut) <= limit else cut[: limit - 1] + CLIPPED


def _one_line(text: str) -> str:
    """Show what is no plain character; a joiner stays between two that can be joined."""
    shown: list[str] = []
    marks = 0
    for index, char in enumerate(text):
        marks = marks + 1 if char > "\u02ff" and unicodedata.combining(char) else 0
        if marks > MAX_MARKS:
            shown.append(_number(char))
        elif char in _JOINERS:
            joined = 0 < index < len(text) - 1 and _joins(text[index - 1]) and _joins(text[index + 1])
            shown.append(char if joined else _number(char))
        elif char in _VARIATIONS:
            # A selector belongs to the sign before it; alone, or one after another, it hides data.
            belongs = index > 0 and text[index - 1] not in _VARIATIONS and _plain(text[index - 1])
            shown.append(char if belongs else _number(char))
        elif char == "\t":
            shown.append(" ")
        else:
            shown.append(char if _plain(char) else _number(char))
    return "".join(shown)


@lru_cache(maxsize=4096)
def _plain(char: str) -> bool:
    return unicodedata.category(char) not in _SHOWN and char not in _BLANKS


def _joins(char: str) -> bool:
    """Return whether a joiner may stand beside *char*: whatever is visible beyond ASCII, and emoji's selectors."""
    return not char.isascii() and (char in _VARIATIONS or (unicodedata.category(char)[0] in "LMNSP" and _plain(char)))


def _number(char: str) -> str:
    return f"⟨U+{ord(char):04X}⟩"
