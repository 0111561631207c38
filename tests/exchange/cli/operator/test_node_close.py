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
    assert typed(federation, *line, "--close").returncode == 0, "again: nothing new, and no harm"
    started = typed(federation, "node", "serve", "--home", home, "--passphrase-fd", "0")
    assert (started.returncode, "closed this epoch of the log" in started.stderr) == (6, True), started.stderr

    kept, opened = home / "recovered", folder / "manifest-2"
    signed = typed(
        federation,
        *("keys", "make", "epoch", kept / "checkpoint", "--home", home, "--roster", folder / ROSTER_FILE),
        *("--manifest", kept / "manifest", "-o", opened, "--passphrase-fd", "0"),
    )
    assert signed.returncode == 0, signed.stderr
    built = typed(federation, *line, "--manifest", opened)
    assert built.returncode == 0, built.stderr
    assert "recovered: 0 bulletins of ours, 0 deliveries, 0 receipts of peers" in built.stdout, "nothing was lost"

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
