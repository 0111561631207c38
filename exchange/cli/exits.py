"""Exit codes and the words beside them: one table, the same with ``--json`` and without.

Lower layers raise one of three families of errors; here alone it becomes what a person reads and a script branches on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keys.errors import IntegrityError, RefusedError, UnavailableError

DONE, FAULT, USAGE, POLICY, KEY, NONE, UNVERIFIED, INCOMPLETE, UNTRUSTED = range(9)
UNREACHABLE, INTERRUPTED = 69, 130

MEANINGS = {
    DONE: "done and confirmed",
    FAULT: "our fault, please report",
    USAGE: "wrong use, or the draft has errors (codes Y, S, R)",
    POLICY: "refused by policy: marking, audience, role (codes P)",
    KEY: "needs a key, a passphrase or a certificate",
    NONE: "no such thing here",
    UNVERIFIED: "verification failed",
    INCOMPLETE: "incomplete: some checks could not be made",
    UNTRUSTED: "the other side's identity changed or is not trusted",
    UNREACHABLE: "node or peer not reachable, safe to retry",
    INTERRUPTED: "interrupted; nothing was sent unless a receipt was printed",
}

# By refusal code; what is in none of the lists is wrong use of what was sent.
_EXITS = {
    POLICY: "NOT_ALLOWED NEEDS_RELEASE NOT_FOR_US",
    KEY: "UNOPENABLE SIGNER_UNKNOWN KEY_EXPIRED KEY_GONE MANIFEST_EXPIRED KEY_SHEET_EXPIRED SUITE_UNKNOWN",
    NONE: "NO_SUCH_BULLETIN TARGET_MISSING",
    UNVERIFIED: "SIGNATURE_INVALID SIGNERS_DIFFER WRONG_TYPE WRONG_MAKER STATEMENT_DIFFERS DAMAGED QUARANTINED"
    " RECEIPT_INVALID LANE_FORK LANE_HEAD_INVALID",
    INCOMPLETE: "ROSTER_UNKNOWN",
    UNTRUSTED: "PEER_UNTRUSTED WRONG_FEDERATION NOT_A_MEMBER STALE_ROSTER ROSTER_EXPIRED",
}
_BY_CODE = {code: number for number, codes in _EXITS.items() for code in codes.split()}

HINTS = {
    "UNOPENABLE": "type the passphrase again; nobody can recover a lost one",
    "SIGNER_UNKNOWN": "the agency's manifest does not hold this key; ask whoever keeps the agency's root",
    "KEY_EXPIRED": "ask whoever keeps the agency's root for a new manifest",
    "NOT_A_MEMBER": "exchange keys show ROSTER lists the members",
    "EQUIVOCATION": "exchange outbox shows what was published under this id; leave bulletin_id out and a new one is made",
    "TARGET_MISSING": "exchange inbox and exchange outbox list what is held here",
    "NO_SUCH_BULLETIN": "exchange inbox and exchange outbox list what is held here",
    "CLOCK_DIFFERS": "set this machine's clock",
    "PEER_UNTRUSTED": "compare the twelve words of the roster with your federation's before you go on",
    "NOT_ALLOWED": "roles and ceiling stand in the agency's manifest",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A command's end in words."""

    exit_code: int
    code: str
    message: str
    hint: str = ""
    retryable: bool = False
    retry_after_seconds: float | None = None
    complaints: tuple[Any, ...] = ()
    file: str = ""  # that the complaints are about

    def to_json(self) -> dict[str, Any]:
        """Build the one object of ``--json``."""
        told: dict[str, Any] = {
            "ok": False,
            "code": self.code,
            "message": self.message,
            "hint": self.hint or None,
            "retryable": self.retryable,
        }
        if self.retry_after_seconds is not None:
            told["retry_after_seconds"] = self.retry_after_seconds
        if self.complaints:
            told["file"] = self.file or None
            told["complaints"] = [
                {"code": each.code, "path": each.path, "line": each.line, "message": each.message, "hint": each.hint}
                for each in self.complaints
            ]
        return told


def failure_of(error: BaseException) -> Failure | None:
    """Say how an error ends a command; None for one that is our fault."""
    hint = str(getattr(error, "hint", "") or "")
    if isinstance(error, RefusedError):
        complaints = tuple(getattr(error, "complaints", ()))
        number = int(getattr(error, "exit_code", 0)) or _exit_of(error.code, complaints)
        shown = hint or HINTS.get(error.code, "")
        file = str(getattr(error, "file", ""))
        return Failure(
            exit_code=number, code=error.code, message=str(error), hint=shown, complaints=complaints, file=file
        )
    if isinstance(error, UnavailableError) and (number := int(getattr(error, "exit_code", 0))):
        return Failure(exit_code=number, code="UNREADABLE", message=str(error), hint=hint)  # trying again does not help
    if isinstance(error, UnavailableError):
        wait = error.retry_after_seconds
        return Failure(
            exit_code=UNREACHABLE,
            code="UNAVAILABLE",
            message=str(error),
            hint=hint or f"nothing is lost; try again in {max(1, round(wait))} s",
            retryable=True,
            retry_after_seconds=wait,
        )
    if isinstance(error, IntegrityError):
        return Failure(exit_code=UNVERIFIED, code="INTEGRITY", message=str(error), hint=hint)
    if isinstance(error, FileNotFoundError):
        return Failure(exit_code=NONE, code="NO_SUCH_FILE", message=f"no such file or folder: {error.filename}")
    if isinstance(error, FileExistsError):
        return Failure(exit_code=USAGE, code="FILE_EXISTS", message=f"it is there already: {error.filename}")
    if isinstance(error, PermissionError):
        return Failure(exit_code=KEY, code="NOT_PERMITTED", message=f"may not be read or written: {error.filename}")
    return None


def _exit_of(code: str, complaints: tuple[Any, ...]) -> int:
    if code == "RULES" and complaints and all(each.code.startswith("P-") for each in complaints):
        return POLICY
    return _BY_CODE.get(code, USAGE)
