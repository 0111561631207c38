"""The rules of a bulletin, in three layers, usable wherever a bulletin is judged: authoring, publishing, intake.

S is the schema (``schema``), R characters, codes and references (``registry``), P policy (``policy``). One walk judges
S and R; it is generated from the schema and the tables of R. No clock, node
or roster is read: only the bulletin, a catalogue, and the bulletins it relates to as far as they are here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from exchange.rules.catalogue import Catalogue, packaged_catalogue, parse_catalogue
from exchange.rules.complaint import WHOLE, Complaint, RulesError
from exchange.rules.findings import EnoughError, Findings
from exchange.rules.policy import check_policy
from exchange.rules.walk import check_bulletin as walk
from exchange.v1.bulletin_pb2 import Bulletin

__all__ = [
    "WHOLE",
    "Catalogue",
    "Complaint",
    "RulesError",
    "check_bulletin",
    "findings_of",
    "packaged_catalogue",
    "parse_catalogue",
    "refusing",
]


_NO_TARGETS: dict[str, Bulletin] = {}


def check_bulletin(
    bulletin: Bulletin, catalogue: Catalogue, targets: Mapping[str, Bulletin] = _NO_TARGETS
) -> tuple[Complaint, ...]:
    """Judge a bulletin by a catalogue.

    Args:
        bulletin: Parsed; its text is NFC.
        catalogue: The one of the roster that its statement names; the packaged one for a draft.
        targets: Bulletins by bulletin_id that header.relations may name; only those here.

    Returns:
        Complaints of S alone, or those of R and P together; none if the bulletin is right.
    """
    found = findings_of(bulletin, catalogue)
    if found.schema:
        return found.complaints()
    return (*found.complaints(), *check_policy(bulletin, catalogue, targets))


def findings_of(bulletin: Bulletin, catalogue: Catalogue) -> Findings:
    """Walk over a bulletin by layers S and R."""
    found = Findings(catalogue)
    try:
        walk(bulletin, found, None)
    except EnoughError:  # nobody gets to see more
        return found
    return found


def refusing(complaints: Iterable[Complaint], *, newer_minor: bool) -> tuple[Complaint, ...]:
    """Pick the complaints that refuse a bulletin at intake.

    Where the catalogue names a newer schema than ours, an unknown enum value, body or code is shown, not refused.
    """
    return tuple(one for one in complaints if not (newer_minor and _may_be_newer(one)))


def _may_be_newer(complaint: Complaint) -> bool:
    if complaint.code == "S-required":
        return complaint.path == "body"
    return complaint.code in ("S-enum.defined_only", "R-CODE")
