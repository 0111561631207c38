"""Whether the body of an entry is what the rule of its kind says (``audit/entry/kinds.py``).

A rule lists fields in the order of their numbers; ``[…]`` may be left out, ``(a|b)`` is a choice, ``refusal`` is an
``outcome`` other than DONE. Each line becomes one regular expression over the body's bytes that admits exactly the
canonical bodies of that kind, so one match is the whole check; ``explain`` says in words why a body did not match.
"""

import re

from audit.entry.body import FIELDS, Body, BodyField, parse_body
from audit.entry.kinds import RULES, Kind, Outcome
from keys.errors import RefusedError

LINES: dict[Kind, str] = {kind: rule.holds for kind, rule in RULES.items()}

REFERS: dict[Kind, frozenset[Kind]] = {kind: frozenset(rule.refers) for kind, rule in RULES.items() if rule.refers}
"""Which kinds the entry may be that ``refers_to`` names, if it is of this epoch."""

ANSWERS = frozenset((Kind.RECEIVED, Kind.REFUSED, Kind.DUPLICATE, Kind.WITHDRAWN))
"""Kinds that answer a delivery: every numbered delivery gets exactly one of them."""

FIRST_KINDS = (Kind.GENESIS, Kind.ROSTER_ADOPTED, Kind.MANIFEST_ADOPTED, Kind.KEY_SHEET_ADOPTED)
"""How every log begins."""

_VARINT_32 = rb"(?:[\x80-\xff]{0,3}[\x01-\x7f]|[\x80-\xff]{4}[\x01-\x0f])"
_VARINT_64 = rb"(?:[\x80-\xff]{0,8}[\x01-\x7f]|[\x80-\xff]{9}\x01)"
_GROUPS = {
    "refers_to": rb"(?P<refers>%s)",
    "refers_to_epoch": rb"(?P<epoch>%s)",
    "delivery_digest": rb"(?P<delivery>%s)",
    "peer": rb"(?P<peer>%s)",
    "records": rb"(?P<records>%s)",
}
_TOKENS = re.compile(r"[a-z_]+|[\[\]()|]")
_MARKS = {"[": b"(?:", "]": b")?", "(": b"(?:", ")": b")", "|": b"|"}


def _value_pattern(field: BodyField, values: list[int]) -> bytes:
    if field.length:
        return b".{%d}" % field.length
    if field.enum is not None:  # a value that we do not know is left to explain()
        single = b"".join(b"\\x%02x" % v for v in values if v < 128)
        double = b"".join(b"\\x%02x" % (v & 127 | 128) for v in values if v >= 128)
        return b"(?:[%s]|[%s]\x01)" % (single, double) if double else b"[%s]" % single
    return _VARINT_32 if field.limit < 1 << 32 else _VARINT_64


def _field_pattern(name: str) -> bytes:
    field = _FIELD["outcome" if name == "refusal" else name]
    values = [int(member) for member in field.enum or ()]
    if name == "refusal":
        values.remove(Outcome.DONE)
    value = _value_pattern(field, values)
    return re.escape(field.prefix) + _GROUPS.get(name, b"%s").replace(b"%s", value)


def _compile(kind: Kind, line: str) -> re.Pattern[bytes]:
    body = b"".join(_MARKS[t] if t in _MARKS else _field_pattern(t) for t in _TOKENS.findall(line))
    return re.compile(re.escape(b"\x08" + bytes([kind])) + body, re.DOTALL)


_FIELD = {field.name: field for field in FIELDS}
PATTERNS: dict[int, re.Pattern[bytes]] = {int(kind): _compile(kind, line) for kind, line in LINES.items()}


def explain(data: bytes) -> str | None:
    """Return why a body matches no pattern; None means *not understood*: canonical, but newer than this program.

    Raises:
        RefusedError: MALFORMED; the body is not in the canonical subset.
    """
    body = parse_body(data)
    if not body.understood:
        return None
    kind = Kind(body.kind)
    present_names = " ".join(name for name in body.present() if name != "kind") or "nothing"
    return f"{kind.name} holds: {present_names}; its rule: {LINES[kind] or 'nothing'}"


def check_body(data: bytes) -> Body:
    """Read a body that this program is about to write, by the rule of its kind.

    Raises:
        RefusedError: MALFORMED; outside the canonical subset, against its kind's rule, or not understood.
    """
    pattern = PATTERNS.get(data[1]) if len(data) > 1 else None
    if pattern is None or not pattern.fullmatch(data):
        raise RefusedError("MALFORMED", f"body: {explain(data) or 'not understood'}")
    return parse_body(data)


def read_number(raw: bytes) -> int:
    """Return the value of a number that a pattern has captured, so that its form is known (``keys.varint`` checks it)."""
    value = 0
    for byte in reversed(raw):
        value = value << 7 | byte & 0x7F
    return value
