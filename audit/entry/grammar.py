"""What an entry of each kind must and may hold, and what it may refer to: one line a kind.

A line lists fields in the order of their numbers; ``[…]`` may be left out, ``(a|b)`` is a choice, ``refusal`` is an
``outcome`` other than DONE. Each line becomes one regular expression over the body's bytes that admits exactly the
canonical bodies of that kind, so one match is the whole check; ``explain`` says in words why a body did not match.
"""

import re

from audit.entry.body import FIELDS, Body, BodyField, parse_body
from audit.entry.kinds import Kind, Outcome
from keys.errors import RefusedError

_WHO = "[actor actor_epoch] [role]"
_REF = "refers_to [refers_to_epoch]"

LINES: dict[Kind, str] = {
    Kind.GENESIS: "digest",
    Kind.NODE_STARTED: "[key_id] [count] [digest]",
    Kind.STARTED_ALONE: f"{_WHO} [count]",
    Kind.ROSTER_ADOPTED: "count digest",
    Kind.MANIFEST_ADOPTED: "peer count digest",
    Kind.KEY_SHEET_ADOPTED: "peer count digest",
    Kind.REVOCATION_ADOPTED: "[peer] key_id [count] digest",
    Kind.HELD: f"{_WHO} bulletin_id statement_digest [retain_until_day] [retention_rule] [key_id] [digest]",
    Kind.APPROVED: f"{_WHO} [bulletin_id] statement_digest [key_id] {_REF}",
    Kind.PUBLISHED: f"{_WHO} bulletin_id dispatch_digest statement_digest [retain_until_day] [retention_rule]"
    f" [key_id] [{_REF}] [count] [digest]",
    Kind.QUEUED: f"peer bulletin_id dispatch_digest delivery_digest [statement_digest] {_REF} [count]",
    Kind.RECEIVED: "peer bulletin_id dispatch_digest delivery_digest opening [retain_until_day] [retention_rule]"
    " [key_id] [count] [digest]",
    Kind.ATTACHED: f"[peer] [bulletin_id] {_REF} [count] digest",
    Kind.RECEIPT_RECORDED: "peer [bulletin_id] dispatch_digest delivery_digest [outcome] peer_index peer_leaf_hash"
    f" peer_size peer_root {_REF} [count] [digest]",
    Kind.REFUSED: f"{_WHO} (peer [bulletin_id] [dispatch_digest delivery_digest]|[bulletin_id]) [statement_digest]"
    " [purpose] refusal [key_id] [count] [digest]",
    Kind.DUPLICATE: f"peer [bulletin_id] dispatch_digest delivery_digest [outcome] {_REF} [count]",
    Kind.WITHDRAWN: "peer [bulletin_id] dispatch_digest delivery_digest [outcome] [count]",
    Kind.LISTED: "actor actor_epoch [role] [purpose] [outcome] [count] digest",
    Kind.OPENED: f"actor actor_epoch [role] [peer] bulletin_id [purpose] [outcome] [key_id] {_REF} [count] digest",
    Kind.ACCESS_DENIED: f"actor actor_epoch [role] [peer] [bulletin_id] [purpose] refusal [{_REF}] [count] digest",
    Kind.CORRECTED: f"{_WHO} [peer] bulletin_id [statement_digest] [{_REF}] [digest]",
    Kind.RECALLED: f"{_WHO} [peer] bulletin_id [statement_digest] [{_REF}] [digest]",
    Kind.HOLD_SET: f"{_WHO} [bulletin_id] [purpose] [retain_until_day] [retention_rule] {_REF} [digest]",
    Kind.HOLD_RELEASED: f"{_WHO} [bulletin_id] [purpose] {_REF} [digest]",
    Kind.ERASED: f"{_WHO} [bulletin_id] [retain_until_day] [retention_rule] {_REF} [count] [digest]",
    Kind.EXPORTED: f"actor actor_epoch [role] [peer] [bulletin_id] [purpose] [{_REF}] [count] digest",
    Kind.CHECKPOINT_SEEN: "peer peer_size peer_root [key_id] [count] [digest]",
    Kind.FORK_SEEN: "peer [peer_size peer_root] [key_id] [count] digest",
    Kind.OWN_KEY_MISUSE: "[peer] peer_size peer_root [key_id] [count] [digest]",
    Kind.CLOCK_STEPPED: "[outcome] [count] [digest]",
    Kind.RESTORED: "[peer] [peer_size peer_root] [count] [digest]",
    Kind.HEARTBEAT: "[count]",
    Kind.EPOCH_CLOSED: "[count] [digest]",
}

_MADE_OR_GOT = frozenset((Kind.HELD, Kind.PUBLISHED, Kind.RECEIVED))
REFERS: dict[Kind, frozenset[Kind]] = {
    Kind.APPROVED: frozenset((Kind.HELD,)),
    Kind.PUBLISHED: frozenset((Kind.HELD, Kind.APPROVED, Kind.PUBLISHED)),
    Kind.QUEUED: frozenset((Kind.PUBLISHED,)),
    Kind.ATTACHED: _MADE_OR_GOT,
    Kind.RECEIPT_RECORDED: frozenset((Kind.QUEUED,)),
    Kind.DUPLICATE: frozenset((Kind.RECEIVED,)),
    Kind.OPENED: _MADE_OR_GOT,
    Kind.ACCESS_DENIED: _MADE_OR_GOT,
    Kind.CORRECTED: _MADE_OR_GOT,
    Kind.RECALLED: _MADE_OR_GOT,
    Kind.HOLD_SET: _MADE_OR_GOT,
    Kind.HOLD_RELEASED: frozenset((Kind.HOLD_SET,)),
    Kind.ERASED: _MADE_OR_GOT,
    Kind.EXPORTED: _MADE_OR_GOT,
}
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
    """Say why a body matches no pattern; None means *not understood*: canonical, but newer than this program.

    Raises:
        RefusedError: MALFORMED; the body is not in the canonical subset.
    """
    body = parse_body(data)
    if not body.understood:
        return None
    kind = Kind(body.kind)
    held = " ".join(name for name in body.present() if name != "kind") or "nothing"
    return f"{kind.name} holds: {held}; its rule: {LINES[kind] or 'nothing'}"


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
    """Return the value of a varint that a pattern has captured."""
    value = 0
    for byte in reversed(raw):
        value = value << 7 | byte & 0x7F
    return value
