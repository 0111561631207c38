"""How often the collector looks for garbage in a process that is one node."""

from __future__ import annotations

import gc

# New objects before a look, and looks before the older ones are looked at too. Python's 700 meant a look every twenty
# bulletins, which found nothing: what an act makes goes with its last reference. Cycles come from ended calls and
# streams alone, so ten thousand objects, a few MiB, are the most that waits.
THRESHOLDS = (10_000, 5, 5)


def collect_rarely() -> None:
    """Leave what was made so far out of every collection, and collect less often; once, when everything is loaded."""
    gc.freeze()  # what a node begins with it keeps
    gc.set_threshold(*THRESHOLDS)
