"""``exchange node backup`` and ``restore`` as an operator types them: what is in the file, and what never is."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from exchange.demo.world import PASSPHRASE_FILE
from exchange.recovery.backup import PART
from exchange.store.factory import open_store
from exchange.store.home_paths import Paths
from exchange.store.sqlite_backup import EMPTY, WITHOUT
from keys.key_files import load_node
from tests.support.home_files import DATABASE
from tests.support.running import Federation, Typed, note, running, type_line

OURS, PEER = "HK-SB", "TH-DSI"
SECRET = b"a passphrase of the backup alone\n"
NEVER = ("lock.db", "sealing", "root/", "officer.keys", "run/", "running")


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Two agencies whose nodes run, with a bulletin each way, one of them read."""
    with running(tmp_path_factory.mktemp("saved"), (OURS, PEER)) as made:
        with made.client(OURS) as ours, made.client(PEER) as theirs:
            made.await_received(ours, ours.publish(note("Out", PEER, originator=OURS)))
            got = theirs.publish(note("In", OURS, originator=PEER))
            made.await_received(theirs, got)
            ours.read(made.await_item(ours, got.bulletin_id), case="CASE-77", because="a reason nobody else may see")
        yield made
    gc.collect()


def typed(line: list[str], secret: bytes | None = SECRET) -> Typed:
    """Type a line; a passphrase comes through a descriptor."""
    if secret is None:
        return type_line(line)
    reading, writing = os.pipe()
    os.write(writing, secret)
    os.close(writing)
    try:
        return type_line([*line, "--passphrase-fd", str(reading)])
    finally:
        os.close(reading)


def saved(federation: Federation, to: Path, *more: str) -> Path:
    """Write a backup of a home whose node runs."""
    line = ["node", "backup", "--home", str(federation.home(OURS)), "-o", str(to), *more]
    ended = typed(line, None if "--to" in more else SECRET)
    assert ended.code == 0, ended.err
    return to


def test_a_running_nodes_backup_comes_out_as_a_home_without_what_opens_content(
    federation: Federation, tmp_path: Path
) -> None:
    file = saved(federation, tmp_path / "hk.backup")
    assert file.stat().st_mode & 0o777 == 0o600
    shown = json.loads(typed(["node", "restore", str(file), "--show", "--json"], None).out)
    assert (shown["agency"], shown["format"], shown["key"]) == (OURS, 1, None)
    home = tmp_path / "again"
    ended = typed(["node", "restore", str(file), "--home", str(home)])
    assert ended.code == 0, ended.err
    names = [path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()]
    assert not [name for name in names if any(each in name for each in NEVER)], names
    for name in ("node.db", "node.keys", "node.toml", "tls.der", "log/checkpoint", f"officers/{officer(home)}/officer"):
        assert name in names
    assert (home / "node.toml").read_bytes() == (federation.home(OURS) / "node.toml").read_bytes()
    assert shown["size"] == Sizes(home).entries
    assert not (federation.home(OURS) / PART).exists()
    assert all(path.stat().st_mode & 0o077 == 0 for path in home.rglob("*"))


class Sizes:
    """What a restored home's database holds."""

    def __init__(self, home: Path) -> None:
        store = open_store(Paths(home=home).store)
        try:
            self.entries = store.reads().size()
            self.keys = store.reads().stored_keys(-1, 100)
            self.readings = store.reads().readings_after(-1, 100)
        finally:
            store.close()


def officer(home: Path) -> str:
    return next(iter((home / "officers").iterdir())).name


def test_a_backup_is_the_database_as_it_is_once_everything_is_erased(federation: Federation, tmp_path: Path) -> None:
    home = tmp_path / "again"
    typed(["node", "restore", str(saved(federation, tmp_path / "b")), "--home", str(home)])
    assert (Sizes(home).keys, Sizes(home).readings) == ([], [])
    copy = tmp_path / "erased.db"
    source = apsw.Connection(str(federation.home(OURS) / DATABASE))
    with apsw.Connection(str(copy)).backup("main", source, "main") as copying:
        copying.step()
    source.close()
    store = open_store(f"sqlite:{copy}")
    with store.transaction() as work:
        for stored in work.kept(-1, 100):
            work.erase(stored.entry_index)
        for position, _ in work.readings_after(-1, 100):
            work.erase_reading(position)
    store.close()
    erased, backup = apsw.Connection(str(copy)), apsw.Connection(str(home / DATABASE))
    tables = [row[0] for row in erased.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    assert {table for table, _ in EMPTY} | WITHOUT <= set(tables)
    for table in tables:
        columns = ", ".join(
            row[1]
            for row in erased.execute(f"PRAGMA table_info({table})")
            if (table, row[1]) != ("retention", "erased")
        )
        rows = [sorted(each.execute(f"SELECT {columns} FROM {table}"), key=repr) for each in (erased, backup)]
        if table not in ("entries", "tiles", "lanes", "peer_checkpoints", "outbound", "meta"):  # the node goes on
            assert rows[0] == rows[1], table
        assert not (table in WITHOUT and rows[1])


def test_what_is_erased_after_a_backup_is_opened_by_nothing_in_backup_and_home(
    federation: Federation, tmp_path: Path
) -> None:
    """Not with all keys that the home has, storage and encryption keys of then included."""
    home = tmp_path / "again"
    typed(["node", "restore", str(saved(federation, tmp_path / "b")), "--home", str(home)])
    keys = load_node(federation.home(OURS), (federation.home(OURS) / PASSPHRASE_FILE).read_bytes().strip())
    assert keys.storage
    assert keys.encryption
    database = apsw.Connection(str(home / DATABASE))
    for table, column in (("contents", "body"), ("contents", "wrap"), ("outbound", "wrap")):
        assert {row[0] for row in database.execute(f"SELECT {column} FROM {table}")} == {b""}
    database.close()
    everything = b"".join(path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file())
    for told in (rb"CASE-77", rb"a reason nobody else may see", rb"(HK-SB|TH-DSI)/[A-Z]{3}/[0-9]{4}/[0-9]{6}"):
        assert not re.search(told, everything), told


@pytest.mark.parametrize("at", [0.0, 0.3, 0.6, 0.99])
def test_a_truncated_or_altered_backup_restores_nothing(federation: Federation, tmp_path: Path, at: float) -> None:
    data = saved(federation, tmp_path / "b").read_bytes()
    place = int(len(data) * at)
    for name, changed in (
        ("cut", data[:place]),
        ("altered", data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]),
    ):
        file = tmp_path / name
        file.write_bytes(changed)
        file.chmod(0o600)
        ended = typed(["node", "restore", str(file), "--home", str(tmp_path / "again")])
        assert ended.code in (2, 4), (name, ended.err)
        assert str(file) in ended.err
        assert [path.name for path in tmp_path.iterdir() if "again" in path.name] == []


def test_each_thing_that_is_wrong_has_one_message(federation: Federation, tmp_path: Path) -> None:
    file, home = saved(federation, tmp_path / "b"), federation.home(OURS)
    again = ["node", "restore", str(file), "--home", str(tmp_path / "again")]
    wrong = typed(again, b"another passphrase\n")
    assert (wrong.code, f"{file} does not open: another passphrase" in wrong.err) == (4, True)
    file.chmod(0o640)
    assert "has mode 0640" in typed(again).err
    file.chmod(0o600)
    assert "it is there already and stays as it is" in typed([*again[:-1], str(home)], None).err
    there = typed(["node", "backup", "--home", str(home), "-o", str(file)], None)
    assert "it is there already and stays as it is" in there.err
    inside = typed(["node", "backup", "--home", str(home), "-o", str(home / "b")], None)
    assert f"lies in {home}" in inside.err
    text = tmp_path / "text"
    text.write_text("not a backup")
    text.chmod(0o600)
    assert "is no backup" in typed(["node", "restore", str(text), "--show"], None).err
    nowhere = typed(["node", "backup", "--home", str(home), "-o", str(tmp_path / "no" / "b")], None)
    assert (nowhere.code, str(tmp_path / "no") in nowhere.err) == (5, True)
    (home / "node.keys").chmod(0o644)
    try:
        assert (
            "node.keys has mode 0644" in typed(["node", "backup", "--home", str(home), "-o", str(tmp_path / "c")]).err
        )
    finally:
        (home / "node.keys").chmod(0o600)
    assert not (tmp_path / "c").exists()


def test_a_backup_sealed_to_a_key_needs_no_secret_on_the_node(federation: Federation, tmp_path: Path) -> None:
    folder = tmp_path / "safe"
    made = typed(["keys", "make", "backup-key", "--agency", OURS, "-o", str(folder)])
    assert made.code == 0, made.err
    file = saved(federation, tmp_path / "b", "--to", str(folder / "backup.key"))
    line = ["node", "restore", str(file), "--home", str(tmp_path / "again")]
    assert "--key FILE, its private half, is needed" in typed(line).err
    assert typed([*line, "--key", str(folder / "backup.keys")], b"wrong\n").code == 4
    other = tmp_path / "other"
    typed(["keys", "make", "backup-key", "--agency", OURS, "-o", str(other)])
    assert "is sealed to key" in typed([*line, "--key", str(other / "backup.keys")]).err
    ended = typed([*line, "--key", str(folder / "backup.keys")])
    assert ended.code == 0, ended.err
    foreign = tmp_path / "foreign"
    typed(["keys", "make", "backup-key", "--agency", PEER, "-o", str(foreign)])
    home = ["node", "backup", "--home", str(federation.home(OURS)), "-o", str(tmp_path / "c"), "--to"]
    assert typed([*home, str(foreign / "backup.key")], None).code != 0
    assert "is no backup key; backup.key beside it" in typed([*home, str(folder / "backup.keys")], None).err


@pytest.mark.parametrize("what", ["backup", "restore"])
@pytest.mark.parametrize("blocks", [1, 120])
def test_a_full_disk_is_one_message_and_leaves_nothing(
    federation: Federation, tmp_path: Path, what: str, blocks: int
) -> None:
    made, result = saved(federation, tmp_path / "made"), tmp_path / "result"
    words = {
        "backup": ["node", "backup", "--home", str(federation.home(OURS)), "-o", str(result)],
        "restore": ["node", "restore", str(made), "--home", str(result)],
    }[what]
    ended = subprocess.run(
        [
            "bash",
            "-c",
            f'ulimit -f {blocks}; trap "" XFSZ; exec "$@"',
            "-",
            sys.executable,
            "-m",
            "exchange",
            *words,
            "--passphrase-fd",
            "0",
        ],
        input=SECRET,
        capture_output=True,
        check=False,
    )
    told = ended.stderr.decode()
    assert (ended.returncode, len(told.splitlines())) == (69, 2), told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made"]
    assert not (federation.home(OURS) / PART).exists()


@pytest.mark.parametrize("what", ["backup", "restore"])
def test_a_kill_leaves_nothing_half_done(federation: Federation, tmp_path: Path, what: str) -> None:
    """Killed after 0.0 to 1.5 s; then the same line does it, and nothing else is left."""
    made = saved(federation, tmp_path / "made")
    home, result = federation.home(OURS), tmp_path / "result"
    line = {
        "backup": ["node", "backup", "--home", str(home), "-o", str(result)],
        "restore": ["node", "restore", str(made), "--home", str(result)],
    }[what]
    for wait in (0.35, 0.6, 0.8, 1.0, 1.5):
        process = subprocess.Popen(
            [sys.executable, "-m", "exchange", *line, "--passphrase-fd", "0"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdin is not None
        process.stdin.write(SECRET)
        process.stdin.close()
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if result.exists():
            break
    if not result.exists():
        ended = typed(line)
        assert ended.code == 0, ended.err
    assert result.is_dir() == (what == "restore")
    if what == "backup":
        assert typed(["node", "restore", str(result), "--home", str(tmp_path / "whole")]).code == 0
    else:
        assert Sizes(result).entries
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".") and result.name not in path.name]
