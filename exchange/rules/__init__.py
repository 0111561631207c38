"""The rules of a bulletin, in three layers, usable wherever a bulletin is judged: authoring, publishing, intake.

S is the schema (``schema``), R characters, codes and references (``registry``), P policy (``policy``). No clock, node
or roster is read: only the bulletin, a catalogue, and the bulletins it relates to as far as they are at hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from exchange.rules.catalogue import Catalogue, packaged_catalogue, parse_catalogue
from exchange.rules.complaint import WHOLE, Complaint
from exchange.rules.policy import check_policy
from exchange.rules.quick import is_right
from exchange.rules.registry import check_registry
from exchange.rules.schema import check_schema
from exchange.v1.bulletin_pb2 import Bulletin
from keys.errors import RefusedError

__all__ = [
    "WHOLE",
    "Catalogue",
    "Complaint",
    "RulesError",
    "check_bulletin",
    "packaged_catalogue",
    "parse_catalogue",
    "refusing",
]


class RulesError(RefusedError):
    """The bulletin breaks a rule; the complaints say which, the message names only codes and fields."""

    def __init__(self, complaints: tuple[Complaint, ...]) -> None:
        named = ", ".join(f"{one.code} {one.path}" for one in complaints[:5])
        super().__init__("RULES", f"{len(complaints)} complaints: {named}")
        self.complaints = complaints


_NO_TARGETS: dict[str, Bulletin] = {}


def check_bulletin(
    bulletin: Bulletin, catalogue: Catalogue, targets: Mapping[str, Bulletin] = _NO_TARGETS
) -> tuple[Complaint, ...]:
    """Judge a bulletin by a catalogue.

    Args:
        bulletin: Parsed; its text is NFC.
        catalogue: The one of the roster that its statement names; the packaged one for a draft.
        targets: Bulletins by bulletin_id that header.relations may name; only those at hand.

    Returns:
        Complaints of S alone, or those of R and P together; none if the bulletin is right.
    """
    found: tuple[Complaint, ...] = ()
    if not is_right(bulletin, catalogue):  # the usual case is right, and knowing that is all it takes
        found = check_schema(bulletin)
        if found:
            return found
        found = check_registry(bulletin, catalogue)
    return found + check_policy(bulletin, catalogue, targets)


def refusing(complaints: Iterable[Complaint], *, newer_minor: bool) -> tuple[Complaint, ...]:
    """Pick the complaints that refuse a bulletin at intake.

    Where the catalogue names a newer schema than ours, an unknown enum value, body or code is shown, not refused.
    """
    return tuple(one for one in complaints if not (newer_minor and _may_be_newer(one)))


def _may_be_newer(complaint: Complaint) -> bool:
    if complaint.code == "S-required":
        return complaint.path == "body"
    return complaint.code in ("S-enum.defined_only", "R-CODE")
