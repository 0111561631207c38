"""Auditor's eyes: the figures are the log's, and the page is a page: no script, no network, no content."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from audit.cli.main import audit as group
from audit.entry.entry import Body, Entry, Kind, parse_entry
from audit.entry.kinds import RULES
from audit.note.checkpoint import VerifierKey
from audit.note.policy import WitnessPolicy
from audit.report.report import coverage, make_report
from audit.report.statistics import BINS_MS, GROUPS, OTHER, SLOTS, Statistics, bin_of, gather_statistics, median_bin
from audit.tiles.tiles import TileFolder
from audit.verify.verify import verify_log
from keys.signer import Ed25519Signer
from tests.audit.forge import chain, rechain, sign, write_log
from tests.audit.store import ORIGIN, START_US, digest, exchange_bodies, first_bodies
from tests.audit.witness.witness_world import cosigned, policy
from tests.support.browser import open_page

MINUTE_US = 60_000_000


def timed(bodies: list[tuple[int, Body]]) -> list[bytes]:
    """Chain bodies that stand at given microseconds after the beginning."""
    raw = chain([body for _, body in bodies])
    made = []
    for (at, _), entry in zip(bodies, raw, strict=True):
        parsed = parse_entry(entry)
        made.append(
            Entry(index=parsed.index, time_us=START_US + at, previous=parsed.previous, body=parsed.body).encode()
        )
    return rechain(made)


def story() -> list[tuple[int, Body]]:
    """A log of a few things: two deliveries, one answered after 250 ms, a refusal counted seven times, two silences."""
    lane: dict[str, Any] = {"peer": 2, "bulletin_id": bytes(range(16)), "dispatch_digest": digest(1)}
    rows = [(0, body) for body in first_bodies()]
    rows += [
        (
            1000,
            Body(
                kind=Kind.PUBLISHED, bulletin_id=bytes(range(16)), dispatch_digest=digest(1), statement_digest=digest(2)
            ),
        )
    ]
    rows += [(2000, Body(kind=Kind.QUEUED, delivery_digest=digest(3), refers_to=4, count=1, **lane))]
    rows += [(3000, Body(kind=Kind.QUEUED, delivery_digest=digest(4), refers_to=4, count=2, **(lane | {"peer": 3})))]
    answered: dict[str, Any] = {"peer_index": 9, "peer_leaf_hash": digest(5), "peer_size": 12, "peer_root": digest(6)}
    answer = Body(kind=Kind.RECEIPT_RECORDED, delivery_digest=digest(3), refers_to=5, outcome=1, **lane, **answered)
    rows += [(2000 + 250_000, answer)]
    rows += [(MINUTE_US, Body(kind=Kind.REFUSED, peer=3, outcome=20, count=7))]
    rows += [(2 * MINUTE_US, Body(kind=Kind.HEARTBEAT)), (9 * MINUTE_US, Body(kind=Kind.STARTED_ALONE, role=4))]
    return [*rows, (13 * MINUTE_US, Body(kind=Kind.HEARTBEAT))]


@pytest.fixture
def logged(tmp_path: Path, signer: Ed25519Signer, key: VerifierKey) -> TileFolder:
    entries = timed(story())
    return TileFolder(write_log(tmp_path / "log", entries, sign(entries, signer), key))


def page_of(folder: TileFolder, key: VerifierKey, known: WitnessPolicy | None = None) -> str:
    verdict = verify_log(folder.root, key=key)
    return make_report(folder, verdict, policy=known, members={2: "TH-DSI", 3: "TW-NHRC"}).decode()


def test_the_figures_are_those_of_the_log(logged: TileFolder) -> None:
    found = gather_statistics(logged)
    assert (found.size, found.kinds["QUEUED"], found.kinds["PUBLISHED"]) == (12, 2, 1)
    assert sum(sum(row) for row in found.activity.values()) == 12
    assert found.refusals == {"SIGNATURE_INVALID": 7}
    assert (found.peers[2].queued, found.peers[2].answered, found.peers[2].unanswered) == (1, 1, 0)
    assert (found.peers[3].queued, found.peers[3].answered, found.peers[3].unanswered) == (1, 0, 1)
    assert median_bin(found.latencies) == bin_of(250) == BINS_MS.index(300)
    assert [(index, (end - begin) // MINUTE_US) for index, begin, end in found.gaps] == [(10, 7), (11, 4)]
    assert [(index, kind) for index, _, kind in found.scars] == [(10, "STARTED_ALONE")]


def test_a_silence_of_three_heartbeats_is_none(tmp_path: Path, signer: Ed25519Signer) -> None:
    rows = [(0, body) for body in first_bodies()] + [(3 * MINUTE_US, Body(kind=Kind.HEARTBEAT))]
    entries = timed(rows)
    assert gather_statistics(TileFolder(write_log(tmp_path / "a", entries, sign(entries, signer)))).gaps == []
    entries = timed([*rows[:-1], (3 * MINUTE_US + 1, Body(kind=Kind.HEARTBEAT))])  # control
    assert len(gather_statistics(TileFolder(write_log(tmp_path / "b", entries, sign(entries, signer)))).gaps) == 1


@pytest.mark.parametrize(("ms", "number"), [(0, 0), (10, 0), (11, 1), (86_400_000, 10), (86_400_001, 11)])
def test_latency_bins_hold_their_upper_ends(ms: int, number: int) -> None:
    assert bin_of(ms) == number


def test_the_last_entry_falls_into_the_last_column() -> None:
    found = Statistics("x", 2, first_us=5, last_us=105)
    assert (found.slot(5), found.slot(105), found.slot(104)) == (0, SLOTS - 1, SLOTS - 1)


def test_the_page_tells_it_and_shows_what_was_not_verified(logged: TileFolder, key: VerifierKey) -> None:
    page = page_of(logged, key)
    for told in ("TH-DSI", "TW-NHRC", "STARTED_ALONE", "SIGNATURE_INVALID", "0 h 7 min 0 s", "end not anchored"):
        assert told in page
    assert "<script" not in page
    assert "style=" not in page  # the policy allows the one style sheet alone
    assert re.search(r"default-src &#39;none&#39;; style-src &#39;sha256-", page)


def test_coverage_ends_where_the_quorum_ends(logged: TileFolder, signer: Ed25519Signer, key: VerifierKey) -> None:
    entries = timed(story())
    known = policy(3, 2)
    assert coverage(logged, known).size == 0
    old = sign(entries[:9], signer)
    from audit.note.checkpoint import parse_note

    note = cosigned(old, parse_note(old).checkpoint, {1: 1_800_000_000, 3: 1_800_000_001})
    (logged.root / "witnessed").write_text(note)
    found = coverage(logged, known)
    assert (found.size, found.names) == (9, ("w1.example/witness", "w3.example/witness"))
    assert "9 of 12" in page_of(logged, key, known)
    alone = cosigned(old, parse_note(old).checkpoint, {1: 1_800_000_000})
    (logged.root / "witnessed").write_text(alone)
    assert coverage(logged, known).size == 0


def test_a_refuted_log_is_drawn_as_that_and_nothing_else(logged: TileFolder, key: VerifierKey) -> None:
    [bundle] = (logged.root / "tile/entries").rglob("*.p/*")
    data = bundle.read_bytes()
    bundle.write_bytes(data[:100] + bytes((data[100] ^ 1,)) + data[101:])
    page = page_of(logged, key)
    assert 'class="failed">Refuted' in page
    assert "<svg" not in page


def test_the_page_opens_in_a_browser_and_asks_for_nothing(
    tmp_path: Path, signer: Ed25519Signer, key: VerifierKey
) -> None:
    bodies = first_bodies()
    for number in range(40):
        bodies += exchange_bodies(number, len(bodies))
    entries = chain(bodies)
    folder = TileFolder(write_log(tmp_path / "log", entries, sign(entries, signer), key))
    (tmp_path / "log.html").write_text(page_of(folder, key))
    opened = open_page(tmp_path / "log.html", tmp_path)
    assert opened.dom.count("<svg") >= 5
    assert ORIGIN in opened.dom
    assert (opened.console, opened.requests) == ((), ())


def test_the_command_ends_as_verify_does_and_keeps_what_is_there(
    logged: TileFolder, key: VerifierKey, tmp_path: Path
) -> None:
    from click.testing import CliRunner

    words = ["report", str(logged.root), "--key", str(key), "-o", str(tmp_path / "log.html")]
    done = CliRunner().invoke(group, words)
    assert done.exit_code == 7, done.output  # nobody outside vouches for the end
    page = (tmp_path / "log.html").read_bytes()
    assert CliRunner().invoke(group, words).exit_code == 2
    assert (tmp_path / "log.html").read_bytes() == page
    assert CliRunner().invoke(group, ["report", str(tmp_path / "none"), "-o", str(tmp_path / "x")]).exit_code == 5


def test_with_json_the_verdict_on_the_page_is_one_object_and_so_is_each_failure(
    logged: TileFolder, key: VerifierKey, tmp_path: Path
) -> None:
    from click.testing import CliRunner

    page = str(tmp_path / "log.html")
    words = ["report", "--json", str(logged.root), "--key", str(key), "-o", page]
    done = CliRunner().invoke(group, words)
    told = json.loads(done.stdout)
    assert (done.exit_code, done.stderr) == (7, "")
    assert (told["file"], told["verdict"], told["origin"]) == (page, "verified, end not anchored", key.name)
    assert [each["step"] for each in told["steps"]] == list(range(1, 10))
    for bad, code in ((words, 2), (["report", "--json", str(tmp_path / "none"), "-o", str(tmp_path / "x")], 5)):
        done = CliRunner().invoke(group, bad)
        assert (done.exit_code, json.loads(done.stdout)["ok"], done.stderr) == (code, False, "")


def test_the_same_log_gives_the_same_page(logged: TileFolder, key: VerifierKey) -> None:
    assert page_of(logged, key) == page_of(logged, key)


def test_each_kind_is_counted_in_a_group_that_the_chart_has() -> None:
    assert {rule.group for rule in RULES.values()} == {*GROUPS, OTHER}
    assert list(RULES) == list(Kind)
