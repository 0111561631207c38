"""What is kept past its day is erased, on both sides, for good; holds keep it; the log does not change by one byte."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from audit.entry import Body, Kind, Outcome
from audit.lock import SqliteLock
from audit.retention import check_retention
from audit.tiles import TileFolder
from audit.verify import verify_log
from exchange import erasing, holding
from exchange import node as nodes
from exchange.dispatch import parse_dispatch
from exchange.envelope import open_statement
from exchange.erasing import Remember
from exchange.facts import retention_of
from exchange.held import open_content
from exchange.lane import WithdrawnReason, parse_lane_head
from exchange.reading import Reader
from exchange.retention import DAY_MS, DRAIN_MS, STORAGE_KEY_DAYS, Sight, is_due, window_gone
from exchange.sqlite import SqliteStore
from exchange.statement import ReadPurpose, parse_statement
from exchange.storage import StorageKeys
from exchange.store import Content
from exchange.v1.bulletin_pb2 import Bulletin
from keys.dsse import SignedPayload
from keys.errors import IntegrityError, RefusedError, UnavailableError
from keys.holders import open_sealing
from keys.keystore import RANDOM_FILE, SEALING_FILE, load_sealing_keys
from tests.acts.keeping import Keeper, delivered, kept_for
from tests.scale import SCALE
from tests.world import NOW_MS

CANARY = "canary-7f3a-quetzalcoatl"


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Keeper]:
    desk = Keeper("HK-IMMD", tmp_path / "sender")
    yield desk
    desk.close()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Keeper]:
    desk = Keeper("TH-DSI", tmp_path / "receiver")
    yield desk
    desk.close()


@pytest.fixture
def keyed(tmp_path: Path) -> Iterator[Keeper]:
    """A recipient with key files."""
    desk = Keeper("TH-DSI", tmp_path / "keyed", keys_too=True)
    yield desk
    desk.close()


def code_of(act: object) -> str:
    with pytest.raises(RefusedError) as raised:
        act()  # type: ignore[operator] # a function without arguments
    return raised.value.code


# ------------------------------------------------------------------ the day


def test_a_bulletin_is_kept_to_the_end_of_its_day_and_erased_on_the_next(sender: Keeper, receiver: Keeper) -> None:
    message = kept_for(1, 1)
    delivered(sender, receiver, message)
    for desk in (sender, receiver):
        desk.pass_days(1)
        assert desk.keep_up().erased == 0  # control: its day is today
        assert desk.read(message).held.erased is False
        desk.pass_days(1)
        assert desk.keep_up().erased == 1
        held = desk.held(message)
        content = desk.node.reads.content(held.entry_index)
        assert held.erased
        assert (content.body, content.wrap, content.stored_key) == (b"", b"", b"")
        (body,) = desk.bodies(Kind.ERASED)
        assert (body.refers_to, body.bulletin_id) == (held.entry_index, held.bulletin_id)
        assert body.retain_until_day == held.retain_until_day == NOW_MS // DAY_MS + 1
        assert body.retention_rule == held.retention_rule == 1
        assert code_of(lambda desk=desk: desk.read(message)) == "KEY_GONE"
        assert desk.keep_up().erased == 0  # once


def test_a_bulletin_without_a_day_is_kept(sender: Keeper) -> None:
    message = kept_for(1, 2)
    message.header.retention.review_by = ""
    sender.publish(message)
    sender.pass_days(10_000)
    assert sender.keep_up().erased == 0


def test_what_waits_in_a_lane_and_is_erased_travels_withdrawn(sender: Keeper, receiver: Keeper) -> None:
    first, second = kept_for(1, 3), kept_for(9, 4)
    sender.publish(first)
    sender.publish(second)
    control = sender.message_for("TH-DSI")
    assert parse_lane_head(control.head.payload).withdrawn == ()
    sender.pass_days(2)
    sender.keep_up()
    message = sender.message_for("TH-DSI", now_ms=sender.at_ms)
    head = parse_lane_head(message.head.payload)
    assert [(each.sequence, each.reason) for each in head.withdrawn] == [(1, WithdrawnReason.ERASED)]
    assert (message.parcels[0].wrap, message.parcels[0].body) == (b"", b"")
    answers = receiver.receive(message, "HK-IMMD")
    assert [each.kind for each in receiver.bodies(Kind.WITHDRAWN, Kind.RECEIVED)] == [Kind.WITHDRAWN, Kind.RECEIVED]
    receipts = [(answer.sequence, receipt, None) for answer, receipt in answers]
    assert sender.settle(receipts, "TH-DSI") == 2  # the lane did not stand still


def test_a_correction_of_an_erased_bulletin_is_taken(sender: Keeper, receiver: Keeper) -> None:
    """Its old values can be compared with nothing any more; that is no reason to refuse it."""
    target = kept_for(1, 5)
    delivered(sender, receiver, target)
    receiver.pass_days(2)
    receiver.keep_up()
    from exchange.held import corrected_by
    from exchange.v1 import bulletin_pb2

    correction = kept_for(9, 6)
    correction.header.relations.add(type=bulletin_pb2.RELATION_TYPE_CORRECTS, bulletin_id=target.header.bulletin_id)
    reads = receiver.node.reads
    assert corrected_by(correction, "HK-IMMD", reads, receiver.house.storage) is None
    control = sender.node.reads
    assert corrected_by(correction, "HK-IMMD", control, sender.house.storage) == target


def test_an_erased_id_stays_taken_for_ever(sender: Keeper, receiver: Keeper) -> None:
    message = kept_for(1, 7)
    delivered(sender, receiver, message)
    receiver.pass_days(2)
    receiver.keep_up()
    again = sender.message_for("TH-DSI")
    (answer,) = receiver.check(again, "HK-IMMD").verdicts
    assert not answer.step.new
    sender.pass_days(2)
    sender.keep_up()
    message.header.subject[0].text = "Another text under the same id"
    signed = sender.sign(sender.statement(message))
    assert code_of(lambda: sender.enter(sender.prepare(signed))) == "EQUIVOCATION"


def test_is_due_knows_day_hold_and_lock(sender: Keeper) -> None:
    message = kept_for(1, 8)
    sender.publish(message)
    held = sender.held(message)
    day = held.retain_until_day
    assert not is_due(held, day, on_hold=False, erased_before=False)
    assert is_due(held, day + 1, on_hold=False, erased_before=False)
    assert not is_due(held, day + 1, on_hold=True, erased_before=False)
    assert is_due(held, day, on_hold=True, erased_before=True)


@pytest.mark.parametrize("rule", [-1, -(1 << 31), 7, 15, (1 << 31) - 1])
def test_a_retention_class_that_we_do_not_name_is_told_as_none_and_stops_nobody(rule: int) -> None:
    """A newer schema's enum is open on the wire; the log's field is not, and a negative one stopped the node once."""
    message = kept_for(1, 9)
    assert retention_of(message)[0] == 1  # control
    setattr(message.header.retention, "class", rule)
    found, day = retention_of(message)
    assert (found, day) == (0, NOW_MS // DAY_MS + 1)
    assert Body(kind=Kind.HELD, retention_rule=found, retain_until_day=day).encode()


# ------------------------------------------------------------------ holds


def test_a_hold_keeps_a_bulletin_until_every_one_of_them_is_released(receiver: Keeper, sender: Keeper) -> None:
    held, free = kept_for(1, 11), kept_for(1, 12)
    delivered(sender, receiver, held, free)
    assert receiver.hold(held).count == receiver.hold(held).count == 1
    receiver.pass_days(30)
    assert receiver.keep_up().erased == 1  # control: the other one
    assert receiver.held(free).erased
    assert not receiver.held(held).erased
    assert receiver.hold(held, ReadPurpose.RELEASE).count == 2
    assert receiver.keep_up().erased == 1
    set_, released = receiver.bodies(Kind.HOLD_SET), receiver.bodies(Kind.HOLD_RELEASED)
    assert [each.refers_to for each in set_] == [receiver.held(held).entry_index] * 2
    assert len(released) == 2
    assert all(each.digest and each.actor and each.purpose for each in (*set_, *released))


def test_a_hold_needs_its_own_purpose_role_and_something_to_hold(receiver: Keeper, sender: Keeper) -> None:
    message = kept_for(1, 13)
    delivered(sender, receiver, message)
    size = receiver.node.reads.size()
    assert code_of(lambda: receiver.hold(message, ReadPurpose.CASE_WORK)) == "MALFORMED"
    assert code_of(lambda: receiver.read(message, ReadPurpose.HOLD)) == "MALFORMED"
    assert code_of(lambda: receiver.hold(message, ReadPurpose.RELEASE)) == "NO_SUCH_BULLETIN"
    assert receiver.node.reads.size() == size  # nothing was logged
    denied = receiver.hold(message, officer="writer-1")
    assert denied.denied is not None
    (entry,) = receiver.bodies(Kind.ACCESS_DENIED)
    assert entry.outcome == Outcome.NOT_ALLOWED
    twice = receiver.reader(receiver.request(message, ReadPurpose.HOLD))
    other = replace(twice, request=replace(twice.request, nonce=bytes(16), statement_digest=bytes(32)))

    def held(reader: Reader) -> holding.Kept:
        act = partial(holding.hold, reader=reader, house=receiver.house, random_bytes=os.urandom)
        return receiver.node.writer.run(act, lambda value, group: value)

    assert held(twice).count == 1  # control
    assert code_of(lambda: held(twice)) == "REPLAYED"
    assert code_of(lambda: held(other)) == "NO_SUCH_BULLETIN"
    assert len(receiver.bodies(Kind.HOLD_SET)) == 1
    receiver.hold(message, ReadPurpose.RELEASE)
    receiver.pass_days(2)
    receiver.keep_up()
    assert code_of(lambda: receiver.hold(message)) == "KEY_GONE"


def test_case_and_reason_of_a_reading_go_with_the_last_of_its_bulletins(receiver: Keeper, sender: Keeper) -> None:
    first, second = kept_for(1, 14), kept_for(9, 15)
    delivered(sender, receiver, first, second)
    receiver.read(first)
    receiver.hold(second)
    receiver.hold(second, ReadPurpose.RELEASE)
    rows = lambda: receiver.node.reads.readings_after(-1, 100)  # noqa: E731 - asked four times
    assert len(rows()) == 3
    receiver.pass_days(2)
    assert receiver.keep_up().readings == 1
    assert len(rows()) == 2
    receiver.pass_days(9)
    assert receiver.keep_up().readings == 2
    assert rows() == []
    assert len(receiver.bodies(Kind.OPENED)) == 1  # the entries stay


# ------------------------------------------------------------------ for good


def test_an_erased_bulletin_opens_neither_by_window_key_nor_backup_nor_restore_row_64(
    sender: Keeper, keyed: Keeper, tmp_path: Path
) -> None:
    message = kept_for(20, 21, text=CANARY)
    delivered(sender, keyed, message)
    held = keyed.held(message)
    captured = keyed.node.reads.content(held.entry_index)
    backup = tmp_path / "backup.db"
    keyed.node.store.scrub()
    shutil.copyfile(keyed.home / nodes.DATABASE, backup)
    old_lock = tmp_path / "old-lock.db"
    shutil.copyfile(keyed.home / nodes.LOCK, old_lock)

    def by_window_key() -> str:
        """What was captured on its way, opened with the keys that the node holds now."""
        dispatch = parse_dispatch(SignedPayload.decode(captured.dispatch).payload)
        windows, _ = open_sealing(load_sealing_keys(keyed.home, keyed.keys.derived))
        keys = {each.key.public.key_id: each.key for each in windows}
        (mine,) = [each for each in dispatch.recipients if each.agency == "TH-DSI"]
        if mine.key_id not in keys:
            raise RefusedError("KEY_GONE", "the window's key was destroyed")
        key, body = keys[mine.key_id], captured.body
        return subject(open_statement(dispatch, captured.wrap, body, key, dispatch.federation_id))

    def by_backup() -> str:
        """The database of before, under the storage keys that the node holds now."""
        store = SqliteStore(backup)
        try:
            content = store.reads().content(held.entry_index)
            _, storage = open_sealing(load_sealing_keys(keyed.home, keyed.keys.derived))
            return subject(open_content(content, held, StorageKeys.of(*(each.reveal() for each in storage))))
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
    kept = {name: (keyed.home / name).read_bytes() for name in (nodes.DATABASE, nodes.LOCK)}
    shutil.copyfile(backup, keyed.home / nodes.DATABASE)
    with pytest.raises(IntegrityError, match="older copy"):
        keyed.start()  # the lock is not restored
    for name, data in kept.items():
        (keyed.home / name).write_bytes(data)
    keyed.start()
    assert code_of(by_restore) == "KEY_GONE"


def subject(signed: SignedPayload) -> str:
    from exchange.bulletin import parse_bulletin

    return parse_bulletin(parse_statement(signed.payload).bulletin).header.subject[0].text


def test_what_the_lock_says_was_erased_is_erased_again_at_the_start_row_64(receiver: Keeper, sender: Keeper) -> None:
    """A crash between lock and transaction, or a database that came back: long before its day, hold or none."""
    message, other = kept_for(900, 22), kept_for(900, 23)
    delivered(sender, receiver, message, other)
    receiver.hold(message)
    receiver.restart()
    assert receiver.bodies(Kind.ERASED) == []  # control: the lock says nothing
    lock = SqliteLock.open(receiver.home / nodes.LOCK)
    lock.remember_erased([receiver.held(message).statement_digest])
    lock.close()
    receiver.restart()
    assert receiver.held(message).erased
    assert not receiver.held(other).erased
    assert len(receiver.bodies(Kind.ERASED)) == 1


def test_the_lock_knows_it_before_anything_is_destroyed(receiver: Keeper, sender: Keeper) -> None:
    message = kept_for(1, 24)
    delivered(sender, receiver, message)
    receiver.pass_days(2)
    held, order = receiver.held(message), []

    def refuse(digests: Iterable[bytes]) -> None:
        order.append((list(digests), receiver.node.reads.content(held.entry_index).erased))
        raise UnavailableError("the lock is busy")

    def erase(remember: Remember) -> int:
        act = partial(erasing.erase, wanted=[held], was_erased=receiver.node.lock.is_erased, remember=remember)
        return len(receiver.node.writer.run(act, lambda value, group: value).bulletins)

    with pytest.raises(UnavailableError):
        erase(refuse)
    assert order == [([held.statement_digest], False)]
    assert not receiver.held(message).erased
    assert receiver.bodies(Kind.ERASED) == []
    assert erase(receiver.node.lock.remember_erased) == 1  # control
    assert receiver.held(message).erased
    assert receiver.node.lock.is_erased(held.statement_digest)


def test_what_is_erased_is_erased_from_databases_that_a_recovery_moved_aside(receiver: Keeper, sender: Keeper) -> None:
    message, other = kept_for(1, 25), kept_for(900, 26)
    delivered(sender, receiver, message, other)
    receiver.node.store.scrub()
    aside = receiver.home / "before-epoch-2"
    aside.mkdir()
    shutil.copyfile(receiver.home / nodes.DATABASE, aside / nodes.DATABASE)
    held = receiver.held(message)
    key = receiver.node.reads.content(held.entry_index).stored_key
    receiver.keep_up()
    assert key in (aside / nodes.DATABASE).read_bytes()  # control: its day has not come
    receiver.pass_days(2)
    receiver.keep_up()
    assert key not in (aside / nodes.DATABASE).read_bytes()
    store = SqliteStore(aside / nodes.DATABASE)
    assert [each.entry_index for each in store.reads().kept(-1, 9)] == [receiver.held(other).entry_index]
    store.close()


def test_a_recovered_bulletin_without_content_does_no_harm(receiver: Keeper, sender: Keeper, keyed: Keeper) -> None:
    """Its row has no content key: it can be opened by nobody, travels withdrawn, and no change of keys trips over it."""
    message = kept_for(1, 27)
    delivered(sender, keyed, message)
    lost = replace(keyed.held(message), entry_index=999, bulletin_id=bytes(16), retain_until_day=0)
    with keyed.node.store.transaction() as rows:
        rows.add_bulletin(lost, Content(dispatch=b"d", body=b"", wrap=b"w", stored_key=b""))
    assert keyed.node.reads.content(999).erased
    keyed.pass_days(STORAGE_KEY_DAYS)
    assert keyed.keep_up().erased == 1
    assert len(keyed.house.storage.secrets) == 2  # the keys did change


# ------------------------------------------------------------------ storage keys


def test_a_storage_key_serves_thirty_days_and_living_keys_move_to_the_next(sender: Keeper, keyed: Keeper) -> None:
    message = kept_for(900, 31)
    delivered(sender, keyed, message)
    before, files = keyed.house.storage.present, key_files(keyed)
    keyed.pass_days(STORAGE_KEY_DAYS - 1)
    assert keyed.keep_up().storage_keys == 0
    assert keyed.house.storage.present == before  # control: not yet
    keyed.pass_days(1)
    keyed.keep_up()
    assert set(keyed.house.storage.secrets) > {before}
    assert keyed.house.storage.present != before
    assert keyed.read(message).held.erased is False
    keyed.at_ms += DRAIN_MS
    assert keyed.keep_up().storage_keys == 1
    assert set(keyed.house.storage.secrets) == {keyed.house.storage.present}
    assert keyed.read(message).held.erased is False
    for name, data in files.items():  # the random bytes were overwritten: the old second file opens for nobody
        assert (keyed.home / name).read_bytes() != data
    (keyed.home / SEALING_FILE).write_bytes(files[SEALING_FILE])
    assert code_of(lambda: load_sealing_keys(keyed.home, keyed.keys.derived)) == "UNOPENABLE"


def test_a_change_of_keys_that_was_cut_off_goes_on(sender: Keeper, keyed: Keeper) -> None:
    """Both keys on disk, some rows under the old one: the next run finishes, and nothing is lost."""
    first, second = kept_for(900, 32), kept_for(900, 33)
    delivered(sender, keyed, first)
    old = keyed.house.storage
    keyed.pass_days(STORAGE_KEY_DAYS)
    keyed.keep_up()
    new = keyed.house.storage
    keyed.node.set_keys(keyed.house.encryption, StorageKeys(old.present, new.secrets))
    delivered(sender, keyed, second)  # as an intake does that began before the change
    keyed.node.set_keys(keyed.house.encryption, new)
    keyed.at_ms += DRAIN_MS
    assert keyed.keep_up().storage_keys == 1
    for message in (first, second):
        assert keyed.read(message).held.erased is False


def key_files(desk: Keeper) -> dict[str, bytes]:
    return {name: (desk.home / name).read_bytes() for name in (SEALING_FILE, RANDOM_FILE)}


def test_a_windows_key_goes_after_a_week_once_every_lane_was_seen_and_after_sixty_days_in_any_case() -> None:
    until = 1000 * DAY_MS
    seen, silent = Sight(head_time_ms=until + 1, complete=True), Sight(head_time_ms=0, complete=False)
    early, behind = Sight(head_time_ms=until, complete=True), Sight(head_time_ms=until + 1, complete=False)
    assert window_gone(until, [seen, seen], until + 7 * DAY_MS)
    assert not window_gone(until, [seen, seen], until + 7 * DAY_MS - 1)
    for other in (silent, early, behind):
        assert not window_gone(until, [seen, other], until + 7 * DAY_MS)
        assert not window_gone(until, [seen, other], until + 60 * DAY_MS - 1)
        assert window_gone(until, [seen, other], until + 60 * DAY_MS)


# ------------------------------------------------------------------ nothing is left, nothing in the log moves


def test_after_erasing_half_nothing_of_it_is_found_and_every_entry_is_as_it_was(
    sender: Keeper, receiver: Keeper
) -> None:
    """audit.md 7, goal 15: 300 bulletins here, over 10,000 with EXCHANGE_TEST_SCALE=34."""
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
        database = (desk.home / nodes.DATABASE).read_bytes()
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
        assert [desk.held(each).erased for each in messages] == [bool(serial % 2) for serial in range(count)]
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
    """Give what would have to be found to open a bulletin: its stored key, its wraps, pieces of its body."""
    held = desk.held(message)
    content = desk.node.reads.content(held.entry_index)
    wraps = [content.wrap, *(row.wrap for row in desk.node.reads.outbound_of(held.entry_index))]
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
