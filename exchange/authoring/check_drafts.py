"""Judge drafts together: each by the rules, relations by the other drafts here, complaints with their lines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from exchange.authoring.draft import Draft
from exchange.rules import Catalogue, Complaint, check_bulletin


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A draft and everything that is wrong with it."""

    draft: Draft
    complaints: tuple[Complaint, ...]


def judge(drafts: Iterable[Draft], catalogue: Catalogue) -> tuple[Judged, ...]:
    """Judge drafts in their order; a relation's target is looked up among them."""
    shown = tuple(drafts)
    targets = {one.message.header.bulletin_id: one.message for one in shown if one.message is not None}
    judged = []
    for draft in shown:
        found = draft.complaints
        if draft.message is not None:
            raw = check_bulletin(draft.message, catalogue, targets)
            found = tuple(replace(one, line=draft.line_of(one.path)) for one in raw)
        judged.append(Judged(draft=draft, complaints=found))
    return tuple(judged)
