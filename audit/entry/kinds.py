"""The closed sets of an entry: its kinds with the rule of each, the roles of those who act, how things end.

Mirrors of the enums in ``proto/audit/v1/entry.proto`` without their prefixes, so that an auditor's tools need no
protobuf library; a test holds the two equal. Numbers are frozen and never reused. How things end, the refusals among
it, stands with all that belongs to a code in ``keys.refusals``.
"""

from dataclasses import dataclass
from enum import IntEnum

from keys.refusals import Outcome

__all__ = ["Kind", "Outcome", "Role"]


class Kind(IntEnum):
    """What happened. Numbers 35 to 40 are settled in the schema; until they have a rule they are not understood."""

    GENESIS = 1
    NODE_STARTED = 2
    STARTED_ALONE = 3
    ROSTER_ADOPTED = 4
    MANIFEST_ADOPTED = 5
    KEY_SHEET_ADOPTED = 6
    REVOCATION_ADOPTED = 7
    HELD = 8
    APPROVED = 9
    PUBLISHED = 10
    QUEUED = 11
    RECEIVED = 12
    ATTACHED = 13
    RECEIPT_RECORDED = 14
    REFUSED = 15
    DUPLICATE = 16
    WITHDRAWN = 17
    LISTED = 18
    OPENED = 19
    ACCESS_DENIED = 20
    CORRECTED = 21
    RECALLED = 22
    HOLD_SET = 23
    HOLD_RELEASED = 24
    ERASED = 25
    EXPORTED = 26
    CHECKPOINT_SEEN = 27
    FORK_SEEN = 28
    OWN_KEY_MISUSE = 29
    CLOCK_STEPPED = 30
    RESTORED = 31
    HEARTBEAT = 32
    EPOCH_CLOSED = 33
    READ_FAILED = 34


@dataclass(frozen=True, slots=True)
class Rule:
    """What is said of one kind: its body, what it may name, and where a report counts it."""

    holds: str  # the fields of its body; the notation is that of ``audit/entry/grammar.py``
    refers: tuple[Kind, ...] = ()  # the kinds that ``refers_to`` may name, if that entry is of this epoch
    group: str = "upkeep"  # of the report's chart
    scar: bool = False  # a report names each one


_WHO = "[actor actor_epoch] [role]"
_REF = "refers_to [refers_to_epoch]"
_MADE_OR_GOT = (Kind.HELD, Kind.PUBLISHED, Kind.RECEIVED)

RULES: dict[Kind, Rule] = {
    Kind.GENESIS: Rule("digest"),
    Kind.NODE_STARTED: Rule("[key_id] [count] [digest]"),
    Kind.STARTED_ALONE: Rule(f"{_WHO} [count]", scar=True),
    Kind.ROSTER_ADOPTED: Rule("count digest"),
    Kind.MANIFEST_ADOPTED: Rule("peer count digest"),
    Kind.KEY_SHEET_ADOPTED: Rule("peer count digest"),
    Kind.REVOCATION_ADOPTED: Rule("[peer] key_id [count] digest"),
    Kind.HELD: Rule(
        f"{_WHO} bulletin_id statement_digest [retain_until_day] [retention_rule] [key_id] [digest]", group="sent"
    ),
    Kind.APPROVED: Rule(f"{_WHO} [bulletin_id] statement_digest [key_id] {_REF}", refers=(Kind.HELD,), group="sent"),
    Kind.PUBLISHED: Rule(
        f"{_WHO} bulletin_id dispatch_digest statement_digest [retain_until_day] [retention_rule]"
        f" [key_id] [{_REF}] [count] [digest] [records]",
        refers=(Kind.HELD, Kind.APPROVED, Kind.PUBLISHED),
        group="sent",
    ),
    Kind.QUEUED: Rule(
        f"peer bulletin_id dispatch_digest delivery_digest [statement_digest] {_REF} [count]",
        refers=(Kind.PUBLISHED,),
        group="sent",
    ),
    Kind.RECEIVED: Rule(
        "peer bulletin_id dispatch_digest delivery_digest opening [retain_until_day] [retention_rule]"
        " [key_id] [count] [digest] [records]",
        group="received",
    ),
    Kind.ATTACHED: Rule(f"[peer] [bulletin_id] {_REF} [count] digest", refers=_MADE_OR_GOT, group="received"),
    Kind.RECEIPT_RECORDED: Rule(
        "peer [bulletin_id] dispatch_digest delivery_digest [outcome] peer_index peer_leaf_hash"
        f" peer_size peer_root {_REF} [count] [digest] [records]",
        refers=(Kind.QUEUED,),
        group="receipts",
    ),
    Kind.REFUSED: Rule(
        f"{_WHO} (peer [bulletin_id] [dispatch_digest delivery_digest]|[bulletin_id]) [statement_digest]"
        " [purpose] refusal [key_id] [count] [digest]",
        group="refused",
    ),
    Kind.DUPLICATE: Rule(
        f"peer [bulletin_id] dispatch_digest delivery_digest [outcome] {_REF} [count]",
        refers=(Kind.RECEIVED,),
        group="received",
    ),
    Kind.WITHDRAWN: Rule("peer [bulletin_id] dispatch_digest delivery_digest [outcome] [count]", group="received"),
    Kind.LISTED: Rule("actor actor_epoch [role] [purpose] [outcome] [count] digest", group="read"),
    Kind.OPENED: Rule(
        f"actor actor_epoch [role] [peer] bulletin_id [purpose] [outcome] [key_id] {_REF} [count] digest [records]",
        refers=(*_MADE_OR_GOT, Kind.OPENED),
        group="read",
    ),
    Kind.ACCESS_DENIED: Rule(
        f"actor actor_epoch [role] [peer] [bulletin_id] [purpose] refusal [{_REF}] [count] digest",
        refers=_MADE_OR_GOT,
        group="refused",
    ),
    Kind.CORRECTED: Rule(f"{_WHO} [peer] bulletin_id [statement_digest] [{_REF}] [digest]", refers=_MADE_OR_GOT),
    Kind.RECALLED: Rule(f"{_WHO} [peer] bulletin_id [statement_digest] [{_REF}] [digest]", refers=_MADE_OR_GOT),
    Kind.HOLD_SET: Rule(
        f"{_WHO} [bulletin_id] [purpose] [retain_until_day] [retention_rule] {_REF} [digest]", refers=_MADE_OR_GOT
    ),
    Kind.HOLD_RELEASED: Rule(f"{_WHO} [bulletin_id] [purpose] {_REF} [digest]", refers=(Kind.HOLD_SET,)),
    Kind.ERASED: Rule(
        f"{_WHO} [bulletin_id] [retain_until_day] [retention_rule] {_REF} [count] [digest]", refers=_MADE_OR_GOT
    ),
    Kind.EXPORTED: Rule(
        f"actor actor_epoch [role] [peer] [bulletin_id] [purpose] [{_REF}] [count] digest",
        refers=_MADE_OR_GOT,
        group="read",
    ),
    Kind.CHECKPOINT_SEEN: Rule("peer peer_size peer_root [key_id] [count] [digest]"),
    Kind.FORK_SEEN: Rule("peer [peer_size peer_root] [key_id] [count] digest", scar=True),
    Kind.OWN_KEY_MISUSE: Rule("[peer] [peer_size peer_root] [key_id] [count] [digest]", scar=True),
    Kind.CLOCK_STEPPED: Rule("[outcome] [count] [digest]", scar=True),
    Kind.RESTORED: Rule("[peer] [peer_size peer_root] [count] [digest]", scar=True),
    Kind.HEARTBEAT: Rule("[count]"),
    Kind.EPOCH_CLOSED: Rule("[count] [digest]", scar=True),
    Kind.READ_FAILED: Rule(
        f"actor actor_epoch [role] [peer] bulletin_id [purpose] refusal {_REF} digest",
        refers=(Kind.OPENED, Kind.EXPORTED),
        group="read",
    ),
}
"""One row a kind. A new kind is a member of ``Kind``, a row here, a line in the schema and a row of ``audit/README.md``."""


class Role(IntEnum):
    """In which role the actor acted."""

    AUTHOR = 1
    RELEASER = 2
    READER = 3
    OPERATOR = 4
    SYSTEM = 5
