"""Which characters a bulletin may hold (docs/design.md, "Characters").

Everything assigned, but no controls, half characters, byte-order marks, non-characters, tag characters and no
embeddings or overrides of direction. Text is in NFC: two spellings of one name must not be two names. Prose alone may have newlines, tabs and isolates, the latter balanced. The marks
and joiners that Khmer, Burmese, Persian and emoji need stay.
"""

from __future__ import annotations

import unicodedata

PLAIN_PROSE = b"\t\n" + bytes(range(0x20, 0x7F))  # the characters of ASCII that running text may have
_ISOLATES = frozenset("\u2066\u2067\u2068")
_POP = "\u2069"
_NEVER = frozenset("\u202a\u202b\u202c\u202d\u202e\ufeff")
_TAGS = range(0xE0000, 0xE0080)


def text_fault(text: str, *, prose: bool, lines: bool = False) -> str | None:
    """Return which character may not stand in *text*, or None.

    Args:
        prose: Running text, which may have newlines, tabs and balanced isolates.
        lines: One value of several lines (a machine-readable zone): newlines, and nothing else of these.
    """
    if not unicodedata.is_normalized("NFC", text):
        return "it is not in NFC; a draft is brought into that form when it is read, before it is signed"
    if text.isprintable():  # the usual case, in one step
        return None
    allowed = "\n\t" if prose else "\n" if lines else ""
    for char in sorted({char for char in text if not char.isprintable()}):
        if char not in allowed and _forbidden(char, prose):
            return f"the character U+{ord(char):04X} may not stand here"
    return None if _balanced(text) else "an isolate (U+2066 to U+2069) is not closed"


def _forbidden(char: str, prose: bool) -> bool:
    if char in _ISOLATES or char == _POP:
        return not prose
    category = unicodedata.category(char)
    return category in ("Cc", "Cs", "Cn") or char in _NEVER or ord(char) in _TAGS


def _balanced(text: str) -> bool:
    """Return whether every isolate is closed, in order."""
    depth = 0
    for char in text:
        depth += (char in _ISOLATES) - (char == _POP)
        if depth < 0:
            return False
    return depth == 0
