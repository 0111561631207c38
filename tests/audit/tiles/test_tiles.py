"""Publishing: what is in the folder, and that a crash or an error at any step leaves a log that verifies."""

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.log.log import Log
from audit.log.publisher import Publisher, publish
from audit.note.checkpoint import VerifierKey, sign_checkpoint
from audit.tiles.tile_names import KEY_FILE, parse_tile_name, tile_name
from audit.tiles.tiles import TileFolder
from audit.verify.external_checkpoints import ExternalCheckpoint
from audit.verify.verify import verify_log
from keys.errors import IntegrityError
from keys.signer import Ed25519Signer
from tests.audit.store import ORIGIN, TableStore, grow
from tests.support.scale import SLOW

CRASHED = 9


def at_size(size: int, signer: Ed25519Signer, store: TableStore | None = None) -> tuple[TableStore, str]:
    store = store or TableStore()
    log = Log.open(ORIGIN, store)
    grow(log, store, size)
    return store, sign_checkpoint(log.checkpoint(), signer)


def names_at(size: int) -> list[str]:
    """Return what C2SP tlog-tiles wants for a size, by its own formula, and our key file."""
    names = ["checkpoint", "log.vkey"]
    level = 0
    while size >> 8 * level:
        full, width = divmod(size // 256**level, 256)
        tiles = [(n, 256) for n in range(full)] + ([(full, width)] if width else [])
        names += [tile_name(level, n, w) for n, w in tiles]
        names += [tile_name("entries", n, w) for n, w in tiles] if level == 0 else []
        level += 1
    return sorted(names)


def external(note: str) -> list[ExternalCheckpoint]:
    return [ExternalCheckpoint(name="note", data=note.encode())]


@pytest.mark.parametrize(
    ("index", "name"),
    [(0, "000"), (67, "067"), (999, "999"), (1000, "x001/000"), (1234067, "x001/x234/067"), (10**6, "x001/x000/000")],
)
def test_tile_paths_are_those_of_the_specification(index: int, name: str) -> None:
    assert tile_name(3, index) == f"tile/3/{name}"
    assert tile_name("entries", index, 8) == f"tile/entries/{name}.p/8"


@given(st.sampled_from(["entries", "0", "7", "63"]), st.integers(0, 10**9), st.integers(1, 256))
def test_a_tile_path_is_read_back(level: str, index: int, width: int) -> None:
    assert parse_tile_name(tile_name(level, index, width)) == (level, index, width)


@pytest.mark.parametrize(
    "name",
    ["tile/64/000", "tile/00/000", "tile/0/0", "tile/0/x000/001", "tile/0/000.p/256", "tile/0/000.p/0", "tile/0/001/002",
     "tile/0/000.p/01", "tile/0/000/", "tile/x/000", "tile/0/x001/", "tile/0/٠٠٠", "checkpoint"],
)  # fmt: skip
def test_a_path_that_is_nearly_one_is_none(name: str) -> None:
    assert parse_tile_name(name) is None


def test_the_folder_grows_and_holds_exactly_what_tlog_tiles_ask_for(
    tmp_path: Path, signer: Ed25519Signer, key: VerifierKey
) -> None:
    store, folder = TableStore(), tmp_path / "log"
    publisher = Publisher(folder, store, key)
    for size in (4, 5, 255, 256, 257, 300, 511, 513, 1030):
        _, note = at_size(size, signer, store)
        publisher.publish(note)
        assert TileFolder(folder).names() == names_at(size)
        assert verify_log(folder, key=key, external=external(note)).exit_code == 0
        assert publisher.size == size
    assert os.listdir(tmp_path) == ["log"]
    modes = {stat.S_IMODE((folder / name).stat().st_mode) for name in names_at(1030)}
    assert modes == {0o444}


def test_a_level_two_tile_is_made_at_65_536_entries(tmp_path: Path, signer: Ed25519Signer, key: VerifierKey) -> None:
    store, note = at_size(65_800, signer)
    publish(tmp_path / "log", store, key, note)
    assert TileFolder(tmp_path / "log").names() == names_at(65_800)
    assert verify_log(tmp_path / "log", key=key, external=external(note)).exit_code == 0


def test_row_14_a_replayed_or_older_checkpoint_changes_nothing(
    tmp_path: Path, signer: Ed25519Signer, key: VerifierKey
) -> None:
    store, old = at_size(280, signer)
    publisher = Publisher(tmp_path / "log", store, key)
    publisher.publish(old)
    _, new = at_size(300, signer, store)
    publisher.publish(new)  # control: a newer one changes something
    before = {name: (tmp_path / "log" / name).stat().st_ino for name in names_at(300)}
    for _ in range(100):
        publisher.publish(new)
        with pytest.raises(IntegrityError, match="ahead of checkpoint 280"):
            publisher.publish(old)
    assert {name: (tmp_path / "log" / name).stat().st_ino for name in names_at(300)} == before


def test_a_checkpoint_that_the_tables_contradict_is_not_published(
    tmp_path: Path, signer: Ed25519Signer, key: VerifierKey
) -> None:
    store, note = at_size(300, signer)
    store.execute("UPDATE entries SET entry = CAST(substr(entry, 1, 60) || x'00' AS BLOB) WHERE i = 280")
    with pytest.raises(IntegrityError, match="entries from 256 on are not those that were logged"):
        publish(tmp_path / "log", store, key, note)
    assert not (tmp_path / "log/checkpoint").exists()
    store.execute("UPDATE entries SET leaf = zeroblob(32) WHERE i = 280")
    with pytest.raises(IntegrityError, match="another root at size 300"):
        publish(tmp_path / "log", store, key, note)


def test_the_logs_key_stands_in_its_folder_from_the_first_checkpoint_on_and_again_if_it_is_lost(
    tmp_path: Path, signer: Ed25519Signer, key: VerifierKey
) -> None:
    store, first = at_size(3, signer)
    publisher = Publisher(tmp_path / "log", store, key)
    publisher.publish(first)
    path = tmp_path / "log" / KEY_FILE
    made = path.stat().st_ino
    assert path.read_text() == f"{key}\n"
    _, second = at_size(5, signer, store)
    publisher.publish(second)
    assert path.stat().st_ino == made  # what does not change is not written each second
    path.unlink()
    _, third = at_size(8, signer, store)
    publisher.publish(third)
    assert path.read_text() == f"{key}\n"


def test_the_folder_of_another_log_is_refused(tmp_path: Path, signer: Ed25519Signer, key: VerifierKey) -> None:
    store, note = at_size(10, signer)
    publish(tmp_path / "log", store, key, note)
    stranger = VerifierKey(name="bee.example/log/1", key=key.key)
    with pytest.raises(IntegrityError, match="is not this log's"):
        Publisher(tmp_path / "log", store, stranger)
    with pytest.raises(IntegrityError, match="the tables are not"):
        Publisher(tmp_path / "log", TableStore(), key)


def in_child(work: Callable[[], None], fail_at: int, error: bool) -> tuple[int, int]:
    """Run *work* in a forked child that dies, or gets an I/O error, at its n-th change of the file system.

    Returns:
        The child's exit code (9 where it died on purpose) and nothing else that matters.
    """
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), child
    seen = 0

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal seen
        writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod"):
            seen += 1
            if seen == fail_at:
                if error:
                    raise OSError(5, "Input/output error")
                os._exit(CRASHED)

    sys.addaudithook(hook)
    try:
        work()
    finally:
        os._exit(0)


@pytest.mark.parametrize(
    "sizes",
    [
        (0, 20),
        (250, 300),
        *(pytest.param(each, marks=SLOW) for each in ((20, 30), (250, 256), (256, 260), (300, 800))),
    ],
)
@pytest.mark.parametrize("error", [False, True], ids=["killed", "error and tried again"])
def test_a_crash_or_an_error_at_every_step_of_publishing_loses_nothing(
    sizes: tuple[int, int], error: bool, tmp_path: Path, signer: Ed25519Signer, key: VerifierKey
) -> None:
    store, old_note = at_size(sizes[0], signer)
    _, new_note = at_size(sizes[1], signer, store)
    died = 0
    for fail_at in range(1, 200):
        folder = tmp_path / str(fail_at) / "log"
        folder.parent.mkdir()
        if sizes[0]:
            publish(folder, store, key, old_note)

        def work(folder: Path = folder) -> None:
            publisher = Publisher(folder, store, key)
            try:
                publisher.publish(new_note)
            except OSError:
                publisher.publish(new_note)

        code, _ = in_child(work, fail_at, error)
        if sizes[0]:  # whatever happened, a reader sees the old log or the new one, whole
            report = verify_log(folder, key=key, external=external(old_note))
            assert (report.exit_code, report.size in sizes) == (0, True), (fail_at, report)
        elif (folder / "checkpoint").exists():
            assert verify_log(folder, key=key).exit_code == 7
        publish(folder, store, key, new_note)
        assert TileFolder(folder).names() == names_at(sizes[1]), fail_at
        assert verify_log(folder, key=key, external=external(new_note)).exit_code == 0
        assert os.listdir(folder.parent) == ["log"]
        died += code == CRASHED
        if code == 0 and not error:
            break
        if error and fail_at == 30:
            break
    assert died >= 8 or error  # control: it did die, many times
