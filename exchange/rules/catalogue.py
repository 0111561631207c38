"""The catalogue: who is a member, who may say what to whom, and which codes are known.

It is data, named by digest in the roster, so a node keeps several and judges each bulletin by its own. Everything is
parsed once into plain look-ups; nothing here reads a file but :func:`packaged_catalogue`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from keys.errors import RefusedError

FILES = ("agencies.yaml", "codelists.yaml", "places.yaml", "policy.yaml", "states.yaml")
ALL = "all"  # in a policy row: every member


@dataclass(frozen=True, slots=True, kw_only=True)
class Agency:
    """One row of the directory. *name* is a label for this node's own screens and never travels."""

    type: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KindPolicy:
    """One kind's row: agency types that may issue and receive it, and what a template starts with."""

    code: str  # three letters, as in header.number
    issue: frozenset[str]
    receive: frozenset[str]
    tlp: str
    classification: str
    retention: str
    urgency: str
    personal: bool
    max_days: int | None  # longest life of a lookout
    same_originator: bool  # only the target's originator may issue it


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceCode:
    """Where a P-code lies: ISO 3166-1 country and ISO 3166-2 subdivision ("" where the gazetteer has none)."""

    country: str
    subdivision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """A parsed catalogue; *files* are the bytes that its digest counts."""

    files: Mapping[str, bytes]
    agencies: Mapping[str, Agency]
    kinds: Mapping[str, KindPolicy]  # by body key
    never_receive: Mapping[str, frozenset[str]]  # agency type -> kinds
    deadline_hours: Mapping[str, int]  # by urgency word; the clock starts at receipt
    codes: Mapping[str, frozenset[str]]  # open code lists
    places: Mapping[str, PlaceCode]  # by P-code
    levels: Mapping[str, tuple[str, ...]]  # travel-alert schemes, lowest level first
    ratings: Mapping[str, tuple[str, ...]]
    first_states: frozenset[str]
    steps: Mapping[str, frozenset[str]]  # case state -> states that may follow
    schema_minor: int

    def type_of(self, agency: str) -> str | None:
        """Return an agency's type, or None for a stranger."""
        row = self.agencies.get(agency)
        return row.type if row else None

    def may_issue(self, kind: str, agency_type: str) -> bool:
        """Return whether agencies of this type may issue this kind."""
        allowed = self.kinds[kind].issue
        return ALL in allowed or agency_type in allowed

    def may_receive(self, kind: str, agency_type: str) -> bool:
        """Return whether agencies of this type may receive this kind; purpose limitation overrides the list."""
        if kind in self.never_receive.get(agency_type, ()):
            return False
        allowed = self.kinds[kind].receive
        return ALL in allowed or agency_type in allowed


def parse_catalogue(files: Mapping[str, bytes]) -> Catalogue:
    """Parse a catalogue from its files by name.

    Raises:
        RefusedError: MALFORMED, where a file is missing or has another shape than the packaged one.
    """
    try:
        # BaseLoader makes nothing but text, lists and mappings.
        read = {name: yaml.load(files[name], Loader=yaml.BaseLoader) for name in FILES}  # noqa: S506 - BaseLoader makes plain strings only
        return _assemble(dict(files), read)
    except (yaml.YAMLError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise RefusedError("MALFORMED", f"catalogue: {type(error).__name__} while reading it") from error


@cache
def packaged_catalogue() -> Catalogue:
    """Load the catalogue that comes with the program."""
    folder = resources.files("exchange") / "catalogue"
    return parse_catalogue({name: (folder / name).read_bytes() for name in FILES})


def _assemble(files: Mapping[str, bytes], read: Mapping[str, Any]) -> Catalogue:
    policy, states = read["policy.yaml"], read["states.yaml"]
    agencies = read["agencies.yaml"].items()
    return Catalogue(
        files=files,
        agencies={code: Agency(type=row["type"], name=row["name"]) for code, row in agencies},
        kinds={kind: _kind_policy(row) for kind, row in policy["kinds"].items()},
        never_receive={agency: frozenset(kinds) for agency, kinds in policy["never_receive"].items()},
        deadline_hours={urgency: int(hours) for urgency, hours in policy["deadlines_hours"].items()},
        codes={name: frozenset(codes) for name, codes in read["codelists.yaml"].items()},
        places={
            row["pcode"]: PlaceCode(country=row["country"], subdivision=row.get("iso", ""))
            for row in read["places.yaml"].values()
            if "pcode" in row
        },
        levels={scheme: tuple(levels) for scheme, levels in policy["levels"].items()},
        ratings={scheme: tuple(codes) for scheme, codes in policy["ratings"].items()},
        first_states=frozenset(states["first"]),
        steps={state: frozenset(following) for state, following in states["allowed"].items()},
        schema_minor=int(policy["schema_minor"]),
    )


def _kind_policy(row: Mapping[str, Any]) -> KindPolicy:
    return KindPolicy(
        code=row["code"],
        issue=frozenset(row["issue"]),
        receive=frozenset(row["receive"]),
        tlp=row["tlp"],
        classification=row["classification"],
        retention=row["retention"],
        urgency=row["urgency"],
        personal=row["personal"] == "true",
        max_days=int(row["max_days"]) if "max_days" in row else None,
        same_originator=row.get("same_originator") == "true",
    )
