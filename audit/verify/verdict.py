"""What a verification found: numbered steps, each with its result, under one verdict.

A step is ``ok``, ``refuted`` or ``not checked``; what follows a refuted step is not checked. A report is verified only
where no step is refuted and none that was asked for was left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from audit.note.checkpoint import Checkpoint
from audit.verify.entry_run import Finding
from audit.verify.witnesses import WITNESS_NAME
from keys.refusals import Exit

OK, REFUTED, NOT_CHECKED = "ok", "refuted", "not checked"
NAMES = ("key", "checkpoint", "entries", "tiles", "root", "bodies", "outside", "rules")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The result of one step."""

    step: int
    name: str
    result: str
    detail: str
    asked: bool = True  # False: not checked because nobody gave what it needs, and a log is verified without it, too


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a verification found."""

    verdict: str
    origin: str | None
    size: int | None
    root: bytes | None
    steps: tuple[Step, ...]
    anchored: int | None = None  # size of the newest outside or cosigned checkpoint that the log agrees with
    witnessed: int | None = None  # size of the newest checkpoint that the witnesses' quorum has cosigned

    @property
    def exit_code(self) -> int:
        """Return 0 verified, 6 refuted, 7 something was not checked."""
        results = {step.result for step in self.steps if step.asked}
        if REFUTED in results:
            return Exit.UNVERIFIED
        return Exit.INCOMPLETE if NOT_CHECKED in results else Exit.DONE

    @property
    def is_refuted(self) -> bool:
        """Return whether something speaks against what was verified."""
        return self.exit_code == Exit.UNVERIFIED


class LogRefutedError(Exception):
    """Ends a verification: what was found against the log."""

    def __init__(self, *findings: Finding) -> None:
        super().__init__(findings[0].message)
        self.findings = findings


@dataclass(slots=True)
class Steps:
    """Collects the results of the steps in order."""

    done: dict[int, Step] = field(default_factory=dict)

    def put(self, number: int, result: str, detail: str) -> None:
        """Record how step *number* ended: ``OK``, ``REFUTED`` or ``NOT_CHECKED``, and why."""
        self.done[number] = Step(step=number, name=(*NAMES, WITNESS_NAME)[number - 1], result=result, detail=detail)

    def leave(self, number: int, detail: str) -> None:
        """Record that step *number* was not asked for, and what to give so that it is made."""
        self.put(number, NOT_CHECKED, detail)
        self.done[number] = replace(self.done[number], asked=False)

    def all(self) -> tuple[Step, ...]:
        """Return every step; those that nobody came to are not checked."""
        for number in range(1, len(NAMES) + 2):
            if number not in self.done:
                self.put(number, NOT_CHECKED, "the log was refuted before")
        return tuple(self.done[number] for number in sorted(self.done))


def report_of(
    steps: Steps,
    checkpoint: Checkpoint | None,
    anchored: int | None,
    witnessed: int | None,
    findings: Sequence[Finding],
    break_seen: str = "",
) -> Report:
    """Put the steps under one verdict.

    Args:
        steps: What every step said.
        checkpoint: The log's, words_of it was read.
        anchored: Size of the newest outside or cosigned checkpoint that the log agrees with.
        witnessed: Size of the newest checkpoint that the quorum has cosigned.
        findings: What refutes the log; the earliest entry's gives the verdict.
        break_seen: Added to a verdict that is no refutation: ``audit.note.epochs.scar``.
    """
    verdict = "verified" if anchored is not None else "verified, end not anchored"
    if witnessed is not None:
        verdict = f"verified, witnessed to {witnessed}"
    verdict += break_seen
    if findings:
        first = min(findings, key=lambda f: (f.entry is None, f.entry or 0, f.step))
        verdict = f"refuted {words_of(first)}" if first.entry is not None else f"refuted: {first.message}"
    return Report(
        verdict=verdict,
        origin=checkpoint.origin if checkpoint else None,
        size=checkpoint.size if checkpoint else None,
        root=checkpoint.root if checkpoint else None,
        steps=steps.all(),
        anchored=anchored,
        witnessed=witnessed,
    )


def words_of(finding: Finding) -> str:
    """Return a finding in words, after the entry that it is about."""
    return finding.message if finding.entry is None else f"at entry {finding.entry}: {finding.message}"
