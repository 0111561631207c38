"""Logs of several agencies compared with each other: what one side leaves out, changes or invents is found."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit.compare import pairs
from audit.compare.pairs import ComparedLog, OneSided, own_number
from audit.entry.body import Body
from audit.entry.entry import parse_entry
from audit.entry.kinds import Kind
from audit.note.checkpoint import parse_note
from audit.tiles.tiles import TileFolder
from tests.audit.cli import typed
from tests.audit.compare.paired import AGENCIES, Logs

ROOT = Path(__file__).resolve().parents[3]


def logs_of(logs: Logs, *agencies: str) -> list[ComparedLog]:
    found = []
    for agency in agencies:
        folder = TileFolder(logs.home(agency) / "log")
        size = parse_note(folder.note()).checkpoint.size
        found.append(ComparedLog(agency=agency, number=own_number(folder, size), folder=folder, size=size))
    return found


def compare(logs: Logs, *agencies: str) -> pairs.Pairing:
    return pairs.compare(logs_of(logs, *(agencies or AGENCIES)), {})


def places(rows: list[OneSided]) -> list[tuple[str, int, str, str]]:
    return [(each.agency, each.entry, each.kind, each.peer) for each in rows]


def run(*words: object) -> tuple[int, dict[str, Any]]:
    done = typed.run("compare", "--json", *map(str, words))
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


def test_honest_logs_pair_and_their_lanes_are_complete(logs: Logs) -> None:
    found = compare(logs)
    assert (found.pairs, found.one_sided, found.under_way, found.behind) == (7, [], [], [])
    lanes = {(lane.sender, lane.recipient): (lane.numbers, lane.complete) for lane in found.lanes}
    assert lanes == {
        ("HK-IMMD", "TH-DSI"): ((3, 1), True),
        ("HK-IMMD", "TW-NHRC"): ((1, 0), True),
        ("TH-DSI", "HK-IMMD"): ((1, 0), True),
        ("TH-DSI", "TW-NHRC"): ((1, 0), True),
    }
    assert found.not_compared == {}


def test_joined_in_many_parts_the_result_is_the_same(logs: Logs) -> None:
    assert pairs.compare(logs_of(logs, *AGENCIES), {}, part_entries=2) == compare(logs)


def test_attack_12_an_answer_that_was_never_written_is_found_by_the_senders_log(logs: Logs) -> None:
    recorded = logs.find("HK-IMMD", Kind.RECEIPT_RECORDED, "TH-DSI")
    body = logs.bodies("HK-IMMD")[recorded]
    logs.drop("TH-DSI", body.peer_index)
    found = compare(logs)
    assert ("HK-IMMD", body.refers_to, "QUEUED", "TH-DSI") in places(found.one_sided)
    assert ("HK-IMMD", recorded, "RECEIPT_RECORDED", "TH-DSI") in places(found.one_sided)
    assert {each.agency for each in found.one_sided} == {"HK-IMMD"}
    # Control: each log by itself is well-formed, and witnessed; a pair without the two finds nothing.
    assert run(logs.home("HK-IMMD"), logs.home("TW-NHRC"))[0] == 0


def test_attack_12_a_delivery_that_was_never_queued_is_found_by_the_recipients_log(logs: Logs) -> None:
    queued = logs.find("HK-IMMD", Kind.QUEUED, "TH-DSI", 1)
    digest = logs.bodies("HK-IMMD")[queued].delivery_digest
    logs.drop("HK-IMMD", queued)
    found = compare(logs)
    [received] = [i for i, body in enumerate(logs.bodies("TH-DSI")) if body.delivery_digest == digest]
    assert ("TH-DSI", received, "RECEIVED", "HK-IMMD") in places(found.one_sided)
    [lane] = [lane for lane in found.lanes if (lane.sender, lane.recipient) == ("HK-IMMD", "TH-DSI")]
    assert lane.holes == 1
    assert not lane.complete


def test_what_both_keep_silent_about_shows_as_a_hole_in_the_lane(logs: Logs) -> None:
    queued = logs.find("HK-IMMD", Kind.QUEUED, "TH-DSI", 1)
    digest = logs.bodies("HK-IMMD")[queued].delivery_digest
    logs.drop("HK-IMMD", queued)
    logs.drop("TH-DSI", next(i for i, body in enumerate(logs.bodies("TH-DSI")) if body.delivery_digest == digest))
    found = compare(logs)
    assert all("another root" in each.why or each.kind == "RECEIPT_RECORDED" for each in found.one_sided)
    [lane] = [lane for lane in found.lanes if (lane.sender, lane.recipient) == ("HK-IMMD", "TH-DSI")]
    assert (lane.holes, lane.complete) == (1, False)


def test_attack_12_the_last_delivery_that_both_keep_silent_about_is_not_detectable(logs: Logs) -> None:
    """The limit that the README states: the lane ends one earlier in both logs, and nobody outside knows better."""
    queued = logs.find("TH-DSI", Kind.QUEUED, "TW-NHRC")
    digest = logs.bodies("TH-DSI")[queued].delivery_digest
    received = next(i for i, body in enumerate(logs.bodies("TW-NHRC")) if body.delivery_digest == digest)
    logs.drop("TH-DSI", queued)
    logs.drop("TW-NHRC", received)
    found = compare(logs, "TH-DSI", "TW-NHRC")
    assert (found.one_sided, found.pairs) == ([], 0)


def test_a_receipt_that_was_not_recorded_is_one_sided(logs: Logs) -> None:
    recorded = logs.find("TH-DSI", Kind.RECEIPT_RECORDED, "HK-IMMD")
    answer = logs.bodies("TH-DSI")[recorded].peer_index
    logs.drop("TH-DSI", recorded)
    logs.rewrite("TH-DSI", lambda entries: aged(entries, 60))
    assert places(compare(logs).one_sided) == [("HK-IMMD", answer, "RECEIVED", "TH-DSI")]


@pytest.mark.parametrize("field", ["peer_index", "peer_leaf_hash", "peer_root", "delivery_digest", "dispatch_digest"])
def test_a_receipt_of_another_entry_is_found_row_33(logs: Logs, field: str) -> None:
    recorded = logs.find("HK-IMMD", Kind.RECEIPT_RECORDED, "TH-DSI")
    value = getattr(logs.bodies("HK-IMMD")[recorded], field)
    wrong = value + 1 if isinstance(value, int) else bytes([value[0] ^ 1]) + value[1:]
    assert compare(logs).one_sided == []  # control: before
    logs.alter("HK-IMMD", recorded, **{field: wrong})
    found = compare(logs)
    assert ("HK-IMMD", recorded, "RECEIPT_RECORDED", "TH-DSI") in places(found.one_sided)


def test_a_receipt_that_refers_to_another_delivery_is_found(logs: Logs) -> None:
    recorded = logs.find("HK-IMMD", Kind.RECEIPT_RECORDED, "TH-DSI")
    logs.alter("HK-IMMD", recorded, refers_to=logs.find("HK-IMMD", Kind.QUEUED, "TH-DSI", 1))
    [*_, row] = [each for each in compare(logs).one_sided if each.entry == recorded]
    assert row.why.startswith("it refers to entry ")


def test_a_delivery_that_stands_in_a_log_twice_is_found(logs: Logs) -> None:
    queued = logs.find("HK-IMMD", Kind.QUEUED, "TH-DSI")
    logs.rewrite("HK-IMMD", lambda entries: [*entries, again(entries, queued)])
    assert any("stands here twice" in each.why for each in compare(logs).one_sided)


def again(entries: list[bytes], index: int) -> bytes:
    return replace(parse_entry(entries[index]), time_us=parse_entry(entries[-1]).time_us).encode()


def test_an_answer_that_names_another_dispatch_is_found(logs: Logs) -> None:
    received = logs.find("TH-DSI", Kind.RECEIVED, "HK-IMMD", 2)
    logs.alter("TH-DSI", received, dispatch_digest=bytes(range(32)))
    assert any("another dispatch" in each.why for each in compare(logs).one_sided)


def test_a_delivery_that_was_queued_when_the_logs_ended_is_under_way(logs: Logs) -> None:
    recorded = logs.find("TH-DSI", Kind.RECEIPT_RECORDED, "TW-NHRC")
    body = logs.bodies("TH-DSI")[recorded]
    logs.drop("TH-DSI", recorded)
    logs.drop("TW-NHRC", body.peer_index)
    found = compare(logs, "TH-DSI", "TW-NHRC")
    assert (found.one_sided, places(found.under_way)) == ([], [("TH-DSI", body.refers_to, "QUEUED", "TW-NHRC")])
    [lane] = [lane for lane in found.lanes if lane.recipient == "TW-NHRC"]
    assert not lane.complete
    code, told = run(logs.home("TH-DSI"), logs.home("TW-NHRC"))
    row = {"agency": "TH-DSI", "entry": body.refers_to, "kind": "QUEUED", "peer": "TW-NHRC"}
    assert (code, told["one_sided"]) == (7, [row])  # an excuse is no counterpart
    # Control: where the recipient's log goes on for longer than an answer takes, it is one-sided.
    logs.rewrite("TW-NHRC", lambda entries: aged(entries, 60))
    found = compare(logs, "TH-DSI", "TW-NHRC")
    assert (places(found.one_sided), found.under_way) == ([("TH-DSI", body.refers_to, "QUEUED", "TW-NHRC")], [])


def aged(entries: list[bytes], seconds: int) -> list[bytes]:
    """Let a log go on: one heartbeat so much later."""
    last = parse_entry(entries[-1])
    later = replace(last, time_us=last.time_us + seconds * 1_000_000, body=Body(kind=Kind.HEARTBEAT).encode())
    return [*entries, later.encode()]


def test_attack_04_a_log_cut_after_a_partner_saw_it_is_behind(logs: Logs) -> None:
    logs.rewrite("TH-DSI", lambda entries: entries[:-6])
    found = compare(logs)
    assert any(told.startswith("TH-DSI: its log ends before entry") for told in found.behind)
    assert run(*(logs.home(agency) for agency in AGENCIES))[0] == 7


def test_a_peer_without_a_log_here_is_named_as_not_compared(logs: Logs) -> None:
    code, told = run(logs.home("HK-IMMD"), logs.home("TW-NHRC"))
    assert code == 0
    assert {(each["agency"], each["peer"]) for each in told["not_compared"]} == {
        ("HK-IMMD", "member 3"),
        ("TW-NHRC", "member 3"),
    }
    _, told = run(logs.home("HK-IMMD"), logs.home("TW-NHRC"), "--roster", logs.roster)
    assert {each["peer"] for each in told["not_compared"]} == {"TH-DSI"}


def test_compare_says_what_it_found_in_json_and_by_its_exit_code(logs: Logs, tmp_path: Path) -> None:
    homes = [logs.home(agency) for agency in AGENCIES]
    code, told = run(*homes, "--roster", logs.roster)
    assert (code, told["pairs"], told["one_sided"]) == (0, 7, [])
    received = logs.find("TH-DSI", Kind.RECEIVED, "HK-IMMD")
    logs.drop("TH-DSI", received)
    code, told = run(*homes)
    assert code == 7
    assert all(set(each) == {"agency", "entry", "kind", "peer"} for each in told["one_sided"])
    assert len(told["why"]) == len(told["one_sided"]) > 0
    assert run(tmp_path / "nowhere", homes[0])[0] == 5
    assert run(homes[0])[0] == 2
    assert run(homes[0], homes[0])[0] == 2
    assert run(*homes, "--roster", tmp_path / "none")[0] == 5


def test_a_refuted_log_is_paired_with_nothing(logs: Logs) -> None:
    path = next(iter((logs.home("TH-DSI") / "log/tile/entries").glob("**/*.p/*")))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    code, told = run(logs.home("HK-IMMD"), logs.home("TH-DSI"))
    assert (code, told["pairs"], told["one_sided"]) == (6, 0, [])
    assert told["refuted"][0]["verdict"].startswith("refuted at entry ")


def test_a_log_of_another_key_than_the_rosters_is_refuted(logs: Logs) -> None:
    shutil.copy(logs.home("TH-DSI") / "log/log.vkey", logs.home("HK-IMMD") / "log/log.vkey")
    assert run(logs.home("HK-IMMD"), logs.home("TH-DSI"), "--roster", logs.roster)[0] == 6
