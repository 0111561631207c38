"""What ends, when, and what helps: counted in days for status, checks, metrics, and officers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keys.durations import DAY_MS
from keys.federation import Federation
from keys.identity import AgencyId
from keys.key_sheet import KeySheet

STEPS = (90, 30, 7)  # days before its end at which people are told, each time more plainly
_ASK = "your operator runs exchange node renewal-request"  # and the answer renews officers' keys too
_HELP = {
    "roster": "the federation signs a new roster",
    "manifest": _ASK,
    "certificate": _ASK,
    "windows": "your operator looks at exchange node check: the node makes them by itself",
    "key": _ASK,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """One thing that ends."""

    what: str  # roster, manifest, certificate, windows, key
    whose: str  # the federation's name, AGENCY or AGENCY/id
    ends_ms: int  # milliseconds UTC
    first: int = STEPS[0]  # days before its end at which the countdown begins

    def days(self, now_ms: int) -> int:
        """Return the whole days that are left; negative once it has ended."""
        return (self.ends_ms - now_ms) // DAY_MS

    def step(self, now_ms: int) -> int | None:
        """Return at which step of the countdown it is: 90, 30, 7, or 0 after its end; None before."""
        days = self.days(now_ms)
        if days < 0:
            return 0
        reached = [each for each in STEPS if days < each <= self.first]
        return min(reached, default=None)

    @property
    def by_root(self) -> bool:
        """Whether the agency's root renews it."""
        return self.what in ("manifest", "certificate", "key")

    def to_json(self, now_ms: int) -> dict[str, Any]:
        """Build it for programs."""
        return {"what": self.what, "whose": self.whose, "ends_ms": self.ends_ms, "days": self.days(now_ms)}

    @property
    def cure(self) -> str:
        """What helps."""
        return _HELP[self.what]

    def told(self, now_ms: int) -> str:
        """Say when it ends."""
        days, several = self.days(now_ms), self.what == "windows"
        name = "encryption windows" if several else self.what
        if days < 0:
            return f"{self.whose}'s {name} ended {-days} {'day' if days == -1 else 'days'} ago"
        when = f"in {days} days" if days > 1 else "tomorrow" if days else "today"
        return f"{self.whose}'s {name} {'end' if several else 'ends'} {when}"

    def line(self, now_ms: int) -> str:
        """Say it in one line, with what helps."""
        return f"{self.told(now_ms)}; {self.cure}"


def deadlines(
    federation: Federation, agency: AgencyId, leaf_ends_ms: int | None, sheet: KeySheet | None = None
) -> list[Deadline]:
    """Return what ends for an agency's node, the soonest first.

    Args:
        federation: What is adopted.
        agency: Ours.
        leaf_ends_ms: The end of the node's certificate; None where it is not known here.
        sheet: Our key sheet, where it is not among what is adopted.
    """
    manifest, adopted = federation.manifests.get(agency), federation.key_sheets.get(agency)
    sheet = adopted.record if adopted is not None else sheet
    found = [Deadline(what="roster", whose=federation.name, ends_ms=federation.roster.expires_ms)]
    if manifest is not None:
        found.append(Deadline(what="manifest", whose=agency, ends_ms=manifest.record.expires_ms))
        renews = bool(manifest.record.issuing)
        if leaf_ends_ms is not None:
            # The node renews what its issuing key can, 30 days ahead; only what is nearer is a person's.
            first = STEPS[-1] if renews else STEPS[0]
            found.append(Deadline(what="certificate", whose=agency, ends_ms=leaf_ends_ms, first=first))
    if sheet is not None and sheet.encryption_keys:
        last = max(each.until_ms for each in sheet.encryption_keys)
        found.append(Deadline(what="windows", whose=agency, ends_ms=last, first=STEPS[-1]))
    return sorted(found, key=lambda each: each.ends_ms)


def own_deadlines(federation: Federation, agency: AgencyId, officer: str, leaf_ends_ms: int) -> list[Deadline]:
    """Return what ends for an officer or a system themselves: their key and their certificate, the sooner first."""
    manifest, owner = federation.manifests.get(agency), f"{agency}/{officer}"
    found = [Deadline(what="certificate", whose=owner, ends_ms=leaf_ends_ms)]
    person = manifest.record.officers_by_id.get(officer) if manifest is not None else None
    if person is not None:
        found.append(Deadline(what="key", whose=owner, ends_ms=person.until_ms))
    return sorted(found, key=lambda each: each.ends_ms)


def warned(found: list[Deadline], now_ms: int) -> list[Deadline]:
    """Return what is in its countdown."""
    return [each for each in found if each.step(now_ms) is not None]
