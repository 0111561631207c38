"""The closed sets of an entry: its kinds, the roles of those who act, how things end.

Mirrors of the enums in ``proto/audit/v1/entry.proto`` without their prefixes, so that an auditor's tools need no
protobuf library; a test holds the two equal. Numbers are frozen and never reused.
"""

from enum import IntEnum


class Kind(IntEnum):
    """What happened."""

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


class Role(IntEnum):
    """In which role the actor acted."""

    AUTHOR = 1
    RELEASER = 2
    READER = 3
    OPERATOR = 4
    SYSTEM = 5


class Outcome(IntEnum):
    """How it ended; the refusals are the public refusal codes."""

    DONE = 1
    MALFORMED = 10
    TOO_LARGE = 11
    NOT_UNDERSTOOD = 12
    TOO_MANY = 13
    SIGNATURE_INVALID = 20
    SIGNER_UNKNOWN = 21
    SIGNERS_DIFFER = 22
    KEY_EXPIRED = 23
    WRONG_FEDERATION = 24
    WRONG_MAKER = 25
    WRONG_TYPE = 26
    SUITE_UNKNOWN = 27
    NOT_A_MEMBER = 28
    PEER_UNTRUSTED = 29
    STALE_ROSTER = 40
    ROSTER_UNKNOWN = 41
    ROSTER_EXPIRED = 42
    MANIFEST_EXPIRED = 43
    KEY_SHEET_EXPIRED = 44
    DISPATCH_EXPIRED = 45
    NOT_FOR_US = 60
    RECIPIENTS_DIFFER = 61
    NO_RECIPIENT = 62
    RULES = 70
    SENDER_DIFFERS = 71
    BULLETIN_ID_DIFFERS = 72
    URGENCY_DIFFERS = 73
    AUTHOR_DIFFERS = 74
    ATTACHMENTS_DIFFER = 75
    STATEMENT_DIFFERS = 76
    EQUIVOCATION = 77
    TARGET_MISSING = 78
    NEEDS_RELEASE = 79
    TARGET_DIFFERS = 80
    DAMAGED = 90
    UNOPENABLE = 91
    KEY_GONE = 92
    QUARANTINED = 93
    LANE_GAP = 110
    LANE_FORK = 111
    LANE_UNKNOWN = 112
    LANE_STOPPED = 113
    LANE_CLASS = 114
    RECEIPT_INVALID = 115
    LANE_HEAD_INVALID = 116
    REPLAYED = 130
    CLOCK_DIFFERS = 131
    NOT_ALLOWED = 132
    NO_SUCH_BULLETIN = 133
