"""Verify an evidence file: one bulletin, who sent it to whom and when, with nothing else at hand but the roster.

1 file · 2 roster · 3 dispatch · 4 statement · 5 deliveries · 6 log · 7 witnesses · 8 receipts · 9 time · 10 export ·
11 text · 12 pages. A step is ``ok``, ``refuted`` or ``not checked``; what follows a refuted step is not checked. A
roster that came in the file itself vouches for nobody, so without the auditor's own the verdict is never plain. Every
member is judged: by a signature, by a proof, or by being made again from those that are (``audit.evidence_file``).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from audit import evidence_case as ec
from audit import evidence_file as ef
from audit.archive import read_archive
from audit.disclosure import parse_disclosure, verify_disclosure
from audit.evidence_export import add_export, log_head_detail
from audit.evidence_trust import Trust, check_given, read_trust
from audit.show import instant
from audit.verify import NOT_CHECKED, OK, REFUTED, Report, Step
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.identity import short
from keys.words import words

NAMES = (
    *("file", "roster", "dispatch", "statement", "deliveries", "log", "witnesses", "receipts"),
    *("time", "export", "text", "pages"),
)
CLOCK_S = 300  # how far an honest node's clock may be from its witnesses'
Render = Callable[[bytes], str]
"""Makes the text for people out of a statement's payload."""


class _OpenError(Exception):
    """A step that could not be made; the message says why."""


@dataclass(slots=True)
class Examination:
    """What was found, step by step, and the case as far as it was proved."""

    steps: list[Step] = field(default_factory=list)
    case: ec.Case | None = None

    @property
    def refuted(self) -> Step | None:
        """The step that failed."""
        return next((each for each in self.steps if each.result == REFUTED), None)


def verify_evidence(data: bytes, *, given: SignedPayload | None = None, render: Render | None = None) -> Report:
    """Verify an evidence file offline.

    Args:
        data: The file.
        given: The roster that the auditor holds; one of the file's chain.
        render: How the exchange itself words a statement; without it ``bulletin.txt`` is not compared.
    """
    found = Examination()
    try:
        members = read_archive(data)
        ef.check_sums(members)
    except RefusedError as error:
        found.steps.append(_step(1, REFUTED, str(error)))
        return report_of(found)
    found.steps.append(_step(1, OK, f"{len(members)} members, each the one that {ef.SUMS} names"))
    examine(ef.core_of(members), given=given, render=render, found=found)
    _take(found, 12, lambda: _compare_pages(members))
    return report_of(found)


def examine(
    core: Mapping[str, bytes],
    *,
    given: SignedPayload | None = None,
    render: Render | None = None,
    found: Examination | None = None,
) -> Examination:
    """Take steps 2 to 11 over a file's core."""
    found = found or Examination()
    trust: list[Trust] = []
    _take(found, 2, lambda: _roster(core, given, trust))
    if not trust:
        return found

    def opened() -> str:
        found.case = ec.open_case(core, trust[0])
        return ec.add_dispatch(found.case)

    _take(found, 3, opened)
    case = found.case
    if case is None:
        return found
    acts: tuple[Callable[[], str], ...] = (
        lambda: ec.add_statement(case) + _fields(case),
        lambda: ec.add_deliveries(case),
        lambda: ec.add_log(case),
        lambda: _witnesses(case),
        lambda: ec.add_receipts(case),
        lambda: _time(case),
        lambda: add_export(case),
        lambda: _text(case, render),
    )
    for number, act in enumerate(acts, 4):
        _take(found, number, act)
    return found


def report_of(found: Examination) -> Report:
    """Put the verdict under the steps."""
    done = {each.step for each in found.steps}
    rest = [_step(n, NOT_CHECKED, "the file was refuted before") for n in range(1, len(NAMES) + 1) if n not in done]
    steps = tuple(sorted([*found.steps, *rest], key=lambda each: each.step))
    own = found.case.own if found.case is not None else None
    reached = own is not None and own.witnessed.reached
    return Report(
        verdict=_verdict(found, steps),
        origin=own.checkpoint.origin if own is not None else None,
        size=own.checkpoint.size if own is not None else None,
        root=own.checkpoint.root if own is not None else None,
        steps=steps,
        anchored=own.checkpoint.size if own is not None and reached else None,
    )


def _verdict(found: Examination, steps: tuple[Step, ...]) -> str:
    refuted = found.refuted
    if refuted is not None:
        return f"refuted: {refuted.name}: {refuted.detail}"
    case = found.case
    told = "verified" if case is not None else "not verified"
    if case is not None and case.own.witnessed.reached:
        told += f", witnessed to {case.own.checkpoint.size}"
    if case is not None and case.statement is None:
        told += ", without content"
    missing = [each.name for each in steps if each.result == NOT_CHECKED]
    return told + (f"; not checked: {', '.join(missing)}" if missing else "")


def _take(found: Examination, number: int, act: Callable[[], str]) -> None:
    """Take one step, unless one before it was refuted."""
    if found.refuted is not None:
        return
    try:
        found.steps.append(_step(number, OK, act()))
    except RefusedError as error:
        found.steps.append(_step(number, REFUTED, str(error)))
    except _OpenError as error:
        found.steps.append(_step(number, NOT_CHECKED, str(error)))


def _step(number: int, result: str, detail: str) -> Step:
    return Step(step=number, name=NAMES[number - 1], result=result, detail=detail)


def _roster(core: Mapping[str, bytes], given: SignedPayload | None, made: list[Trust]) -> str:
    manifests = {name: data for name, data in core.items() if ef.MANIFESTS.fullmatch(name)}
    trust = read_trust(ef.rosters_of(core), manifests)
    count = f"{len(trust.rosters)} roster{'s' * (len(trust.rosters) > 1)}, {len(manifests)} manifests"
    try:
        which = check_given(trust, given) if given is not None else ""
    except RefusedError as error:
        if error.code != "ROSTER_UNKNOWN":
            raise
        made.append(trust)
        raise _OpenError(str(error)) from error
    made.append(trust)
    if not which:
        told = " ".join(words(trust.digests[-1]))
        raise _OpenError(f"the roster is the file's own; compare its words with those published: {told}")
    return f"{count}; the chain holds {which}"


def _fields(case: ec.Case) -> str:
    """Verify the fields that are shown while the rest stays shut."""
    if ef.FIELDS not in case.core:
        return ""
    file = parse_disclosure(ef.read_text(ef.FIELDS, case.core[ef.FIELDS]))
    _, key = case.trust.log_of(case.own.checkpoint.origin)
    shown = verify_disclosure(file, key)
    if shown.body != case.own.body or shown.index != case.own.entry.index:
        raise RefusedError("DAMAGED", f"{ef.FIELDS}: it is of entry {shown.index}, not of {case.own.entry.index}")
    case.fields = tuple((each.field, each.value) for each in shown.fields)
    return f"; the log commits to the fields shown: {', '.join(name for name, _ in case.fields)}"


def _witnesses(case: ec.Case) -> str:
    own, policy = case.own, case.trust.policy(ec.agency_of(case))
    told = f"{len(own.witnessed.names)} of {len(policy.witnesses)} have cosigned size {own.checkpoint.size}"
    if not own.witnessed.reached:
        raise _OpenError(f"{told}, {policy.quorum} are needed")
    return f"{told}, {policy.quorum} were needed: {', '.join(own.witnessed.names)}"


def _time(case: ec.Case) -> str:
    """Say between which times the entry was made."""
    own = case.own
    lower, median = log_head_detail(case), own.witnessed.median_s
    told = [lower] if lower else []
    told.append(f"logged {instant(own.entry.time_us)} by {own.member.agency}'s clock")
    if median is not None:
        if own.entry.time_us > (median + CLOCK_S) * 1_000_000:
            raise RefusedError("CLOCK_DIFFERS", f"the entry is dated after its cosignatures, {instant(median * 10**6)}")
        told.append(f"not after {instant(median * 1_000_000)}, the middle of the witnesses' times")
    return ", ".join(told)


def _text(case: ec.Case, render: Render | None) -> str:
    shown = ef.TEXT in case.core
    if case.statement is None:
        if shown:
            raise RefusedError("MALFORMED", f"{ef.TEXT}: it stands there without the statement")
        return "no text, because the statement is not shown"
    if not shown:
        raise RefusedError("MALFORMED", f"{ef.TEXT}: missing beside the statement")
    if render is None:
        raise _OpenError(f"{ef.TEXT} words the statement for people; exchange audit verify compares the two")
    signed = SignedPayload.decode(case.core[ef.STATEMENT])
    if render(signed.payload).encode() != case.core[ef.TEXT]:
        raise RefusedError("DAMAGED", f"{ef.TEXT}: it is not what the statement {_digest(case)} says")
    return f"{ef.TEXT} is the signed statement {_digest(case)} in words"


def _digest(case: ec.Case) -> str:
    return short(case.dispatch.statement_digest) if case.dispatch is not None else ""


def _compare_pages(members: Mapping[str, bytes]) -> str:
    """Make every page and help again from the core, and compare."""
    from audit.evidence_pages import make_pages

    core = ef.core_of(members)
    pages = make_pages(core)
    for name in sorted({*members, *pages} - {*core, ef.SUMS}):
        if name not in pages:
            raise RefusedError("MALFORMED", f"{name}: no member of this name belongs here")
        if name not in members:
            raise RefusedError("DAMAGED", f"{name}: missing")
    other = members[ef.EDITION] != pages[ef.EDITION]
    for name in sorted(pages):
        if members[name] != pages[name] and not (other and name in ef.WORDED):
            raise RefusedError("DAMAGED", f"{name}: not what this program makes of the proven members")
    if other:
        raise _OpenError(
            "another edition of this program worded the pages; only it can say whether they are as it made them"
        )
    return f"{len(pages)} pages and helps say what the proven members say, to the byte"
