"""The numbers of a lane: each delivery's follows the one before it, so a hole shows what both sides keep silent about."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Lanes:
    """What the numbers of one agency's deliveries to another say: two lanes, urgent and routine, each from 1 on."""

    sender: str
    recipient: str
    numbers: tuple[int, int]  # the last of each lane, the larger first
    holes: int  # QUEUED entries whose number does not follow
    unnumbered: int  # QUEUED entries without a number: nothing is said about those
    unanswered: int = 0  # QUEUED entries that are one-sided, under way or lost
    epoch: int = 1  # of the sender's log: in each, lanes begin again
    cut: bool = False  # entries of this epoch are not here

    @property
    def complete(self) -> bool:
        """Return whether each lane has every number from 1 on, and an answer to each."""
        return not (self.holes or self.unnumbered or self.unanswered or self.cut)


class LaneNumbers:
    """Follows the two lanes to one peer; which is which does not matter, and no entry says."""

    def __init__(self) -> None:
        """Begin before the first."""
        self.last = [0, 0]
        self.holes = self.unnumbered = 0

    def add(self, count: int) -> None:
        """Take the number of the next QUEUED; 0 where it has none."""
        if not count:
            self.unnumbered += 1
        elif count - 1 in self.last:
            self.last[self.last.index(count - 1)] = count
        else:
            self.holes += 1
            self.last[self.last.index(max([n for n in self.last if n < count], default=min(self.last)))] = count

    def told(self, sender: str, recipient: str) -> Lanes:
        """Return what they showed."""
        larger, smaller = sorted(self.last, reverse=True)
        return Lanes(
            sender=sender,
            recipient=recipient,
            numbers=(larger, smaller),
            holes=self.holes,
            unnumbered=self.unnumbered,
        )
