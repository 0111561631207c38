"""What is kept past its day is erased, on both sides, for good; holds keep it; the log does not change by one byte."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial

import pytest

from audit.entry.entry import Body, Kind, Outcome
from audit.record.lane import WithdrawnReason, parse_lane_head
from audit.record.statement import ReadPurpose, parse_read
from exchange.acts import legal_hold
from exchange.acts.reading import Reader
from exchange.acts.retention_rules import DRAIN_MS, STORAGE_KEY_DAYS, Sight, is_due, window_gone
from exchange.acts.stored_bulletin import retention_of
from exchange.acts.unit_of_work import UnitOfWork
from exchange.store.storage_key import StorageKeys
from keys.dsse import SignedPayload
from keys.durations import DAY_MS
from keys.keystore import RANDOM_FILE, SEALING_FILE, load_sealing_keys
from tests.exchange.node.keeping import Keeper, code_of, delivered, kept_for
from tests.support.older import older_read
from tests.support.world import NOW_MS

# ------------------------------------------------------------------ the day


def test_a_bulletin_is_kept_to_the_end_of_its_day_and_erased_on_the_next(sender: Keeper, receiver: Keeper) -> None:
    message = kept_for(1, 1)
    delivered(sender, receiver, message)
    for desk in (sender, receiver):
        desk.pass_days(1)
        assert desk.keep_up().erased == 0  # control: its day is today
        assert desk.read(message).stored.erased is False
        desk.pass_days(1)
        assert desk.keep_up().erased == 1
        stored = desk.stored(message)
        content = desk.node.reads.content(stored.entry_index)
        assert stored.erased
        assert (content.body, content.wrap, content.stored_key) == (b"", b"", b"")
        (body,) = desk.bodies(Kind.ERASED)
        assert (body.refers_to, body.bulletin_id) == (stored.entry_index, stored.bulletin_id)
        assert body.retain_until_day == stored.retain_until_day == NOW_MS // DAY_MS + 1
        assert body.retention_rule == stored.retention_rule == 1
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
    from exchange.acts.stored_bulletin import corrected_by
    from exchange.v1 import bulletin_pb2

    correction = kept_for(9, 6)
    correction.header.relations.add(type=bulletin_pb2.RELATION_TYPE_CORRECTS, bulletin_id=target.header.bulletin_id)
    reads = receiver.node.reads
    assert corrected_by(correction, "HK-IMMD", reads, receiver.view.storage) is None
    control = sender.node.reads
    assert corrected_by(correction, "HK-IMMD", control, sender.view.storage) == target


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
    stored = sender.stored(message)
    day = stored.retain_until_day
    assert not is_due(stored, day, on_hold=False, erased_before=False)
    assert is_due(stored, day + 1, on_hold=False, erased_before=False)
    assert not is_due(stored, day + 1, on_hold=True, erased_before=False)
    assert is_due(stored, day, on_hold=True, erased_before=True)


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
    on_hold, free = kept_for(1, 11), kept_for(1, 12)
    delivered(sender, receiver, on_hold, free)
    assert receiver.hold(on_hold).count == receiver.hold(on_hold).count == 1
    receiver.pass_days(30)
    assert receiver.keep_up().erased == 1  # control: the other one
    assert receiver.stored(free).erased
    assert not receiver.stored(on_hold).erased
    assert receiver.hold(on_hold, ReadPurpose.RELEASE).count == 2
    assert receiver.keep_up().erased == 1
    set_, released = receiver.bodies(Kind.HOLD_SET), receiver.bodies(Kind.HOLD_RELEASED)
    assert [each.refers_to for each in set_] == [receiver.stored(on_hold).entry_index] * 2
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

    def hold(reader: Reader) -> legal_hold.Kept:
        act = partial(legal_hold.hold, reader=reader, view=receiver.view, random_bytes=os.urandom)
        return receiver.node.writer.run(act)

    assert hold(twice).count == 1  # control
    assert code_of(lambda: hold(twice)) == "REPLAYED"
    assert code_of(lambda: hold(other)) == "NO_SUCH_BULLETIN"
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


def test_a_request_about_a_reading_goes_when_that_goes_and_one_of_an_older_program_with_its_bulletin(
    receiver: Keeper, sender: Keeper
) -> None:
    first, second = kept_for(1, 16), kept_for(9, 17)
    delivered(sender, receiver, first, second)
    for message in (first, second):
        receiver.read(message)
        read = parse_read(receiver.request(message, ReadPurpose.TRIAGE).payload)
        [(position, _)] = receiver.node.reads.readings_after(-1, 100)[-1:]
        bare = replace(read, purpose=None, case="", reason="", sender="", bulletin_id=b"", statement_digest=b"")
        again, failed = replace(bare, position=position), replace(bare, position=position, outcome=Outcome.DAMAGED)
        old = older_read(replace(read, purpose=ReadPurpose.HOLD))
        for payload in (again.encode(), failed.encode(), old):
            receiver.node.writer.run(partial(add_reading, SignedPayload(payload=payload).encode()))
    assert len(receiver.node.reads.readings_after(-1, 100)) == 8
    receiver.pass_days(2)
    receiver.keep_up()
    assert len(receiver.node.reads.readings_after(-1, 100)) == 4
    receiver.pass_days(9)
    receiver.keep_up()
    assert receiver.node.reads.readings_after(-1, 100) == []


def add_reading(request: bytes, work: UnitOfWork) -> None:
    work.rows.add_reading(work.position(work.log.add(Body(kind=Kind.HEARTBEAT))), bytes(32), request)


# ------------------------------------------------------------------ storage keys


def test_a_storage_key_serves_thirty_days_and_living_keys_move_to_the_next(sender: Keeper, keyed: Keeper) -> None:
    message = kept_for(900, 31)
    delivered(sender, keyed, message)
    before, files = keyed.view.storage.present, key_files(keyed)
    keyed.pass_days(STORAGE_KEY_DAYS - 1)
    assert keyed.keep_up().storage_keys == 0
    assert keyed.view.storage.present == before  # control: not yet
    keyed.pass_days(1)
    keyed.keep_up()
    assert set(keyed.view.storage.secrets) > {before}
    assert keyed.view.storage.present != before
    assert keyed.read(message).stored.erased is False
    keyed.at_ms += DRAIN_MS
    assert keyed.keep_up().storage_keys == 1
    assert set(keyed.view.storage.secrets) == {keyed.view.storage.present}
    assert keyed.read(message).stored.erased is False
    for name, data in files.items():  # the random bytes were overwritten: the old second file opens for nobody
        assert (keyed.home / name).read_bytes() != data
    (keyed.home / SEALING_FILE).write_bytes(files[SEALING_FILE])
    assert code_of(lambda: load_sealing_keys(keyed.home, keyed.keys.derived)) == "UNOPENABLE"


def test_a_change_of_keys_that_was_cut_off_goes_on(sender: Keeper, keyed: Keeper) -> None:
    """Both keys on disk, some rows under the old one: the next run finishes, and nothing is lost."""
    first, second = kept_for(900, 32), kept_for(900, 33)
    delivered(sender, keyed, first)
    old = keyed.view.storage
    keyed.pass_days(STORAGE_KEY_DAYS)
    keyed.keep_up()
    new = keyed.view.storage
    keyed.node.set_keys(keyed.view.encryption, StorageKeys(old.present, new.secrets))
    delivered(sender, keyed, second)  # as an intake does that began before the change
    keyed.node.set_keys(keyed.view.encryption, new)
    keyed.at_ms += DRAIN_MS
    assert keyed.keep_up().storage_keys == 1
    for message in (first, second):
        assert keyed.read(message).stored.erased is False


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
