"""Logs of several epochs compared with each other: what a loss explains is told apart from what nobody explains."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace

import pytest

from audit.compare import pairs
from audit.compare.pairs import ComparedLog, OneSided, Pairing, own_number
from audit.entry.body import Body, parse_body
from audit.entry.entry import Entry, genesis_previous, leaf_hash, parse_entry
from audit.entry.kinds import Kind
from audit.note.checkpoint import VerifierKey, parse_note
from audit.note.epochs import epoch_of_origin
from audit.tiles.tiles import TileFolder
from tests.audit.compare.paired import AGENCIES, Logs
from tests.audit.compare.test_pairs import places, run
from tests.audit.forge import read_log, root, sign, write_log
from tests.support.world import keys_of

IMMD, DSI, NHRC = AGENCIES
LATER_US = 3_600_000_000
Make = Callable[[list[bytes]], list[Body]]


def begin_anew(
    logs: Logs, agency: str, *more: Body, stored: int | None = None, end_root: bytes | None = None
) -> list[bytes]:
    """Let an agency go on in epoch 2, an hour after its log ended; *stored* entries of epoch 1 stay in its home."""
    old, home, signer = logs.entries(agency), logs.home(agency), keys_of(agency).node.log
    name = f"{agency.lower()}.exercise.example/log"
    time_us = parse_entry(old[-1]).time_us + LATER_US
    restored = Body(kind=Kind.RESTORED, peer_size=len(old), peer_root=end_root or root(old))
    bodies = [*(parse_body(parse_entry(each).body) for each in old[:4]), restored, *more]
    made: list[bytes] = []
    link = genesis_previous(f"{name}/2", root(old))
    for index, body in enumerate(bodies):
        made.append(Entry(index=index, time_us=time_us, previous=link, body=body.encode()).encode())
        link = leaf_hash(made[-1])
    (home / "before-epoch-2").mkdir()
    kept = old if stored is None else old[:stored]
    if kept:
        key = VerifierKey(name=f"{name}/1", key=signer.key.public_key)
        write_log(home / "before-epoch-2/log", kept, sign(kept, signer, f"{name}/1"), key)
    key = VerifierKey(name=f"{name}/2", key=signer.key.public_key)
    write_log(home / "log", made, sign(made, signer, f"{name}/2"), key)
    return old


def compare(logs: Logs) -> Pairing:
    sides = []
    for agency in AGENCIES:
        for home in (logs.home(agency), logs.home(agency) / "before-epoch-2"):
            if not (home / "log").exists():
                continue
            folder = TileFolder(home / "log")
            read = parse_note(folder.note()).checkpoint
            epoch, number = epoch_of_origin(read.origin), own_number(folder, read.size)
            sides.append(ComparedLog(agency=agency, number=number, folder=folder, size=read.size, epoch=epoch))
    return pairs.compare(sides, {})


def about(rows: list[OneSided], one: str = IMMD, other: str = NHRC) -> list[tuple[str, int, str, str]]:
    """Keep the rows of two agencies: an altered log has other bytes for the third one's receipts, too."""
    return [each for each in places(rows) if {each[0], each[3]} == {one, other}]


def at(entries: list[bytes], index: int) -> Body:
    return parse_body(parse_entry(entries[index]).body)


def test_an_epoch_that_is_at_hand_pairs_whole_and_one_that_is_lost_is_told_with_its_restored(logs: Logs) -> None:
    begin_anew(logs, DSI)
    found = compare(logs)
    assert (found.pairs, found.one_sided, found.lost, found.behind) == (7, [], [], [])
    code, told = run(*map(logs.home, AGENCIES), "--roster", logs.roster)
    assert (code, told["pairs"], told["lost"]) == (0, 7, [])
    shutil.rmtree(logs.home(DSI) / "before-epoch-2")
    code, told = run(*map(logs.home, AGENCIES), "--roster", logs.roster)
    assert (code, told["pairs"], told["one_sided"], told["behind"]) == (7, 1, [], [])
    assert {each["peer"] for each in told["lost"]} == {DSI}
    assert all(each["restored"] == {"agency": DSI, "epoch": 2, "entry": 4} for each in told["lost"])


def test_epochs_are_given_as_separate_logs_too_and_each_once(logs: Logs) -> None:
    begin_anew(logs, DSI)
    aside = logs.homes / "aside"
    shutil.move(logs.home(DSI) / "before-epoch-2", aside)
    assert run(logs.home(IMMD), logs.home(DSI), aside)[0] == 0
    assert run(logs.home(IMMD), logs.home(DSI), aside, aside / "log")[0] == 2
    shutil.copytree(aside, logs.home(DSI) / "before-epoch-2")
    assert run(logs.home(IMMD), logs.home(DSI), aside)[0] == 2


def test_what_is_missing_in_the_part_at_hand_no_loss_explains(logs: Logs) -> None:
    received, size = logs.find(DSI, Kind.RECEIVED, IMMD), len(logs.entries(DSI))
    recorded = logs.find(IMMD, Kind.RECEIPT_RECORDED, DSI)
    queued = logs.find(IMMD, Kind.QUEUED, DSI)
    begin_anew(logs, DSI, stored=received)  # control: all from there on is lost
    found = compare(logs)
    assert found.one_sided == []
    assert (IMMD, recorded, "RECEIPT_RECORDED", DSI) in places([each.row for each in found.lost])
    # The entry is left out, and entries enough stand after it.
    home, signer = logs.home(DSI) / "before-epoch-2/log", keys_of(DSI).node.log
    origin = f"{DSI.lower()}.exercise.example/log/1"
    stored = read_log(home, received)
    filler = [stored[-1]] * (size - received - 1)
    write_log(home, [*stored, *filler], sign([*stored, *filler], signer, origin))
    found = compare(logs)
    assert (IMMD, queued, "QUEUED", DSI) in places(found.one_sided)
    assert (IMMD, recorded, "RECEIPT_RECORDED", DSI) in places(found.one_sided)


def test_a_restored_that_the_old_log_contradicts_is_found(logs: Logs) -> None:
    begin_anew(logs, DSI, end_root=bytes([7]) * 32)
    assert places(compare(logs).one_sided) == [(DSI, 4, "RESTORED", DSI)]


def test_a_receipt_in_the_later_epoch_names_the_delivery_of_the_earlier_one(logs: Logs) -> None:
    recorded = logs.find(IMMD, Kind.RECEIPT_RECORDED, NHRC)
    body = at(logs.entries(IMMD), recorded)
    logs.drop(IMMD, recorded)
    begin_anew(logs, IMMD, body._replace(refers_to_epoch=1))
    found = compare(logs)
    assert (about(found.one_sided), found.lost) == ([], [])


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_receipt_that_refers_elsewhere_is_found_in_every_epoch(logs: Logs, epoch: int) -> None:
    recorded = logs.find(IMMD, Kind.RECEIPT_RECORDED, NHRC)
    body = at(logs.entries(IMMD), recorded)
    logs.drop(IMMD, recorded)
    begin_anew(logs, IMMD, body._replace(refers_to_epoch=epoch, refers_to=body.refers_to - epoch))
    assert about(compare(logs).one_sided) == [(IMMD, 5, "RECEIPT_RECORDED", NHRC)]


def test_what_was_waiting_and_is_queued_again_is_judged_in_the_later_epoch_alone(logs: Logs) -> None:
    queued = logs.find(IMMD, Kind.QUEUED, NHRC)
    body = at(logs.entries(IMMD), queued)
    received = logs.find(NHRC, Kind.RECEIVED, IMMD)
    logs.drop(NHRC, received)
    logs.drop(IMMD, logs.find(IMMD, Kind.RECEIPT_RECORDED, NHRC))
    again = body._replace(delivery_digest=bytes([9]) * 32, refers_to_epoch=1, count=1)
    begin_anew(logs, IMMD, again)
    found = compare(logs)
    assert places(found.under_way) == [(IMMD, 5, "QUEUED", NHRC)]
    assert (about(found.one_sided), found.lost) == ([], [])
    lanes = {(lane.sender, lane.recipient, lane.epoch): lane.holes for lane in found.lanes}
    assert lanes[IMMD, NHRC, 1] == lanes[IMMD, NHRC, 2] == 0


def test_what_was_waiting_and_is_not_queued_again_is_lost_with_its_epoch(logs: Logs) -> None:
    logs.drop(NHRC, logs.find(NHRC, Kind.RECEIVED, IMMD))
    logs.drop(IMMD, logs.find(IMMD, Kind.RECEIPT_RECORDED, NHRC))
    queued = logs.find(IMMD, Kind.QUEUED, NHRC)
    begin_anew(logs, IMMD)
    found = compare(logs)
    assert places([each.row for each in found.lost]) == [(IMMD, queued, "QUEUED", NHRC)]
    assert about(found.one_sided) == []


def test_numbers_that_were_given_back_are_no_holes_in_the_lanes_of_the_later_epoch(logs: Logs) -> None:
    entries = logs.entries(IMMD)
    queued, recorded = (logs.find(IMMD, kind, DSI, 2) for kind in (Kind.QUEUED, Kind.RECEIPT_RECORDED))
    back = at(entries, queued)._replace(refers_to=at(entries, queued).refers_to, refers_to_epoch=1)
    receipt = at(entries, recorded)._replace(refers_to=5)
    fresh = back._replace(count=1, delivery_digest=bytes([8]) * 32, dispatch_digest=bytes([8]) * 32)
    begin_anew(logs, IMMD, back, receipt, fresh, stored=queued)
    found = compare(logs)
    [lane] = [lane for lane in found.lanes if (lane.sender, lane.recipient, lane.epoch) == (IMMD, DSI, 2)]
    assert (lane.numbers, lane.holes) == ((1, 0), 0)
    [old] = [lane for lane in found.lanes if (lane.sender, lane.recipient, lane.epoch) == (IMMD, DSI, 1)]
    assert old.cut
    assert not old.complete


def test_what_happened_after_the_recovery_no_loss_explains(logs: Logs) -> None:
    recorded = logs.find(IMMD, Kind.RECEIPT_RECORDED, NHRC)
    received = logs.find(NHRC, Kind.RECEIVED, IMMD)
    begin_anew(logs, IMMD, stored=recorded)
    assert (NHRC, received, "RECEIVED", IMMD) in places([each.row for each in compare(logs).lost])  # control

    def late(entries: list[bytes]) -> list[bytes]:
        read = [parse_entry(each) for each in entries]
        return [
            replace(each, time_us=each.time_us + 2 * LATER_US * (index >= received)).encode()
            for index, each in enumerate(read)
        ]

    logs.rewrite(NHRC, late)
    found = compare(logs)
    rows = places(found.one_sided) + places(found.under_way)
    assert (NHRC, received, "RECEIVED", IMMD) in rows


def test_a_root_that_no_epoch_had_is_found_and_one_of_a_lost_part_is_not_judged(logs: Logs) -> None:
    recorded = logs.find(IMMD, Kind.RECEIPT_RECORDED, NHRC)
    body = at(logs.entries(IMMD), recorded)
    logs.alter(IMMD, recorded, peer_root=bytes([3]) * 32)
    whole = begin_anew(logs, NHRC, *[Body(kind=Kind.NODE_STARTED)] * 20)  # longer than the size that is named
    assert about(compare(logs).one_sided) == [(IMMD, recorded, "RECEIPT_RECORDED", NHRC)]
    home, signer = logs.home(NHRC) / "before-epoch-2/log", keys_of(NHRC).node.log
    kept = whole[: body.peer_size - 1]
    write_log(home, kept, sign(kept, signer, f"{NHRC.lower()}.exercise.example/log/1"))
    assert about(compare(logs).one_sided) == []
    logs.alter(IMMD, recorded, peer_size=10_000)
    assert len(compare(logs).behind) == 1


@pytest.mark.parametrize("missing", [0, 1])
def test_a_receipt_that_a_whole_epoch_lacks_no_loss_explains(logs: Logs, missing: int) -> None:
    logs.drop(IMMD, logs.find(IMMD, Kind.RECEIPT_RECORDED, NHRC))
    received = logs.find(NHRC, Kind.RECEIVED, IMMD)
    begin_anew(logs, IMMD, stored=len(logs.entries(IMMD)) - missing)
    found, row = compare(logs), (NHRC, received, "RECEIVED", IMMD)
    assert about([each.row for each in found.lost]) == [row] * missing
    assert about(found.one_sided) == [row] * (1 - missing)


def test_what_had_to_come_before_the_lost_part_no_loss_explains(logs: Logs) -> None:
    received, queued = logs.find(NHRC, Kind.RECEIVED, IMMD), logs.find(IMMD, Kind.QUEUED, NHRC)
    logs.drop(IMMD, queued)
    size = len(logs.entries(IMMD))
    begin_anew(logs, IMMD, stored=size - 1)
    assert about([each.row for each in compare(logs).lost]) == [(NHRC, received, "RECEIVED", IMMD)]  # control

    home, signer = logs.home(IMMD) / "before-epoch-2/log", keys_of(IMMD).node.log
    kept = read_log(home, size - 1)
    last = parse_entry(kept[-1])
    kept[-1] = replace(last, time_us=last.time_us + LATER_US // 2).encode()  # the part at hand goes on long after
    write_log(home, kept, sign(kept, signer, f"{IMMD.lower()}.exercise.example/log/1"))
    assert about(compare(logs).one_sided) == [(NHRC, received, "RECEIVED", IMMD)]


def test_an_answer_that_is_said_again_in_a_later_epoch_is_no_second_one(logs: Logs) -> None:
    answer = at(logs.entries(NHRC), logs.find(NHRC, Kind.RECEIVED, IMMD))
    begin_anew(logs, NHRC, answer)
    found = compare(logs)
    assert (found.pairs, found.one_sided, found.lost) == (7, [], [])


def test_a_new_epoch_that_begins_elsewhere_than_the_one_before_was_closed_is_found(logs: Logs) -> None:
    old, signer, origin = begin_anew(logs, DSI), keys_of(DSI).node.log, f"{DSI.lower()}.exercise.example/log/1"
    folder, last = logs.home(DSI) / "before-epoch-2/log", parse_entry(old[-1])

    def end_with(*more: Body) -> None:
        made = list(old)
        for body in more:
            entry = Entry(index=len(made), time_us=last.time_us, previous=leaf_hash(made[-1]), body=body.encode())
            made.append(entry.encode())
        write_log(folder, made, sign(made, signer, origin))

    end_with(Body(kind=Kind.HEARTBEAT))  # control: what followed was given up, and RESTORED says from where
    assert compare(logs).one_sided == []
    end_with(Body(kind=Kind.EPOCH_CLOSED))
    [row] = compare(logs).one_sided
    assert (row.agency, row.kind, row.entry) == (DSI, "RESTORED", 4)
    assert row.why == f"epoch 1 was closed in order at size {len(old) + 1}, not {len(old)}"
