"""Check digits of machine-readable zones. Source: ICAO Doc 9303, parts 3 to 7."""

from __future__ import annotations

import re

_VALUE = {char: value for value, char in enumerate("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")} | {"<": 0}
_CHARACTERS = re.compile(r"[A-Z0-9<]+")

# Lines and their length -> (line, first, behind last) of each field whose next character is its check digit, and the
# pieces that the composite digit at the end of the second line covers.
_Span = tuple[int, int, int]
_TD3: tuple[tuple[_Span, ...], tuple[_Span, ...]] = (
    ((1, 0, 9), (1, 13, 19), (1, 21, 27), (1, 28, 42)),
    ((1, 0, 10), (1, 13, 20), (1, 21, 43)),
)
_TD2: tuple[tuple[_Span, ...], tuple[_Span, ...]] = (
    ((1, 0, 9), (1, 13, 19), (1, 21, 27)),
    ((1, 0, 10), (1, 13, 20), (1, 21, 35)),
)
_TD1: tuple[tuple[_Span, ...], tuple[_Span, ...]] = (
    ((0, 5, 14), (1, 0, 6), (1, 8, 14)),
    ((0, 5, 30), (1, 0, 7), (1, 8, 15), (1, 18, 29)),
)
_VISA: tuple[tuple[_Span, ...], tuple[_Span, ...]] = (((1, 0, 9), (1, 13, 19), (1, 21, 27)), ())
_SHAPES = {(2, 44): _TD3, (2, 36): _TD2, (3, 30): _TD1}


def mrz_fault(text: str) -> str | None:
    """Return what is wrong with a zone (lines joined by newlines), or None."""
    lines = text.rstrip("\n").split("\n")
    shape = _SHAPES.get((len(lines), len(lines[0])))
    if shape is None or len({len(line) for line in lines}) != 1:
        return "two lines of 44 or 36 characters or three of 30 are needed"
    if not all(_CHARACTERS.fullmatch(line) for line in lines):
        return "only A-Z, 0-9 and < may stand in it"
    fields, composite = _VISA if lines[0][0] == "V" else shape
    for line, first, last in fields:
        if not _agrees(lines[line][first:last], lines[line][last]):
            return f"the check digit at line {line + 1}, place {last + 1} does not fit"
    whole = "".join(lines[line][first:last] for line, first, last in composite)
    if composite and not _agrees(whole, lines[1][-1]):
        return "the last check digit does not fit"
    return None


def _agrees(field: str, digit: str) -> bool:
    """Compare a field with its digit; an empty field may have a filler, and a long TD1 number goes on elsewhere."""
    if digit == "<":
        return set(field) == {"<"} or (len(field) == 9 and "<" not in field)
    return digit.isdigit() and int(digit) == check_digit(field)


def check_digit(field: str) -> int:
    """Compute the digit: weights 7, 3, 1, modulo 10; a filler counts 0."""
    return sum(_VALUE[char] * (7, 3, 1)[index % 3] for index, char in enumerate(field)) % 10
