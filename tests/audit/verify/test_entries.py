"""Where one run of entries, or a part of it, ends and the next begins, the log is checked as anywhere else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from audit.entry.entry import Body, Kind, leaf_hash
from audit.verify.entries import verify_entries
from audit.verify.entry_run import AT_ONCE, BODIES_STEP, ENTRIES_STEP, RUN_BUNDLES
from keys.signer import Ed25519Signer
from tests.audit.forge import chain, sign, write_log
from tests.audit.store import digest, first_bodies

SEAM = RUN_BUNDLES * 256  # index of the first entry of the second run
SIZE = SEAM + 100  # enough there to be looked at together
PUBLISHED, BEAT = 4, 5  # indices


def bodies(*targets: int) -> list[Body]:
    """Return a log's bodies; after the seam each of *targets* is referred to by a QUEUED."""
    made = [*first_bodies(), Body(kind=Kind.PUBLISHED, **sent(0, "dispatch_digest", "statement_digest"))]
    made += [Body(kind=Kind.HEARTBEAT)] * (SEAM + 1 - len(made))
    for number, target in enumerate(targets, 1):
        lane = sent(number, "dispatch_digest", "delivery_digest")
        made.append(Body(kind=Kind.QUEUED, peer=2, refers_to=target, **lane))
    return made + [Body(kind=Kind.HEARTBEAT)] * (SIZE - len(made))


def sent(number: int, *names: str) -> dict[str, bytes]:
    return {"bulletin_id": digest(number)[:16], **{name: digest(number, at) for at, name in enumerate(names)}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """Writes logs of SIZE entries."""

    folder: Path
    signer: Ed25519Signer

    def write(self, entries: list[bytes]) -> Path:
        return write_log(self.folder, entries, sign(entries, self.signer))


@pytest.fixture
def logs(tmp_path: Path, signer: Ed25519Signer) -> Logs:
    return Logs(folder=tmp_path / "log", signer=signer)


def test_references_into_an_earlier_run_must_lead_to_the_right_kind_and_the_first_that_does_not_is_told(
    logs: Logs,
) -> None:
    good = logs.write(chain(bodies(*[PUBLISHED] * 20)))
    assert verify_entries(good, SIZE).findings == []
    bad = logs.write(chain(bodies(*[PUBLISHED] * 10, BEAT, PUBLISHED, 3, *[PUBLISHED] * 7)))
    told = verify_entries(bad, SIZE).findings
    assert told == [(BODIES_STEP, SEAM + 11, f"QUEUED refers to entry {BEAT}, which is HEARTBEAT")]


@pytest.mark.parametrize("at", [SEAM, AT_ONCE * 256], ids=["run", "part of a run"])
@pytest.mark.parametrize(
    ("offset", "words"), [(12, "its time is before"), (20, "its link is not")], ids=["time", "link"]
)
def test_an_odd_head_at_a_beginning_is_found(offset: int, words: str, at: int, logs: Logs) -> None:
    """Tiles, root and signature are made for what is there, and what follows is chained to it."""
    entries = chain(bodies())
    length = 8 if offset == 12 else 32
    bad = [*entries[:at], entries[at][:offset] + bytes(length) + entries[at][offset + length :]]
    for entry in entries[at + 1 :]:
        bad.append(entry[:20] + leaf_hash(bad[-1]) + entry[52:])
    found = verify_entries(logs.write(bad), SIZE).findings
    assert [(finding.step, finding.entry) for finding in found] == [(ENTRIES_STEP, at)]
    assert words in found[0].message
