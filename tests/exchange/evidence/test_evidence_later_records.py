"""What is adopted after a bulletin was accepted changes nothing of the evidence for it, before or after."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path

import pytest

from audit.evidence import file
from audit.evidence.verify import verify_evidence
from audit.evidence.zip import read_archive
from exchange.acts.directory import RecordKind
from exchange.client import Published
from exchange.demo.world import PASSPHRASE_FILE
from exchange.node.home import open_node
from keys import dsse
from keys.durations import DAY_MS
from keys.identity import AgencyId
from keys.key_files import load_root
from tests.support.running import Federation, note, running, type_line
from tests.support.scale import SCALE

SENDER, RECIPIENT, OTHER = "HK-SB", "TH-DSI", "HK-IMMD"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Federation, Published]:
    """Homes whose nodes have stopped in order: their last checkpoints are cosigned."""
    with running(tmp_path_factory.mktemp("stopped")) as federation, federation.client(SENDER) as client:
        published = client.publish(note("the handover at the bridge", RECIPIENT, OTHER))
        federation.await_received(client, published)
    return federation, published


def evidence(federation: Federation, home: str, published: Published, path: Path) -> dict[str, bytes]:
    words = ["audit", "evidence", published.bulletin_id, "--purpose", "court", "-o", str(path)]
    assert type_line([*words, "--without-content", "--home", str(federation.home(home))]).code == 0
    return read_archive(path.read_bytes())


def passphrase_of(federation: Federation, agency: str) -> bytes:
    return (federation.home(agency) / PASSPHRASE_FILE).read_bytes().strip()


def adopt_at_random(federation: Federation, home: str, maker: str, version: int, dice: random.Random) -> None:
    """Adopt a manifest of *maker* in a home: people come and go, and keys hold from another day on."""
    node, _ = open_node(federation.home(home), passphrase_of(federation, home))
    node.open()
    try:
        known = node.view.federation.manifests[AgencyId(maker)].record
        now_ms = time.time_ns() // 1_000_000
        made = replace(
            known,
            version=version,
            issued_ms=now_ms - 1,
            expires_ms=now_ms + dice.randrange(10, 300) * DAY_MS,
            officers=tuple(each for each in known.officers if dice.random() < 0.3),
            operations_keys=tuple(replace(each, from_ms=now_ms - 1) for each in known.operations_keys),
        )
        root = load_root(federation.home(maker), passphrase_of(federation, maker)).root
        node.adopt_now(RecordKind.MANIFEST, dsse.sign(made.encode(), ("manifest", root)))
    finally:
        node.stop()


@pytest.mark.parametrize("home", [SENDER, RECIPIENT])
def test_evidence_made_before_and_after_later_manifests_has_the_same_records_and_verdict(
    home: str, stopped: tuple[Federation, Published], tmp_path: Path
) -> None:
    federation, published = stopped
    dice = random.Random(home)
    before = evidence(federation, home, published, tmp_path / "0.zip")
    assert f"manifests/{SENDER}-1.signed" in before
    first = verify_evidence((tmp_path / "0.zip").read_bytes())
    for number in range(2, 4 + SCALE):
        adopt_at_random(federation, home, SENDER, number, dice)
        after = evidence(federation, home, published, tmp_path / f"{number}.zip")
        records = [
            {n: d for n, d in each.items() if n.startswith(("manifests/", "rosters/"))} for each in (before, after)
        ]
        assert records[0] == records[1]
        for name in ("0", str(number)):
            again = verify_evidence((tmp_path / f"{name}.zip").read_bytes())
            assert (again.exit_code, [step.result for step in again.steps]) == (
                first.exit_code,
                [step.result for step in first.steps],
            )
    assert file.DISPATCH in before
