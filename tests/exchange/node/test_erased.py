"""What is erased is gone for good: keys, backups, restores and peers do not bring it back, and the log does not move."""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from audit.compare.overdue import check_retention
from audit.entry.entry import Kind
from audit.log.sqlite_lock import SqliteLock
from audit.record.dispatch import parse_dispatch
from audit.record.statement import parse_statement
from audit.tiles.tiles import TileFolder
from audit.verify.verify import verify_log
from exchange.acts import erasing
from exchange.acts.erasing import Remember
from exchange.acts.retention_rules import STORAGE_KEY_DAYS
from exchange.acts.stored_bulletin import open_content
from exchange.records.sealed_statement import open_statement
from exchange.store.rows import Content
from exchange.store.sqlite import SqliteStore
from exchange.store.storage_key import StorageKeys
from exchange.v1.bulletin_pb2 import Bulletin
from keys.dsse import SignedPayload
from keys.errors import IntegrityError, RefusedError, UnavailableError
from keys.key_files import open_sealing
from keys.keystore import load_sealing_keys
from tests.exchange.node.keeping import Keeper, code_of, delivered, kept_for
from tests.support.home_files import DATABASE, LOCK
from tests.support.scale import SCALE

CANARY = "canary-7f3a-quetzalcoatl"


# ------------------------------------------------------------------ for good


def test_an_erased_bulletin_opens_neither_by_window_key_nor_backup_nor_restore_row_64(
    sender: Keeper, keyed: Keeper, tmp_path: Path
) -> None:
    message = kept_for(20, 21, text=CANARY)
    delivered(sender, keyed, message)
    stored = keyed.stored(message)
    captured = keyed.node.reads.content(stored.entry_index)
    backup = tmp_path / "backup.db"
    keyed.node.store.scrub()
    shutil.copyfile(keyed.home / DATABASE, backup)
    old_lock = tmp_path / "old-lock.db"
    shutil.copyfile(keyed.home / LOCK, old_lock)

    def by_window_key() -> str:
        """What was captured on its way, opened with the keys that the node holds now."""
        dispatch = parse_dispatch(SignedPayload.decode(captured.dispatch).payload)
        windows, _ = open_sealing(load_sealing_keys(keyed.home, keyed.keys.derived))
        keys = {each.key.public.key_id: each.key for each in windows}
        (mine,) = [each for each in dispatch.recipients if each.agency == "TH-DSI"]
        if mine.key_id not in keys:
            raise RefusedError("KEY_GONE", "the window's key was destroyed")
        key, body = keys[mine.key_id], captured.body
        return subject(open_statement(dispatch, captured.wrap, body, key, dispatch.federation_id)[0])

    def by_backup() -> str:
        """The database of before, under the storage keys that the node holds now."""
        store = SqliteStore(backup)
        try:
            content = store.reads().content(stored.entry_index)
            _, storage = open_sealing(load_sealing_keys(keyed.home, keyed.keys.derived))
            return subject(open_content(content, stored, StorageKeys.of(*(each.reveal() for each in storage))))
        finally:
            store.close()

    def by_restore() -> str:
        """The database of before, put back under the node."""
        return subject(keyed.read(message).statement)

    for control in (by_window_key, by_backup, by_restore):
        assert control() == CANARY
    keyed.pass_days(21)
    done = keyed.keep_up()
    assert (done.erased, done.scrubbed) == (1, True)
    keyed.pass_days(STORAGE_KEY_DAYS)
    keyed.keep_up()  # a new storage key
    keyed.pass_days(1)
    keyed.keep_up()  # the old one is destroyed
    keyed.pass_days(60)
    assert keyed.keep_up().windows > 0
    assert code_of(by_window_key) == "KEY_GONE"
    assert code_of(by_backup) == "KEY_GONE"
    keyed.node.stop()
    kept = {name: (keyed.home / name).read_bytes() for name in (DATABASE, LOCK)}
    shutil.copyfile(backup, keyed.home / DATABASE)
    with pytest.raises(IntegrityError, match="older copy"):
        keyed.start()  # the lock is not restored
    for name, data in kept.items():
        (keyed.home / name).write_bytes(data)
    keyed.start()
    assert code_of(by_restore) == "KEY_GONE"


def subject(signed: SignedPayload) -> str:
    from exchange.records.bulletin import parse_bulletin

    return parse_bulletin(parse_statement(signed.payload).bulletin).header.subject[0].text


def test_what_the_lock_says_was_erased_is_erased_again_at_the_start_row_64(receiver: Keeper, sender: Keeper) -> None:
    """A crash between lock and transaction, or a database that came back: long before its day, hold or none."""
    message, other = kept_for(900, 22), kept_for(900, 23)
    delivered(sender, receiver, message, other)
    receiver.hold(message)
    receiver.restart()
    assert receiver.bodies(Kind.ERASED) == []  # control: the lock says nothing
    lock = SqliteLock.open(receiver.home / LOCK)
    lock.remember_erased([receiver.stored(message).statement_digest])
    lock.close()
    receiver.restart()
    assert receiver.stored(message).erased
    assert not receiver.stored(other).erased
    assert len(receiver.bodies(Kind.ERASED)) == 1


def test_the_lock_knows_it_before_anything_is_destroyed(receiver: Keeper, sender: Keeper) -> None:
    message = kept_for(1, 24)
    delivered(sender, receiver, message)
    receiver.pass_days(2)
    stored, order = receiver.stored(message), []

    def refuse(digests: Iterable[bytes]) -> None:
        order.append((list(digests), receiver.node.reads.content(stored.entry_index).erased))
        raise UnavailableError("the lock is busy")

    def erase(remember: Remember) -> int:
        act = partial(erasing.erase, wanted=[stored], was_erased=receiver.node.lock.is_erased, remember=remember)
        return len(receiver.node.writer.run(act).bulletins)

    with pytest.raises(UnavailableError):
        erase(refuse)
    assert order == [([stored.statement_digest], False)]
    assert not receiver.stored(message).erased
    assert receiver.bodies(Kind.ERASED) == []
    assert erase(receiver.node.lock.remember_erased) == 1  # control
    assert receiver.stored(message).erased
    assert receiver.node.lock.is_erased(stored.statement_digest)


def test_what_is_erased_is_erased_from_databases_that_a_recovery_moved_aside(receiver: Keeper, sender: Keeper) -> None:
    message, other = kept_for(1, 25), kept_for(900, 26)
    delivered(sender, receiver, message, other)
    receiver.node.store.scrub()
    aside = receiver.home / "before-epoch-2"
    aside.mkdir()
    shutil.copyfile(receiver.home / DATABASE, aside / DATABASE)
    stored = receiver.stored(message)
    key = receiver.node.reads.content(stored.entry_index).stored_key
    receiver.keep_up()
    assert key in (aside / DATABASE).read_bytes()  # control: its day has not come
    receiver.pass_days(2)
    receiver.keep_up()
    assert key not in (aside / DATABASE).read_bytes()
    store = SqliteStore(aside / DATABASE)
    assert [each.entry_index for each in store.reads().kept(-1, 9)] == [receiver.stored(other).entry_index]
    store.close()


def test_a_recovered_bulletin_without_content_does_no_harm(receiver: Keeper, sender: Keeper, keyed: Keeper) -> None:
    """Its row has no content key: it can be opened by nobody, travels withdrawn, and no change of keys trips over it."""
    message = kept_for(1, 27)
    delivered(sender, keyed, message)
    lost = replace(keyed.stored(message), entry_index=999, bulletin_id=bytes(16), retain_until_day=0)
    with keyed.node.store.transaction() as rows:
        rows.add_bulletin(lost, Content(dispatch=b"d", body=b"", wrap=b"w", stored_key=b""))
    assert keyed.node.reads.content(999).erased
    keyed.pass_days(STORAGE_KEY_DAYS)
    assert keyed.keep_up().erased == 1
    assert len(keyed.view.storage.secrets) == 2  # the keys did change


# ------------------------------------------------------------------ nothing is left, nothing in the log moves


def test_after_erasing_half_nothing_of_it_is_found_and_every_entry_is_as_it_was(
    sender: Keeper, receiver: Keeper
) -> None:
    """300 bulletins, enough for full tiles, over 10,000 with EXCHANGE_TEST_SCALE=34."""
    count = 300 * SCALE
    messages = [
        kept_for(1 if serial % 2 else 900, 1000 + serial, text=f"{CANARY} {serial:06d}") for serial in range(count)
    ]
    for first in range(0, count, 60):
        delivered(sender, receiver, *messages[first : first + 60])
    receiver.read(messages[1])
    for desk in (sender, receiver):
        reads = desk.node.reads
        before = reads.read_entries(0, reads.size())
        sealed = [sealed_bytes(desk, each) for each in messages]
        desk.node.store.scrub()
        database = (desk.home / DATABASE).read_bytes()
        assert all(each in database for group in sealed[:4] for each in group)  # control: there they are
        desk.node.stop()
        tiles = files_of(desk.home / "log")
        desk.start()
        desk.pass_days(2)
        assert desk.keep_up().erased == count // 2
        after = desk.node.reads.read_entries(0, desk.node.reads.size())
        assert after[: len(before)] == before
        for name, data in files_of(desk.home, "node.db*").items():
            assert not [each for group in sealed[1::2] for each in group if each in data], name
        assert [desk.stored(each).erased for each in messages] == [bool(serial % 2) for serial in range(count)]
        assert desk.open("HK-IMMD", messages[0].header.bulletin_id) == messages[0]  # control: what is kept opens
        desk.node.stop()
        now = files_of(desk.home / "log")
        assert len([name for name in tiles if ".p/" not in name]) > 2  # full tiles, beside log.vkey
        assert all(now.get(name) == data for name, data in tiles.items() if ".p/" not in name)
        found = {name: marks(data) for name, data in files_of(desk.home).items()}
        assert not any(found.values()), found
        report = verify_log(desk.home / "log", key=desk.node.vkey)
        assert report.verdict.startswith("verified"), report
        assert overdue_of(desk) == []
        desk.start()
    control = messages[0].SerializeToString()
    assert marks(control) == {"utf-8"}


def sealed_bytes(desk: Keeper, message: Bulletin) -> list[bytes]:
    """Return what would have to be found to open a bulletin: its stored key, its wraps, pieces of its body."""
    stored = desk.stored(message)
    content = desk.node.reads.content(stored.entry_index)
    wraps = [content.wrap, *(row.wrap for row in desk.node.reads.outbound_of(stored.entry_index))]
    return [content.stored_key[32:], *(each[:64] for each in wraps if each), content.body[:64], content.body[-64:]]


def overdue_of(desk: Keeper) -> list[int]:
    """Ask the auditor's report, a day after: which entries are overdue."""
    return [each.entry for each in check_retention(TileFolder(desk.home / "log"), None).overdue]


def files_of(folder: Path, pattern: str = "*") -> dict[str, bytes]:
    names = [each for each in folder.rglob(pattern) if each.is_file() and each.name not in ("checkpoint", "witnessed")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in names}


def marks(data: bytes) -> set[str]:
    """Name the encodings in which the canary stands somewhere."""
    raw = CANARY.encode()
    # Base64 at its three offsets, without the characters that neighbours decide.
    b64 = [base64.b64encode(b"\0" * offset + raw)[4 if offset else 0 : -4] for offset in range(3)]
    looks = {
        "utf-8": [raw],
        "utf-16": [CANARY.encode("utf-16-le"), CANARY.encode("utf-16-be")],
        "hex": [raw.hex().encode(), raw.hex().upper().encode()],
        "base64": b64,
        "sha-256": [hashlib.sha256(raw).digest(), hashlib.sha256(raw).hexdigest().encode()],
        "reversed": [raw[::-1]],
    }
    return {name for name, values in looks.items() if any(value in data for value in values)}
