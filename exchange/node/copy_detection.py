"""Who has cosigned what this run of the node has signed: all that tells a node from a live copy of it.

Two copies of one home are alike in everything, keys and lock included, until others have taken something of them. A
witness goes forward on one history alone, so at most one of two copies is cosigned by more than half of the other
members; a log's echo does not count, since a member may have taken its receipts from the one and cosigned the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from exchange.acts.node_view import NodeView


@dataclass(slots=True, kw_only=True)
class Vouching:
    """The witnesses that cosigned something of one run."""

    began: int  # size of the log before the run's first entry
    names: set[str] = field(default_factory=set)

    def add(self, witness: str, size: int) -> None:
        """Count a witness's verified cosignature of our log at *size*; one of what was there before says nothing."""
        if size > self.began:
            self.names.add(witness)

    def by_most(self, view: NodeView) -> bool:
        """Return whether more than half of the other members have vouched for this run, so that no copy is meant."""
        others = {each.witness_name for each in view.federation.roster.members if each.agency != view.agency}
        return 2 * len(self.names & others) > len(others)
