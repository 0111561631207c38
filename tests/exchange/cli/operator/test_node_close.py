"""``exchange node recover --close`` as an operator types it: an epoch is ended in order and the next one begun."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator

import pytest

from exchange.demo.world import ROSTER_FILE
from tests.exchange.cli.operator.test_node_recover import LOST, OTHER, PEER, start_one, stop_one, typed
from tests.support.running import Federation, note, running


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running(tmp_path_factory.mktemp("closed")) as made:
        yield made
    gc.collect()  # now, and not while pytest compiles a module: CPython 3.11 loses count of its recursion then


def test_a_whole_home_closes_its_epoch_and_goes_on_in_the_next(federation: Federation) -> None:
    home, folder = federation.home(LOST), federation.world.folder
    with federation.client(LOST) as ours:
        sent = ours.publish(note("Before", PEER, OTHER, originator=LOST))
        federation.await_received(ours, sent)
    line = ("node", "recover", "--home", home, "--from-peers", "--passphrase-fd", "0")
    running_yet = typed(federation, *line, "--close")
    assert (running_yet.returncode, "is running here already" in running_yet.stderr) == (69, True), running_yet.stderr
    stop_one(federation, LOST)
    both = typed(federation, *line, "--close", "--manifest", home / "manifest")
    assert (both.returncode, both.stderr.count("Traceback")) == (2, 0), both.stderr

    closed = typed(federation, *line, "--close")
    assert closed.returncode == 0, closed.stderr
    assert "/log/1 is closed at size" in closed.stdout
    kept = home / "recovered"
    again = typed(federation, *line, "--close", "--json")
    assert again.returncode == 0, "again: nothing new, and no harm"
    size = json.loads(again.stdout)["size"]
    assert f"/log/1 is closed at size {size};" in closed.stdout
    assert (again.stderr, json.loads(again.stdout)) == (
        "",
        {
            "ok": True,
            "members": [
                {"agency": name, "origin": "hk-sb.exercise.example/log/1", "size": size, **counts}
                for name, counts in (
                    (OTHER, {"deliveries": 1, "receipts": 0}),
                    (PEER, {"deliveries": 1, "receipts": 0}),
                )
            ],
            "witnesses": {},
            "origin": "hk-sb.exercise.example/log/1",
            "size": size,
            "checkpoint": str(kept / "checkpoint"),
            "manifest": str(kept / "manifest"),
            "stage": "closed",
        },
    )
    started = typed(federation, "node", "serve", "--home", home, "--passphrase-fd", "0")
    assert (started.returncode, "closed this epoch of the log" in started.stderr) == (6, True), started.stderr

    opened = folder / "manifest-2"
    signed = typed(
        federation,
        *("keys", "make", "epoch", kept / "checkpoint", "--home", home, "--roster", folder / ROSTER_FILE),
        *("--manifest", kept / "manifest", "-o", opened, "--passphrase-fd", "0"),
    )
    assert signed.returncode == 0, signed.stderr
    built = typed(federation, *line, "--manifest", opened, "--json")
    assert (built.returncode, built.stderr) == (0, ""), built.stderr
    done = json.loads(built.stdout)
    assert [each["agency"] for each in done.pop("members")] == [OTHER, PEER]
    assert done == {
        "ok": True,
        "old_database": True,
        "new_keys": False,
        "not_given": [],
        "witnesses": {},
        "stage": "recovered",
        "epoch": "hk-sb.exercise.example/log/2",
        "settings_written": False,
        "bulletins": 0,  # nothing was lost
        "deliveries": 0,
        "receipts": 0,
        "own_receipts": 0,
        "queued_again": 0,
        "before": str(home / "before-epoch-2"),
    }

    verify = ("audit", "verify", "--json", "--roster", folder / ROSTER_FILE)
    before = typed(federation, *verify, home / "before-epoch-2/log")
    told = json.loads(before.stdout)
    assert before.returncode == 0, told
    assert told["verdict"] == f"verified, witnessed to {told['size']}"
    assert "closed in order by entry" in told["steps"][7]["detail"]
    start_one(federation, LOST)
    with federation.client(LOST) as ours:
        more = ours.publish(note("After", PEER, originator=LOST))
        federation.await_received(ours, more)
