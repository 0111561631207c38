"""Epochs of a log: lanes that begin anew, receipts that outlive the epoch they were given in, databases of the past."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from audit.entry.entry import Kind, parse_body, parse_entry
from audit.log.log import Log
from audit.log.sqlite_lock import SqliteLock
from audit.note.checkpoint import Checkpoint, sign_checkpoint
from audit.record.lane import Delivery, delivery_digest, parse_delivery
from exchange.acts.delivery import check_ratchet, check_receipts, outgoing_after, sign_head
from exchange.acts.directory import records_of
from exchange.acts.intake import Message
from exchange.acts.lane_position import lane_id
from exchange.acts.reissue import renew
from exchange.acts.unit_of_work import UnitOfWork
from exchange.node import node
from exchange.node.node import EpochOverError, open_log
from exchange.records.lane_rules import LaneForkError
from exchange.recovery import first_group, swap_files
from exchange.recovery.swap_files import Plan, UnfinishedError
from exchange.store.home_paths import Paths
from exchange.store.log_position import epoch_of, index_of, log_position
from exchange.store.sqlite import SqliteStore
from keys.epoch import open_epoch
from keys.errors import IntegrityError, RefusedError, UnavailableError
from keys.identity import AgencyId
from keys.manifest import LogEpoch
from tests.support.home_files import DATABASE, LOCK
from tests.support.world import NOW_MS, Desk, advisory, catalogue, clock_at, keys_of, parcel_of, records

A, B = AgencyId("HK-SB"), AgencyId("TH-DSI")
ORIGIN = "hk-sb.exercise.example/log/1"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Desk, Desk]]:
    desks = Desk(A, tmp_path / "a"), Desk(B, tmp_path / "b")
    yield desks
    for desk in desks:
        desk.close()


def opened(end: Checkpoint):  # type: ignore[no-untyped-def] # the signed manifest
    """Sign A's manifest 2, which opens epoch 2."""
    opening = LogEpoch(epoch=2, previous_origin=end.origin, previous_size=end.size, previous_root=end.root)
    return open_epoch(keys_of(A).root.root, records().manifests[A], opening, NOW_MS)


def adopt(desk: Desk, end: Checkpoint) -> None:
    """Let a node know of A's new epoch."""
    desk.node.set_federation(desk.view.federation.with_manifest(opened(end), NOW_MS))


def message_of(sender: Desk, epoch: int, previous: bytes, serial: int) -> Message:
    """Make the first message of a lane to B that begins anew in *epoch*, with a bulletin of its own."""
    sender.publish(advisory(A, B, serial=serial))
    state = sender.node.reads.lane(outgoing=True, peer=B, lane_class=2, epoch=1)
    assert state is not None
    item = outgoing_after(sender.node.reads, state, state.sequence - 1, NOW_MS)[0]
    lane = replace(lane_id(state, sender.view), epoch=epoch)
    old = parse_delivery(item.delivery)
    made = Delivery(
        lane=lane, sequence=1, previous=previous, dispatch_digest=old.dispatch_digest, time_ms=old.time_ms
    ).encode()
    head = sign_head(lane, (1, delivery_digest(made)), 1, [], sender.view, next(sender._heads))
    return Message(parcels=(replace(parcel_of(item), delivery=made),), head=head)


def received(pair: tuple[Desk, Desk], count: int) -> list[bytes]:
    """Let B receive so many bulletins of A; the digests of their deliveries."""
    ours, theirs = pair
    for serial in range(1, count + 1):
        ours.publish(advisory(A, B, serial=serial))
    theirs.receive(ours.message_for(B), A)
    state = theirs.node.reads.lane(outgoing=False, peer=A, lane_class=2, epoch=1)
    assert state is not None
    return [row.digest for row in theirs.node.reads.inbound_after(state.row, 0, count)]


def test_a_place_is_an_index_in_the_first_epoch_and_grows_over_all() -> None:
    positions = [log_position(epoch, index) for epoch in (1, 2, 3) for index in (0, 1, 10**9)]
    assert positions == sorted(positions)
    assert positions[:3] == [0, 1, 10**9]
    assert [(epoch_of(each), index_of(each)) for each in positions][3:5] == [(2, 0), (2, 1)]


def test_a_lane_begins_anew_after_the_last_delivery_that_was_receipted(pair: tuple[Desk, Desk]) -> None:
    ours, theirs = pair
    digests = received(pair, 3)
    adopt(theirs, ours.node.log.checkpoint())
    [(answer, _)] = theirs.receive(message_of(ours, 2, digests[-1], 9), A)
    assert answer.sequence == 1
    stored = theirs.node.reads.lane(outgoing=False, peer=A, lane_class=2, epoch=2)
    assert stored is not None
    assert stored.sequence == 1


def test_a_restored_sender_may_remember_an_earlier_delivery_but_none_that_we_never_had(
    pair: tuple[Desk, Desk],
) -> None:
    ours, theirs = pair
    digests = received(pair, 3)
    adopt(theirs, ours.node.log.checkpoint())
    for stranger in (bytes(32), bytes(31) + b"\1"):
        with pytest.raises(LaneForkError):
            theirs.check(message_of(ours, 2, stranger, 8 + stranger[-1]), A)
    assert len(theirs.receive(message_of(ours, 2, digests[0], 11), A)) == 1


def test_no_lane_runs_in_an_epoch_that_is_not_open_or_has_a_successor(pair: tuple[Desk, Desk]) -> None:
    ours, theirs = pair
    digests = received(pair, 2)
    with pytest.raises(RefusedError, match="its newest is 1") as early:
        theirs.check(message_of(ours, 2, digests[-1], 8), A)
    adopt(theirs, ours.node.log.checkpoint())
    ours.publish(advisory(A, B, serial=7))
    with pytest.raises(RefusedError, match="its newest is 2") as late:
        theirs.check(ours.message_for(B, after=2), A)
    assert (early.value.code, late.value.code) == ("LANE_UNKNOWN", "LANE_UNKNOWN")


def test_receipts_after_a_change_of_epoch_hold_and_none_beyond_its_end_row_71(pair: tuple[Desk, Desk]) -> None:
    theirs, ours = pair  # here A answers what B has sent, and then A begins a new epoch
    ours.publish(advisory(B, A, serial=1))
    ours.publish(advisory(B, A, serial=2))
    answers = theirs.receive(ours.message_for(A), B)
    state = ours.node.reads.lane(outgoing=True, peer=A, lane_class=2, epoch=1)
    assert state is not None
    receipts = [(answer.sequence, receipt, None) for answer, receipt in answers]

    def settled() -> int:
        return len(check_receipts(receipts, lane=state, peer=A, view=ours.view, reads=ours.node.reads))  # type: ignore[arg-type] # receipts

    end = theirs.node.log.checkpoint()
    assert settled() == 2  # control: before the change
    before = ours.view.federation
    adopt(ours, end)
    assert ours.view.newest_epoch(A) == 2
    assert settled() == 2, "what an epoch proved holds after its end"
    ours.node.set_federation(before)
    adopt(ours, replace(end, size=end.size - 1))
    with pytest.raises(RefusedError, match="ended at size") as caught:
        settled()
    assert caught.value.code == "RECEIPT_INVALID"


def test_each_epoch_has_a_ratchet_of_its_own(pair: tuple[Desk, Desk]) -> None:
    ours, theirs = pair
    end = Checkpoint(origin=ORIGIN, size=80, root=bytes(32))
    theirs.node.writer.run(lambda w: w.rows.set_peer_checkpoint(A, 80, sign_checkpoint(end, keys_of(A).node.log)))
    adopt(theirs, end)
    small = replace(end, origin=ORIGIN[:-1] + "2", size=5)
    note = sign_checkpoint(small, keys_of(A).node.log)
    assert check_ratchet(note, [], peer=A, view=theirs.view, reads=theirs.node.reads) == small
    theirs.node.writer.run(lambda w: w.rows.set_peer_checkpoint(A, 5, note, 2))
    with pytest.raises(RefusedError, match="4 entries, 5 are known"):
        check_ratchet(
            sign_checkpoint(replace(small, size=4), keys_of(A).node.log),
            [],
            peer=A,
            view=theirs.view,
            reads=theirs.node.reads,
        )
    assert theirs.node.reads.peer_checkpoint(A) == (80, sign_checkpoint(end, keys_of(A).node.log))
    assert ours.view.newest_epoch(A) == 1


# ------------------------------------------------------------------ our own new epoch


def plan_for(desk: Desk) -> Plan:
    """Plan epoch 2 of A, with nothing from anybody."""
    end = desk.node.log.checkpoint()
    federation = desk.view.federation.with_manifest(opened(end), NOW_MS)
    view = replace(desk.view, federation=federation, epoch=2)
    return Plan(view=view, end=end, recovered=(), without=(), catalogue=catalogue().files)


def build(home: Path, plan: Plan) -> None:
    part = swap_files.part_of(home, 2)
    swap_files.copy_database(Paths(home=home), part).close()
    swap_files.build(
        Paths(home=home), part, plan, swap_files.copied_to(Paths(home=home), part), NOW_MS * 1000, os.urandom
    )


def start_in(desk: Desk, plan: Plan) -> None:
    """Start a node in its new epoch."""
    store, lock = SqliteStore(desk.home / DATABASE), SqliteLock.open(desk.home / LOCK)
    desk.node = node.Node(desk.home, plan.view, store, lock, os.urandom, clock_at(NOW_MS))
    desk.node.start()


def test_what_an_earlier_epoch_answered_is_said_again_once_where_a_proof_is_owed(pair: tuple[Desk, Desk]) -> None:
    ours, theirs = pair
    theirs.publish(advisory(B, A, serial=1))
    [(answer, _)] = ours.receive(theirs.message_for(A), B)
    plan = plan_for(ours)
    build(ours.home, plan)
    old = ours.node.entry
    with_store = SqliteStore(ours.home / "epoch-2.new" / DATABASE)
    log = Log.open(plan.view.origin, with_store.reader(), plan.end.root)
    stage = log.begin(NOW_MS * 1000)
    with with_store.transaction() as rows:
        work = UnitOfWork(rows, stage, NOW_MS)
        with pytest.raises(UnavailableError):
            renew(work, answer.entry_index, None)
        position = renew(work, answer.entry_index, lambda position: old(index_of(position)))
        assert renew(work, answer.entry_index, None) == position
        assert renew(work, position, None) == position
        assert epoch_of(position) == 2
        again, first = (
            parse_body(parse_entry(each).body) for each in (stage.entry(index_of(position)), old(answer.entry_index))
        )
        assert first.records, "what was in force then is said there; here those that stand before it"
        assert again == first._replace(records=records_of(rows, B))
        stage.write(rows)
    with_store.close()


def test_a_new_epoch_begins_with_genesis_our_records_and_restored(pair: tuple[Desk, Desk]) -> None:
    ours, _ = pair
    ours.publish(advisory(A, B, serial=1))
    plan = plan_for(ours)
    build(ours.home, plan)
    ours.close()
    before = swap_files.change_places(Paths(home=ours.home))
    store = SqliteStore(ours.home / DATABASE)
    bodies = [parse_body(parse_entry(each).body) for each in store.reads().read_entries(0, 40)]
    kinds = [Kind.GENESIS, Kind.ROSTER_ADOPTED, Kind.MANIFEST_ADOPTED, Kind.KEY_SHEET_ADOPTED, Kind.RESTORED]
    assert [body.kind for body in bodies[:5]] == kinds
    assert (bodies[4].peer_size, bodies[4].peer_root) == (plan.end.size, plan.end.root)
    with pytest.raises(EpochOverError):
        open_log(ORIGIN, None, store.reader(), "db")
    assert (before / DATABASE).exists()
    queued = next(body for body in bodies if body.kind == Kind.QUEUED)
    assert queued.refers_to_epoch == 1, "what waited is queued anew, and names the entry of the epoch before"
    store.close()
    start_in(ours, plan)


def test_a_database_of_an_epoch_that_has_a_successor_signs_nothing_row_61(pair: tuple[Desk, Desk]) -> None:
    ours, _ = pair
    plan = plan_for(ours)
    ours.node.stop()
    store, lock = SqliteStore(ours.home / DATABASE), SqliteLock.open(ours.home / LOCK)
    with pytest.raises(EpochOverError, match=r"does not begin a log of hk-sb\.exercise\.example/log/2"):
        node.Node(ours.home, plan.view, store, lock, os.urandom, clock_at(NOW_MS))
    store.close()
    lock.close()
    ours.start()  # control: in its own epoch it goes on


def test_a_home_without_its_lock_signs_nothing_and_a_recovery_makes_a_new_one_row_61(pair: tuple[Desk, Desk]) -> None:
    ours, _ = pair
    plan = plan_for(ours)
    ours.node.stop()
    for path in ours.home.glob(f"{LOCK}*"):
        path.unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        SqliteLock.open(ours.home / LOCK)
    build(ours.home, plan)
    swap_files.change_places(Paths(home=ours.home))
    lock = SqliteLock.open(ours.home / LOCK)
    assert lock.read(plan.view.origin) is not None
    assert lock.read(ORIGIN) is None
    lock.close()
    start_in(ours, plan)


@pytest.mark.parametrize("moved", range(8))
def test_a_recovery_that_was_interrupted_anywhere_goes_on_and_no_node_starts_meanwhile(
    pair: tuple[Desk, Desk], moved: int
) -> None:
    ours, _ = pair
    plan = plan_for(ours)
    ours.node.stop()
    build(ours.home, plan)
    home, fresh, before = ours.home, ours.home / "epoch-2.new", ours.home / "before-epoch-2"
    steps = [
        (home / name, before / name) for name in swap_files.moved_names(Paths(home=home)) if (home / name).exists()
    ]
    steps += [(fresh / name, home / name) for name in swap_files.fresh_names(Paths(home=home))]
    if moved:
        before.mkdir()
    for source, target in steps[:moved]:
        source.rename(target)
    with pytest.raises(UnfinishedError):
        swap_files.check_finished(home)
    swap_files.change_places(Paths(home=home))
    swap_files.check_finished(home)
    assert not fresh.exists()
    old = SqliteStore(before / DATABASE)
    assert old.reads().size() >= plan.end.size
    old.close()
    start_in(ours, plan)


def test_what_was_only_half_built_is_built_anew(pair: tuple[Desk, Desk]) -> None:
    ours, _ = pair
    plan = plan_for(ours)
    ours.node.stop()
    (ours.home / "epoch-2.part").mkdir()
    (ours.home / "epoch-2.part" / DATABASE).write_bytes(b"cut off")
    swap_files.check_finished(ours.home)
    with pytest.raises(IntegrityError):
        swap_files.change_places(Paths(home=ours.home))
    build(ours.home, plan)
    swap_files.change_places(Paths(home=ours.home))
    start_in(ours, plan)


def test_a_copy_that_numbered_otherwise_than_a_peer_received_is_not_entered(pair: tuple[Desk, Desk]) -> None:
    ours, _ = pair
    ours.publish(advisory(A, B, serial=1))
    plan = plan_for(ours)
    state = ours.node.reads.lane(outgoing=True, peer=B, lane_class=2, epoch=1)
    assert state is not None
    row = ours.node.reads.outbound(state.row, 0, 1)[0]

    def enter(work: UnitOfWork) -> None:
        delivery = parse_delivery(row.delivery)
        proven = _Proven(delivery, row.delivery)
        first_group._take_back(work, proven, B, plan.view)  # type: ignore[arg-type] # what it reads of it

    with pytest.raises(RefusedError, match="two copies of this node") as caught:
        ours.node.writer.run(enter)
    assert caught.value.code == "EQUIVOCATION"


class _Proven:
    """A delivery under a number that the home has given to another one."""

    def __init__(self, delivery: Delivery, data: bytes) -> None:
        self.lane, self.sequence, self.delivery, self.digest = delivery.lane, delivery.sequence, data, bytes(32)
