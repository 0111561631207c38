"""How things end: one row a code, and every number, status, exit code and sentence that belongs to it.

A refusal's row gives its number in the log, the status it travels with and the exit code that a command ends with; an
ending that is no refusal has no number. Whatever tells codes apart reads them here: the schema of the log is the only
other place that names a refusal. A new code is a member of ``Outcome`` and a row; nothing ends by default.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum


class Exit(IntEnum):
    """With what number a command ends; the same with ``--json`` and without."""

    DONE = 0
    FAULT = 1
    USAGE = 2
    POLICY = 3
    KEY = 4
    NONE = 5
    UNVERIFIED = 6
    INCOMPLETE = 7
    UNTRUSTED = 8
    UNREACHABLE = 69
    INTERRUPTED = 130


MEANINGS = {
    Exit.DONE: "done and confirmed",
    Exit.FAULT: "our fault, please report",
    Exit.USAGE: "wrong use, or the draft has errors (codes Y, S, R)",
    Exit.POLICY: "refused by policy: marking, audience, role (codes P)",
    Exit.KEY: "needs a key, a passphrase or a certificate",
    Exit.NONE: "no such thing here",
    Exit.UNVERIFIED: "verification failed",
    Exit.INCOMPLETE: "incomplete: some checks could not be made",
    Exit.UNTRUSTED: "the other side's identity changed or is not trusted",
    Exit.UNREACHABLE: "node or peer not reachable, safe to retry",
    Exit.INTERRUPTED: "interrupted; nothing was sent unless a receipt was printed",
}


class Cure(Enum):
    """What may make the same attempt succeed, without a change to what is attempted; the value says it in words."""

    NEVER = "no"
    LATER = "yes, in a while"
    RECORDS = "once newer records have come"
    RENEWAL = "once the record that has run out is signed anew"


class Outcome(IntEnum):
    """How what an entry tells of ended: ``audit.v1.Outcome`` without its prefix. Numbers are never used again."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRow:
    """All that belongs to one code."""

    code: str
    number: Outcome | None  # in the log; None for an ending that is no refusal
    status: str | None  # gRPC's name; None where it is never the answer to a call
    exit_code: Exit
    cure: Cure
    sentence: str
    hint: str = ""

    @property
    def retryable(self) -> bool:
        """Return whether the same attempt may succeed a while later, with nothing changed."""
        return self.cure is Cure.LATER


def _row(
    code: Outcome | str, status: str | None, exit_code: Exit, sentence: str, *, hint: str = "", cure: Cure = Cure.NEVER
) -> CodeRow:
    number = code if isinstance(code, Outcome) else None
    name = code.name if isinstance(code, Outcome) else code
    return CodeRow(
        code=name, number=number, status=status, exit_code=exit_code, cure=cure, sentence=sentence, hint=hint
    )


# fmt: off
_ROWS = (
    # The refusals, in the order of their numbers.
    _row(Outcome.MALFORMED, "INVALID_ARGUMENT", Exit.USAGE,
         "What came is not in its canonical form, or a value in it is out of its bounds."),
    _row(Outcome.TOO_LARGE, "RESOURCE_EXHAUSTED", Exit.USAGE, "What came is larger than it may be."),
    _row(Outcome.NOT_UNDERSTOOD, "INVALID_ARGUMENT", Exit.USAGE,
         "It holds a field, kind or method that this release does not know and may not pass over."),
    _row(Outcome.TOO_MANY, "RESOURCE_EXHAUSTED", Exit.USAGE,
         "A number is above what one message or one answer may hold, or a quota is used up for now."),
    _row(Outcome.SIGNATURE_INVALID, "INVALID_ARGUMENT", Exit.UNVERIFIED,
         "A signature does not hold for these bytes under this key."),
    _row(Outcome.SIGNER_UNKNOWN, "INVALID_ARGUMENT", Exit.KEY,
         "The key that signed, or that is needed, stands in no list that is in force here.",
         hint="the agency's manifest does not hold this key; ask whoever keeps the agency's root", cure=Cure.RECORDS),
    _row(Outcome.SIGNERS_DIFFER, "INVALID_ARGUMENT", Exit.UNVERIFIED, "A signature is missing, or one was added."),
    _row(Outcome.KEY_EXPIRED, "FAILED_PRECONDITION", Exit.KEY, "The key did not hold at that time.",
         hint="ask whoever keeps the agency's root for a new manifest", cure=Cure.RECORDS),
    _row(Outcome.WRONG_FEDERATION, "INVALID_ARGUMENT", Exit.UNTRUSTED, "It belongs to another federation."),
    _row(Outcome.WRONG_MAKER, "PERMISSION_DENIED", Exit.UNVERIFIED,
         "It is signed for another agency than the one that shows it."),
    _row(Outcome.WRONG_TYPE, "INVALID_ARGUMENT", Exit.UNVERIFIED,
         "What is signed is of a type that is not taken here."),
    _row(Outcome.SUITE_UNKNOWN, "INVALID_ARGUMENT", Exit.KEY,
         "A key or a seal is of a cipher suite that this program does not know."),
    _row(Outcome.NOT_A_MEMBER, "PERMISSION_DENIED", Exit.UNTRUSTED,
         "The agency takes no part in the roster: it is unknown, suspended, or has left.",
         hint="exchange keys show ROSTER lists the members", cure=Cure.RECORDS),
    _row(Outcome.PEER_UNTRUSTED, "UNAUTHENTICATED", Exit.UNTRUSTED,
         "A certificate, a name, a pin or a roster is not the one that is trusted here.",
         hint="compare the twelve words of the roster with your federation's before you go on"),
    _row(Outcome.STALE_ROSTER, "FAILED_PRECONDITION", Exit.UNTRUSTED,
         "It was made under a roster that was replaced more than 30 days before."),
    _row(Outcome.ROSTER_UNKNOWN, "NOT_FOUND", Exit.INCOMPLETE,
         "A roster, a record or a catalogue that it names is not here.", cure=Cure.RECORDS),
    _row(Outcome.ROSTER_EXPIRED, "FAILED_PRECONDITION", Exit.UNTRUSTED, "The roster has run out.",
         hint="its owners sign a new one", cure=Cure.RENEWAL),
    _row(Outcome.MANIFEST_EXPIRED, "FAILED_PRECONDITION", Exit.KEY, "The agency's manifest has run out.",
         hint="whoever keeps the agency's root signs a new one", cure=Cure.RENEWAL),
    _row(Outcome.KEY_SHEET_EXPIRED, "FAILED_PRECONDITION", Exit.KEY,
         "The agency's key sheet has run out, or there is none.", hint="the agency's node signs a new one",
         cure=Cure.RENEWAL),
    _row(Outcome.DISPATCH_EXPIRED, "FAILED_PRECONDITION", Exit.USAGE,
         "It came after the time until which it was to be taken."),
    _row(Outcome.NOT_FOR_US, "INVALID_ARGUMENT", Exit.POLICY, "The bulletin is not sealed for this agency."),
    _row(Outcome.RECIPIENTS_DIFFER, "INVALID_ARGUMENT", Exit.USAGE,
         "Those that can open it are not those that the bulletin names."),
    _row(Outcome.NO_RECIPIENT, "FAILED_PRECONDITION", Exit.USAGE,
         "No agency that the bulletin names can be served now."),
    _row(Outcome.RULES, "INVALID_ARGUMENT", Exit.USAGE,
         "The bulletin breaks rules; each complaint says which, where, and what would be right."),
    _row(Outcome.SENDER_DIFFERS, "INVALID_ARGUMENT", Exit.USAGE,
         "The bulletin names another agency as its originator than the one that sends it."),
    _row(Outcome.BULLETIN_ID_DIFFERS, "INVALID_ARGUMENT", Exit.USAGE,
         "The bulletin inside carries another id than its dispatch."),
    _row(Outcome.URGENCY_DIFFERS, "INVALID_ARGUMENT", Exit.USAGE,
         "The bulletin inside is of another urgency than its dispatch."),
    _row(Outcome.AUTHOR_DIFFERS, "PERMISSION_DENIED", Exit.USAGE,
         "The bulletin names another author than the person who signed it."),
    _row(Outcome.ATTACHMENTS_DIFFER, "INVALID_ARGUMENT", Exit.USAGE,
         "The attachments are not those that the bulletin names."),
    _row(Outcome.STATEMENT_DIFFERS, "INVALID_ARGUMENT", Exit.UNVERIFIED,
         "The statement inside is not the one that its dispatch names."),
    _row(Outcome.EQUIVOCATION, "ALREADY_EXISTS", Exit.USAGE,
         "Something else was signed before under the same id or version.",
         hint="exchange outbox shows what was published under this id; leave bulletin_id out and a new one is made"),
    _row(Outcome.TARGET_MISSING, "FAILED_PRECONDITION", Exit.NONE,
         "The bulletin that it corrects, recalls or answers is not here.",
         hint="exchange inbox and exchange outbox list what is stored here"),
    _row(Outcome.NEEDS_RELEASE, "FAILED_PRECONDITION", Exit.POLICY,
         "Two persons are needed: a releaser has to agree first."),
    _row(Outcome.TARGET_DIFFERS, "INVALID_ARGUMENT", Exit.USAGE,
         "A correction names an old value that does not stand in the bulletin."),
    _row(Outcome.DAMAGED, "INVALID_ARGUMENT", Exit.UNVERIFIED, "The bytes are not those that were signed."),
    _row(Outcome.UNOPENABLE, "INVALID_ARGUMENT", Exit.KEY, "It opens with no key or passphrase that is here.",
         hint="type the passphrase again; nobody can recover a lost one"),
    _row(Outcome.KEY_GONE, "FAILED_PRECONDITION", Exit.KEY,
         "It is sealed to a key that was destroyed when its time was over."),
    _row(Outcome.QUARANTINED, "INVALID_ARGUMENT", Exit.UNVERIFIED,
         "The node died twice while it took this in, and does not try again."),
    _row(Outcome.LANE_GAP, "OUT_OF_RANGE", Exit.INCOMPLETE,
         "A delivery is missing before this one; the sender begins again where the receiver stands.", cure=Cure.LATER),
    _row(Outcome.LANE_FORK, "ABORTED", Exit.UNVERIFIED, "A lane contradicts what its sender has signed before."),
    _row(Outcome.LANE_UNKNOWN, "NOT_FOUND", Exit.NONE, "There is no such lane or epoch here.", cure=Cure.RECORDS),
    _row(Outcome.LANE_STOPPED, "ABORTED", Exit.UNVERIFIED,
         "The lane was stopped because its sender has contradicted itself."),
    _row(Outcome.LANE_CLASS, "INVALID_ARGUMENT", Exit.UNVERIFIED,
         "The delivery stands in the lane of another urgency."),
    _row(Outcome.RECEIPT_INVALID, "ABORTED", Exit.UNVERIFIED, "A receipt or a proof does not prove what it should."),
    _row(Outcome.LANE_HEAD_INVALID, "ABORTED", Exit.UNVERIFIED,
         "The head of a lane does not cover the deliveries that came with it."),
    _row(Outcome.REPLAYED, "ALREADY_EXISTS", Exit.USAGE, "It was used before: a request once, a version in its turn.",
         hint="type the command again: it makes a new request"),
    _row(Outcome.CLOCK_DIFFERS, "FAILED_PRECONDITION", Exit.USAGE,
         "The request was signed at a time that is too far from the node's.", hint="set this machine's clock"),
    _row(Outcome.NOT_ALLOWED, "PERMISSION_DENIED", Exit.POLICY, "Role or ceiling do not allow it.",
         hint="roles and ceiling stand in the agency's manifest"),
    _row(Outcome.NO_SUCH_BULLETIN, "NOT_FOUND", Exit.NONE, "There is no such bulletin here.",
         hint="exchange inbox and exchange outbox list what is stored here"),
    # Endings that are no refusals: they stand in no log.
    _row("UNAVAILABLE", "UNAVAILABLE", Exit.UNREACHABLE,
         "A node, a peer or a file is busy or does not answer; nothing is lost.", cure=Cure.LATER),
    _row("INTEGRITY", "DATA_LOSS", Exit.UNVERIFIED,
         "The node's own record contradicts itself; its operator must look."),
    _row("FAULT", "INTERNAL", Exit.FAULT, "The program has a fault.",
         hint="this is our fault; please report it with these words"),
    _row("USAGE", None, Exit.USAGE, "The command, an option or a value was typed wrongly."),
    _row("NO_SUCH_FILE", None, Exit.NONE, "There is no such file or folder."),
    _row("NO_SUCH_ENTRY", None, Exit.NONE, "The log has no such entry, or the folder no such part."),
    _row("NO_ROSTER", None, Exit.NONE, "No roster is trusted here yet."),
    _row("FILE_EXISTS", None, Exit.USAGE, "The file or folder is there already and stays as it is."),
    _row("NOT_WRITTEN", None, Exit.USAGE, "A file, or the output, cannot be written."),
    _row("NOT_PERMITTED", None, Exit.KEY, "A file or folder may not be read or written by this user."),
    _row("NOT_PRIVATE", None, Exit.KEY, "Others may read or write a file or folder that holds keys."),
    _row("KEYS_CLOSED", None, Exit.KEY,
         "The agent that keeps an officer's keys open is not here, or does not sign this."),
    _row("UNREADABLE", None, Exit.INCOMPLETE, "What is needed cannot be read from this disk."),
    _row("REFUTED", None, Exit.UNVERIFIED, "What was given is broken, or not what it says it is."),
    _row("NOT_CHECKED", None, Exit.INCOMPLETE, "Not all could be checked, or nothing is proven."),
    _row("OUTPUT_CLOSED", None, Exit.INCOMPLETE, "Whoever read the output went away before its end."),
    _row("INTERRUPTED", None, Exit.INTERRUPTED,
         "The command was interrupted; nothing was sent unless a receipt was printed."),
)
# fmt: on
TABLE = {row.code: row for row in _ROWS}


def row_of(code: str) -> CodeRow:
    """Return the row of a code.

    Raises:
        LookupError: There is none: a fault of whoever uses the code.
    """
    row = TABLE.get(code)
    if row is None:
        raise LookupError(f"no row for {code[:40]!a} in keys.refusals: a code without one may end nothing")
    return row


def is_public(code: str) -> bool:
    """Return whether a code is a refusal that this release knows; a newer one may send others."""
    return code in TABLE and TABLE[code].number is not None


def cured_by(*cures: Cure) -> frozenset[str]:
    """Return the codes that one of these may cure."""
    return frozenset(row.code for row in _ROWS if row.cure in cures)
