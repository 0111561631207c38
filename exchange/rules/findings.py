"""What the walk over one bulletin reports to, and what it may look at besides the field it stands at.

Layers S and R are walked together. What R finds counts only if S has nothing to say, so it may rely on S wherever it
stands. Neither keeps more than ``MOST`` complaints: nobody reads more, and a peer must not make us write them.
"""

from __future__ import annotations

from exchange.rules import codes
from exchange.rules.catalogue import Catalogue
from exchange.rules.complaint import MOST, Complaint, Fault
from exchange.rules.schema import silenced, worded

At = tuple["At", str, int | None] | None  # the message around, the field's name in it, the index in a list


class EnoughError(Exception):
    """As many complaints of the schema as anybody gets to see; the walk ends."""


class Findings:
    """The complaints of one walk."""

    __slots__ = ("agencies", "catalogue", "countries", "objects", "registry", "schema", "travel_countries")

    def __init__(self, catalogue: Catalogue) -> None:
        self.objects = frozenset[str]()  # ids that the bulletin defines
        self.catalogue = catalogue
        self.agencies = catalogue.agencies
        self.countries = codes.countries()
        self.travel_countries = codes.travel_countries()
        self.schema: list[Complaint] = []
        self.registry: list[Complaint] = []

    def each_once(self, ids: list[str]) -> bool:
        """Take the ids that the bulletin defines; return whether none stands twice."""
        self.objects = frozenset(ids)
        return len(self.objects) == len(ids)

    def stated(self, at: At, name: str | None, index: int | None, rule: tuple[str, str]) -> None:
        """Note that a rule of the schema (its id, its words) is broken: of a field, or of the message where no name."""
        path, names = _path(at, name, index)
        self.schema.append(worded(*rule, path, names))
        if len(self.schema) == MOST:
            raise EnoughError

    def fault(self, at: At, name: str, index: int | None, fault: Fault) -> None:
        """Note what layer R finds in a field."""
        if len(self.registry) < MOST and not self.schema:
            code, sentence, hint = fault
            self.registry.append(Complaint(code=code, path=_path(at, name, index)[0], message=sentence, hint=hint))

    def complaints(self) -> tuple[Complaint, ...]:
        """Return the complaints of S, or else those of R."""
        return silenced(self.schema) if self.schema else tuple(self.registry)


def _path(at: At, name: str | None, index: int | None) -> tuple[str, list[str]]:
    """Write a path as officers do, ``persons[0].label``, and list the names of its fields."""
    steps: list[tuple[str, int | None]] = [] if name is None else [(name, index)]
    while at is not None:
        steps.append(at[1:])
        at = at[0]
    steps.reverse()
    words = [name if index is None else f"{name}[{index}]" for name, index in steps]
    return ".".join(words), [name for name, _ in steps]
