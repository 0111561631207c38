"""Steps 2 to 11 of an evidence file's verification: everything but the file itself and its pages.

2 roster · 3 dispatch · 4 statement · 5 deliveries · 6 log · 7 witnesses · 8 receipts · 9 time · 10 export · 11 text.
Each step takes what those before it proved. A roster that came in the file itself vouches for nobody.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from audit.entry.names import instant
from audit.evidence import file
from audit.evidence.case import (
    Case,
    add_deliveries,
    add_dispatch,
    add_log,
    add_receipts,
    add_statement,
    agency_of,
    open_case,
)
from audit.evidence.export import add_export, log_head_detail, stamped_note
from audit.evidence.trust import Trust, check_given, read_trust
from audit.record.disclosure import parse_disclosure, verify_disclosure
from audit.verify.rfc3161 import verify_token
from audit.verify.verdict import NOT_CHECKED, OK, REFUTED, Step
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.words import words

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

NAMES = (
    *("file", "roster", "dispatch", "statement", "deliveries", "log", "witnesses", "receipts"),
    *("time", "export", "text", "pages"),
)
CLOCK_S = 300  # how far an honest node's clock may be from its witnesses'
Render = Callable[[Mapping[str, bytes]], str]
"""Makes the text for people out of a core: of its statement, or of the fields that are shown."""


class OpenError(Exception):
    """A step that could not be made; the message says why."""


@dataclass(slots=True)
class Examination:
    """What was found, step by step, and the case as far as it was proved."""

    steps: list[Step] = field(default_factory=list)
    case: Case | None = None

    @property
    def refuted(self) -> Step | None:
        """The step that failed."""
        return next((each for each in self.steps if each.result == REFUTED), None)


def examine(
    core: Mapping[str, bytes],
    *,
    given: SignedPayload | None = None,
    render: Render | None = None,
    found: Examination | None = None,
    authority: "Sequence[Certificate] | None" = None,
) -> Examination:
    """Take steps 2 to 11 over a file's core."""
    found = found or Examination()
    trust: list[Trust] = []
    take(found, 2, lambda: _roster(core, given, trust))
    if not trust:
        return found

    def opened() -> str:
        found.case = open_case(core, trust[0])
        return add_dispatch(found.case)

    take(found, 3, opened)
    case = found.case
    if case is None:
        return found
    acts: tuple[Callable[[], str], ...] = (
        lambda: add_statement(case) + _fields(case),
        lambda: add_deliveries(case),
        lambda: add_log(case),
        lambda: _witnesses(case),
        lambda: add_receipts(case),
        lambda: _time(case, authority),
        lambda: add_export(case),
        lambda: _text(case, render),
    )
    for number, act in enumerate(acts, 4):
        take(found, number, act)
    return found


def take(found: Examination, number: int, act: Callable[[], str]) -> None:
    """Take one step, unless one before it was refuted."""
    if found.refuted is not None:
        return
    try:
        found.steps.append(step(number, OK, act()))
    except RefusedError as error:
        found.steps.append(step(number, REFUTED, str(error)))
    except OpenError as error:
        found.steps.append(step(number, NOT_CHECKED, str(error)))


def step(number: int, result: str, detail: str) -> Step:
    """Make the record of a step."""
    return Step(step=number, name=NAMES[number - 1], result=result, detail=detail)


def _roster(core: Mapping[str, bytes], given: SignedPayload | None, made: list[Trust]) -> str:
    manifests = {name: data for name, data in core.items() if file.MANIFESTS.fullmatch(name)}
    trust = read_trust(file.rosters_of(core), manifests)
    count = f"{len(trust.rosters)} roster{'s' * (len(trust.rosters) > 1)}, {len(manifests)} manifests"
    try:
        which = check_given(trust, given) if given is not None else ""
    except RefusedError as error:
        if error.code != "ROSTER_UNKNOWN":
            raise
        made.append(trust)
        raise OpenError(str(error)) from error
    made.append(trust)
    if not which:
        told = " ".join(words(trust.digests[-1]))
        raise OpenError(f"the roster is the file's own; compare its words with those published: {told}")
    return f"{count}; the chain holds {which}"


def _fields(case: Case) -> str:
    """Verify the fields that are shown while the rest stays shut."""
    if file.FIELDS not in case.core:
        return ""
    disclosed = parse_disclosure(file.read_text(file.FIELDS, case.core[file.FIELDS]))
    _, key = case.trust.log_of(case.own.checkpoint.origin)
    shown = verify_disclosure(disclosed, key)
    if shown.body != case.own.body or shown.index != case.own.entry.index:
        raise RefusedError("DAMAGED", f"{file.FIELDS}: it is of entry {shown.index}, not of {case.own.entry.index}")
    case.fields = tuple((each.field, each.value) for each in shown.fields)
    return f"; the log commits to the fields shown: {', '.join(name for name, _ in case.fields)}"


def _witnesses(case: Case) -> str:
    own, policy = case.own, case.trust.policy(agency_of(case))
    told = f"{len(own.witnessed.names)} of {len(policy.witnesses)} have cosigned size {own.checkpoint.size}"
    if not own.witnessed.reached:
        raise OpenError(f"{told}, {policy.quorum} are needed")
    return f"{told}, {policy.quorum} were needed: {', '.join(own.witnessed.names)}"


def _time(case: Case, authority: "Sequence[Certificate] | None") -> str:
    """Return between which times the entry was made."""
    own = case.own
    lower, median = log_head_detail(case), own.witnessed.median_s
    told = [lower] if lower else []
    told.append(f"logged {instant(own.entry.time_us)} by {own.member.agency}'s clock")
    if median is not None:
        if own.entry.time_us > (median + CLOCK_S) * 1_000_000:
            raise RefusedError("CLOCK_DIFFERS", f"the entry is dated after its cosignatures, {instant(median * 10**6)}")
        told.append(f"not after {instant(median * 1_000_000)}, the middle of the witnesses' times")
    if file.STAMP in case.core or file.STAMPED in case.core:
        note = stamped_note(case)
        if authority is None:
            told.append(f"{file.STAMP} is unread: --tsa-ca says whom you trust to tell the time")
            raise OpenError(", ".join(told))
        stamped = verify_token(case.core[file.STAMP], note, authority, file.STAMP)
        if own.entry.time_us > stamped.time_us + CLOCK_S * 1_000_000:
            raise RefusedError("CLOCK_DIFFERS", f"the entry is dated after its time stamp, {instant(stamped.time_us)}")
        told.append(f"not after {instant(stamped.time_us)}, as {stamped.authority} stamped it")
    return ", ".join(told)


def _text(case: Case, render: Render | None) -> str:
    """Compare the words for people with what was signed."""
    shown = file.TEXT in case.core
    if case.statement is None and not case.fields:
        if shown:
            raise RefusedError("MALFORMED", f"{file.TEXT}: it stands there without statement or fields")
        return "no text, because nothing of the statement is shown"
    if not shown:
        raise RefusedError("MALFORMED", f"{file.TEXT}: missing beside what it words")
    if render is None:
        raise OpenError(f"{file.TEXT} words what was signed for people; exchange audit verify compares the two")
    if render(case.core).encode() != case.core[file.TEXT]:
        raise RefusedError("DAMAGED", f"{file.TEXT}: it is not what was signed")
    return f"{file.TEXT} words what was signed, to the letter"
