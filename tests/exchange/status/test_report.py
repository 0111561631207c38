"""A node tells the same numbers in status, in metrics and over HTTP, and nothing that somebody wrote."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exchange.demo.world import OFFICER
from exchange.status import prometheus
from exchange.status.report import COUNTDOWNS
from tests.exchange.status.exposition import Samples, read_exposition
from tests.support.running import Federation, note, running, type_line

A, B, C = "HK-IMMD", "HK-SB", "TH-DSI"


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running(tmp_path_factory.mktemp("status")) as made:
        client = made.client(B)
        made.await_received(client, client.publish(note("Canary of a subject", A, C)))
        yield made


def status(federation: Federation, agency: str) -> dict[str, object]:
    typed = type_line(["node", "status", "--json", "--home", str(federation.home(agency))])
    assert typed.code == 0, typed.both
    told: dict[str, object] = json.loads(typed.out)
    return told


def metrics(federation: Federation, agency: str) -> tuple[str, Samples]:
    typed = type_line(["node", "metrics", "--home", str(federation.home(agency))])
    assert typed.code == 0, typed.both
    return typed.out, read_exposition(typed.out)


def test_status_counts_down_and_says_who_follows_and_what_waits(federation: Federation) -> None:
    told = status(federation, B)
    assert {name: type(told[name]) for name in COUNTDOWNS} == dict.fromkeys(COUNTDOWNS, int)
    assert all(10 < int(str(told[name])) <= 366 for name in COUNTDOWNS)
    peers = told["peers"]
    assert isinstance(peers, list)
    assert [each["agency"] for each in peers] == [A, C]
    for each in peers:
        assert each["follows_since"].startswith(time.strftime("%Y-", time.gmtime()))
        assert (each["waiting"], each["oldest_waiting_seconds"]) == (0, 0)
    assert set(told["peer_checkpoints"]) == {A, C}  # type: ignore[call-overload] # read from JSON


def test_metrics_are_the_same_numbers(federation: Federation) -> None:
    told, (_, samples) = status(federation, B), metrics(federation, B)
    for name in COUNTDOWNS:
        assert samples[f"exchange_{name}", ""] == told[name]
    assert samples["exchange_bulletins", 'direction="sent"'] == told["sent"] == 1
    assert samples["exchange_peer_follows", f'agency="{C}"'] == 1
    assert samples["exchange_peer_waiting", f'agency="{C}"'] == 0
    assert samples["exchange_up", ""] == samples["exchange_signs", ""] == 1


def test_metrics_hold_no_word_of_a_bulletin_no_name_of_an_officer_and_no_id(federation: Federation) -> None:
    text, _ = metrics(federation, B)
    sent = federation.client(B).outbox()
    for word in ("Canary", OFFICER, *(each.bulletin_id for each in sent), *(each.number for each in sent)):
        assert word not in text
    everything = json.dumps(status(federation, B))
    for word in ("Canary", OFFICER, *(each.bulletin_id for each in sent)):
        assert word not in everything


def test_every_family_is_a_gauge_with_its_meaning(federation: Federation) -> None:
    text, samples = metrics(federation, A)
    assert {line.split()[-1] for line in text.splitlines() if line.startswith("# TYPE")} == {"gauge"}
    assert all(name.startswith("exchange_") for name, _ in samples)
    assert prometheus.CONTENT_TYPE.startswith("text/plain; version=0.0.4")


def test_a_home_that_is_none_ends_with_5(tmp_path: Path) -> None:
    for command in ("status", "metrics"):
        assert type_line(["node", command, "--home", str(tmp_path / "nowhere")]).code == 5
