"""Verify an evidence file: one bulletin, who sent it to whom and when, with nothing else but the roster.

1 file · 2 roster · 3 dispatch · 4 statement · 5 deliveries · 6 log · 7 witnesses · 8 receipts · 9 time · 10 export ·
11 text · 12 pages. A step is ``ok``, ``refuted`` or ``not checked``; what follows a refuted step is not checked. A
roster that came in the file itself vouches for nobody, so without the auditor's own the verdict is never plain. Every
member is judged: by a signature, by a proof, or by being made again from those that are (``audit.evidence.file``).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from audit.evidence import file
from audit.evidence.pages import make_pages
from audit.evidence.steps import NAMES, Examination, OpenError, Render, examine, step, take
from audit.evidence.zip import read_archive
from audit.verify.verdict import NOT_CHECKED, OK, REFUTED, Report, Step
from keys.dsse import SignedPayload
from keys.errors import RefusedError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["Render", "verify_evidence"]


def verify_evidence(
    data: bytes,
    *,
    given: SignedPayload | None = None,
    render: Render | None = None,
    authority: "Sequence[Certificate] | None" = None,
) -> Report:
    """Verify an evidence file offline.

    Args:
        data: The file.
        given: The roster that the auditor holds; one of the file's chain.
        render: How the exchange itself words a statement; without it ``bulletin.txt`` is not compared.
        authority: Certificates of who is trusted to tell the time, for a time stamp in the file.
    """
    found = Examination()
    try:
        members = read_archive(data)
        file.check_sums(members)
    except RefusedError as error:
        found.steps.append(step(1, REFUTED, str(error)))
        return report_of(found)
    found.steps.append(step(1, OK, f"{len(members)} members, each the one that {file.SUMS} names"))
    examine(file.core_of(members), given=given, render=render, found=found, authority=authority)
    take(found, 12, lambda: _compare_pages(members))
    return report_of(found)


def report_of(found: Examination) -> Report:
    """Put the verdict under the steps."""
    done = {each.step for each in found.steps}
    rest = [step(n, NOT_CHECKED, "the file was refuted before") for n in range(1, len(NAMES) + 1) if n not in done]
    steps = tuple(sorted([*found.steps, *rest], key=lambda each: each.step))
    own = found.case.own if found.case is not None else None
    reached = _anchored(found, steps)
    return Report(
        verdict=_verdict(found, steps),
        origin=own.checkpoint.origin if own is not None else None,
        size=own.checkpoint.size if own is not None else None,
        root=own.checkpoint.root if own is not None else None,
        steps=steps,
        anchored=own.checkpoint.size if own is not None and reached else None,
    )


def _anchored(found: Examination, steps: tuple[Step, ...]) -> bool:
    """Return whether a quorum of the auditor's own roster vouches for it; one that the file names is nobody's."""
    own_roster = steps[1].result == OK
    return own_roster and found.case is not None and found.case.own.witnessed.reached


def _verdict(found: Examination, steps: tuple[Step, ...]) -> str:
    refuted = found.refuted
    if refuted is not None:
        return f"refuted: {refuted.name}: {refuted.detail}"
    case = found.case
    told = "verified" if case is not None else "not verified"
    if case is not None and _anchored(found, steps):
        told += f", witnessed to {case.own.checkpoint.size}"
    if case is not None and case.fields:
        told += f", showing {', '.join(name for name, _ in case.fields)}"
    elif case is not None and case.statement is None:
        told += ", without content"
    missing = [each.name for each in steps if each.result == NOT_CHECKED]
    return told + (f"; not checked: {', '.join(missing)}" if missing else "")


def _compare_pages(members: Mapping[str, bytes]) -> str:
    """Make every page and help again from the core, and compare."""
    core = file.core_of(members)
    pages = make_pages(core)
    for name in sorted({*members, *pages} - {*core, file.SUMS}):
        if name not in pages:
            raise RefusedError("MALFORMED", f"{name}: no member of this name belongs here")
        if name not in members:
            raise RefusedError("DAMAGED", f"{name}: missing")
    other = members[file.EDITION] != pages[file.EDITION]
    for name in sorted(pages):
        if members[name] != pages[name] and not (other and name in file.WORDED):
            raise RefusedError("DAMAGED", f"{name}: not what this program makes of the proven members")
    if other:
        raise OpenError(
            "another edition of this program worded the pages; only it can say whether they are as it made them"
        )
    return f"{len(pages)} pages and helps say what the proven members say, to the byte"
