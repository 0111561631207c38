"""A disk is lost; a backup, the members and the root bring the node back: each line as the guide has it."""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from exchange.client import Opened
from exchange.demo.world import PASSPHRASE_FILE, ROSTER_FILE
from keys.errors import RefusedError
from keys.key_files import load_node
from tests.exchange.cli.operator.test_node_recover import stop_one, typed, typed_with
from tests.support.home_files import DATABASE, LOCK
from tests.support.running import Federation, note, running

LOST, PEER, OTHER = "HK-SB", "TH-DSI", "HK-IMMD"


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running(tmp_path_factory.mktemp("disk")) as made:
        yield made
    gc.collect()


def killed_after(seconds: float, secret: str, *line: object) -> None:
    """Type a line, and kill what runs it, as a power cut would."""
    process = subprocess.Popen(
        [sys.executable, "-m", "exchange", *map(str, line)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(secret)
    process.stdin.close()
    time.sleep(seconds)
    process.kill()
    process.wait()


def until_read(read: Callable[[], Opened]) -> object:
    """Read a bulletin once its content has come back."""
    deadline = time.monotonic() + 180
    while True:
        try:
            return read().bulletin
        except RefusedError as refusal:
            if refusal.code != "KEY_GONE" or time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def test_backup_lost_disk_and_recover_end_with_a_node_that_publishes(federation: Federation, tmp_path: Path) -> None:
    home, folder, safe = federation.home(LOST), federation.world.folder, tmp_path / "safe"
    file = tmp_path / "hk.backup"
    with federation.client(LOST) as ours, federation.client(PEER) as theirs:
        early = ours.publish(note("Before the backup", PEER, OTHER, originator=LOST))
        federation.await_received(ours, early)
        first = theirs.publish(note("To us, before", LOST, originator=PEER))
        federation.await_received(theirs, first)
        made = typed(federation, "node", "backup", "--home", home, "-o", file, "--passphrase-fd", "0")
        assert made.returncode == 0, made.stderr
        late = ours.publish(note("After it", PEER, originator=LOST))
        federation.await_received(ours, late)
        second = theirs.publish(note("To us, after it", LOST, originator=PEER))
        federation.await_received(theirs, second)
    stop_one(federation, LOST)
    secret = (home / PASSPHRASE_FILE).read_text()
    # What lies elsewhere: the root in a safe, people's keys on their laptops. The disk itself is gone.
    safe.mkdir()
    for name in ("root", "officers"):
        shutil.copytree(home / name, safe / name)
    for name in ("application", "ca.der"):
        shutil.copyfile(home / name, safe / name)
    shutil.rmtree(home)

    def type_(*line: object) -> tuple[int, str, str]:
        ended = typed_with(secret, *line)
        return ended.returncode, ended.stdout, ended.stderr

    restored = type_("node", "restore", file, "--home", home, "--passphrase-fd", "0")
    assert restored[0] == 0, restored[2]
    assert f"next: exchange node recover --home {home} --from-peers" in restored[2]
    assert (home / DATABASE).exists()
    assert not (home / LOCK).exists()
    served = type_("node", "serve", "--home", home, "--alone", "--passphrase-fd", "0")
    assert (served[0], "is a restored backup" in served[2]) == (6, True), served[2]
    assert f"exchange node recover --home {home} --from-peers" in served[2]
    checked = type_("node", "check", "--home", home, "--passphrase-fd", "0")
    assert (checked[0], "FAIL  home" in checked[1]) == (6, True), checked[1]

    line = ("node", "recover", "--home", home, "--from-peers", "--passphrase-fd", "0")
    asked = type_(*line, "--json")
    assert asked[0] == 0, asked[2]
    told = json.loads(asked[1])
    assert (told["old_database"], told["new_keys"], told["stage"]) == (True, True, "gathered")
    assert told["not_given"] == []
    kept, opened = home / "recovered", tmp_path / "manifest-2"
    signed = type_(
        *("keys", "make", "epoch", kept / "checkpoint", "--home", safe, "--roster", folder / ROSTER_FILE),
        *("--manifest", kept / "manifest", "-o", opened, "--passphrase-fd", "0"),
    )
    assert signed[0] == 0, signed[2]
    for wait in (0.5, 0.9, 1.2, 1.5, 1.8):
        killed_after(wait, secret, *line, "--manifest", opened)
    built = type_(*line, "--manifest", opened)
    assert built[0] == 0, built[2]
    places = ("recovered: 1 bulletins of ours", "the new epoch is in place", "nothing to do")
    assert any(each in built[1] for each in places), built[1]
    again = type_(*line, "--manifest", opened)
    assert (again[0], "nothing to do" in again[1]) == (0, True), again[2]
    for person in (safe / "officers").iterdir():
        shutil.copyfile(person / "officer.keys", home / "officers" / person.name / "officer.keys")
        (home / "officers" / person.name / "officer.keys").chmod(0o600)

    keys = load_node(home, secret.strip().encode())
    federation.nodes.add(replace(federation.agency(LOST), node_keys=keys))
    with federation.client(LOST) as ours, federation.client(PEER) as theirs:
        for sent, text in ((early, "Before the backup"), (late, "After it")):
            assert text in str(
                until_read(lambda sent=sent: ours.read(ours.find(sent.bulletin_id), case="C-1", because="x"))
            )
        for got, text in ((first, "To us, before"), (second, "To us, after it")):
            federation.await_item(ours, got.bulletin_id)
            item = next(each for each in ours.inbox() if each.bulletin_id == got.bulletin_id)
            assert text in str(until_read(lambda item=item: ours.read(item, case="C-1", because="x")))
        more = ours.publish(note("It publishes", PEER, OTHER, originator=LOST))
        federation.await_received(ours, more)
        reply = theirs.publish(note("And is sent to", LOST, originator=PEER))
        federation.await_received(theirs, reply)
        item = federation.await_item(ours, reply.bulletin_id)
        assert "And is sent to" in str(ours.read(item, case="CASE-1", because="a drill").bulletin)
