"""`exchange audit lanes` on a home whose node runs, and on the same as if it had been copied and looked at later."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.support.running import note, running, type_line

SENDER, RECIPIENT = "HK-SB", "TH-DSI"


def test_lanes_are_complete_as_of_a_fresh_head_and_not_good_two_minutes_later(tmp_path: Path) -> None:
    with running(tmp_path / "federation", (SENDER, RECIPIENT)) as federation, federation.client(SENDER) as client:
        federation.await_received(client, client.publish(note("the handover at the bridge", RECIPIENT)))
        home = str(federation.home(RECIPIENT))
        until = time.monotonic() + 30
        while (typed := type_line(["audit", "lanes", home, "--json"])).code != 0:  # the answer is published within 1 s
            assert time.monotonic() < until, typed
            time.sleep(0.2)
        rows = json.loads(typed.out)["lanes"]
        assert [row["complete"] and not row["overdue"] for row in rows] == [True] * len(rows) != []
        assert "1 to 1 answered here" in type_line(["audit", "lanes", home]).out
        later = str(datetime.fromtimestamp(max(row["head_ms"] for row in rows) / 1000 + 3650, UTC))
        typed = type_line(["audit", "lanes", home, "--now", later])
        assert typed.code == 7
        assert "complete as of" in typed.out
        assert ", and nothing newer for 60 minutes: is HK-SB connected?" in typed.out
        typed = type_line(["audit", "lanes", home, "--now", later, "--json"])
        assert typed.code == 7
        assert all(row["complete"] and row["overdue"] for row in json.loads(typed.out)["lanes"])
        assert type_line(["audit", "lanes", home, "--now", "soon"]).code == 2
