"""``exchange node recover`` as an operator types it: each line in a process of its own, against members that run."""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from exchange.demo.world import PASSPHRASE_FILE, ROSTER_FILE
from exchange.node.config import CONFIG_FILE
from keys.roster import load_signed, roster_digest
from keys.words import words
from tests.support.running import Federation, note, running

LOST, PEER, OTHER = "HK-SB", "TH-DSI", "HK-IMMD"
KEYS = {"node.keys", "sealing.keys", "sealing.random", "tls.der", "ca.der", "operations", "application"} | {
    "root",
    "officers",
    "manifest",
    "key-sheet",
    PASSPHRASE_FILE,
}


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running(tmp_path_factory.mktemp("lost")) as made:
        yield made
    gc.collect()  # now, and not while pytest compiles a module: CPython 3.11 loses count of its recursion then


def typed(federation: Federation, *line: object) -> subprocess.CompletedProcess[str]:
    """Type a line; the passphrase stands on descriptor 0."""
    return typed_with((federation.home(LOST) / PASSPHRASE_FILE).read_text(), *line)


def typed_with(secret: str, *line: object) -> subprocess.CompletedProcess[str]:
    """Type a line with a passphrase on descriptor 0."""
    words_typed = [sys.executable, "-m", "exchange", *map(str, line)]
    return subprocess.run(
        words_typed, input=secret, capture_output=True, text=True, timeout=900, check=False
    )  # our own program


def stop_one(federation: Federation, name: str) -> None:
    nodes = federation.nodes
    [one] = [each for each in nodes._running if each.node.view.agency == name]
    nodes._running.remove(one)
    nodes._run(one.drain())


def start_one(federation: Federation, name: str) -> None:
    agency = federation.agency(name)
    nodes = federation.nodes
    nodes.add(agency)


def test_a_node_whose_home_is_gone_but_for_its_keys_is_rebuilt_by_hand(federation: Federation) -> None:
    home, folder = federation.home(LOST), federation.world.folder
    with federation.client(LOST) as ours, federation.client(PEER) as theirs:
        sent = ours.publish(note("Kept by others", PEER, OTHER, originator=LOST))
        federation.await_received(ours, sent)
        got = theirs.publish(note("To be given again", LOST, originator=PEER))
        federation.await_received(theirs, got)
    stop_one(federation, LOST)
    config = (home / CONFIG_FILE).read_text()
    for path in home.iterdir():
        if path.name not in KEYS:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    told = " ".join(words(roster_digest(load_signed(folder / ROSTER_FILE))))
    records = [part for name in (PEER, OTHER) for part in ("--record", folder / name / "manifest")]
    line = ("node", "recover", "--home", home, "--from-peers", "--passphrase-fd", "0")

    missing = typed(federation, *line)
    assert (missing.returncode, "--roster" in missing.stderr) == (2, True), missing.stderr
    line += ("--roster", folder / ROSTER_FILE, "--words", told, *records)
    asked = typed(federation, *line)
    assert asked.returncode == 0, asked.stderr
    assert f"{PEER} " in asked.stdout
    assert "ends at size" in asked.stdout

    opened = folder / "manifest-2"
    kept = home / "recovered"
    told_again = typed(federation, *line, "--json")  # either line may be repeated
    size = json.loads(told_again.stdout)["size"]
    origin = "hk-sb.exercise.example/log/1"
    seen = {"origin": origin, "size": size}
    assert (told_again.stderr, json.loads(told_again.stdout)) == (
        "",
        {
            "ok": True,
            "old_database": False,
            "new_keys": False,
            "members": [
                {"agency": OTHER, **seen, "deliveries": 1, "receipts": 0},
                {"agency": PEER, **seen, "deliveries": 1, "receipts": 1},
            ],
            "witnesses": {},
            "not_given": [],
            "stage": "gathered",
            "folder": str(kept),
            "origin": origin,
            "size": size,
            "checkpoint": str(kept / "checkpoint"),
            "manifest": str(kept / "manifest"),
        },
    )
    assert f"{origin} ends at size {size}; for whoever keeps the root: {kept / 'checkpoint'} and " in asked.stdout
    signed = typed(
        federation,
        *("keys", "make", "epoch", kept / "checkpoint", "--home", home, "--roster", folder / ROSTER_FILE),
        *("--manifest", kept / "manifest", "-o", opened, "--passphrase-fd", "0"),
    )
    assert signed.returncode == 0, signed.stderr
    assert "opens epoch 2" in signed.stdout

    wrong = typed(federation, *line, "--manifest", folder / PEER / "manifest")
    assert (wrong.returncode, "TH-DSI's, not HK-SB's" in wrong.stderr) == (6, True), wrong.stderr
    same = typed(federation, *line, "--manifest", kept / "manifest")
    assert (same.returncode, "Traceback" in same.stderr) == (2, False), same.stderr

    built = typed(federation, *line, "--manifest", opened)
    assert built.returncode == 0, built.stderr
    assert "recovered: 1 bulletins of ours, 2 deliveries, 2 receipts of peers" in built.stdout
    (home / CONFIG_FILE).write_text(config)
    again = typed(federation, *line, "--manifest", opened)
    assert (again.returncode, "nothing to do" in again.stdout) == (0, True), again.stderr
    unchanged = json.loads(typed(federation, *line, "--manifest", opened, "--json").stdout)
    assert unchanged.pop("members")
    assert unchanged == {
        "ok": True,
        "old_database": True,
        "new_keys": False,
        "witnesses": {},
        "not_given": [],
        "stage": "unchanged",
        "epoch": "hk-sb.exercise.example/log/2",
    }

    start_one(federation, LOST)
    with federation.client(LOST) as ours, federation.client(PEER) as theirs:
        federation.await_item(ours, got.bulletin_id)
        found = ours.find(sent.bulletin_id)
        assert {each.word for item in ours.outbox(found.cursor - 1) for each in item.recipients} == {"received"}
        more = ours.publish(note("And on", PEER, originator=LOST))
        federation.await_received(ours, more)
        reply = theirs.publish(note("Both ways", LOST, originator=PEER))
        federation.await_received(theirs, reply)
    stop_one(federation, LOST)

    verify = ("audit", "verify", "--json", home / "log", "--roster", folder / ROSTER_FILE)
    plain = json.loads(typed(federation, *verify).stdout)
    assert "epoch before was not checked" in plain["steps"][2]["detail"]
    linked = json.loads(typed(federation, *verify, "--manifest", opened).stdout)
    assert linked["steps"][2]["result"] == "ok"
    assert "by manifest 2 of HK-SB" in linked["steps"][2]["detail"]
    assert "restored at entry 4" in linked["verdict"]
    start_one(federation, LOST)
