"""``exchange hold`` and ``exchange audit disclose`` at running nodes: typed as an officer types them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from exchange.client import Published
from tests.support.running import Federation, note, running, type_line

ROSTER = "roster"


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running(tmp_path_factory.mktemp("keeping"), ("HK-IMMD", "HK-SB", "TH-DSI")) as made:
        yield made


@pytest.fixture(scope="module")
def published(federation: Federation) -> Published:
    with federation.client("HK-SB") as client:
        made = client.publish(note("To be shown", "TH-DSI"))
        federation.await_received(client, made)
    return made


def test_an_officer_holds_and_releases_what_came_and_what_was_sent(
    federation: Federation, published: Published
) -> None:
    for agency in ("TH-DSI", "HK-SB"):
        typed = federation.type(f"hold {published.bulletin_id} --because 'a court asks' --json", agency)
        told = json.loads(typed.out)
        assert (typed.code, told["held"], told["count"]) == (0, True, 1)
        typed = federation.type(f"hold {published.number} --release --for C-1 --because 'it is over'", agency)
        assert typed.code == 0
        assert "may be erased when its day comes" in typed.out
        typed = federation.type(f"hold {published.number} --release --because 'once more' --json", agency)
        assert (typed.code, json.loads(typed.out)["code"]) == (5, "NO_SUCH_BULLETIN")


def test_fields_are_disclosed_verified_by_anybody_and_the_log_said_so_first(
    federation: Federation, published: Published, tmp_path: Path
) -> None:
    roster = next(federation.home("TH-DSI").parent.glob(f"{ROSTER}*"))
    for agency in ("TH-DSI", "HK-SB"):
        file = tmp_path / f"{agency}.disclosure"
        line = f"audit disclose {published.bulletin_id} --field subject --field kind --for C-1 --because 'the court' -o {file}"
        typed = federation.type(line, agency)
        assert typed.code == 0, typed.err
        assert "kind, subject of" in typed.out
        shown = federation.type(f"audit verify --json --roster {roster} {file}")
        told = json.loads(shown.out)
        assert (shown.code, told["verdict"], told["bulletin"]) == (0, "verified", published.bulletin_id)
        assert told["fields"] == {"kind": ["115"], "subject": ["en", "en", "To be shown"]}
        assert told["kind"] == ("RECEIVED" if agency == "TH-DSI" else "PUBLISHED")
        assert "stay shut" in federation.type(f"audit verify --roster {roster} {file}").out
        file.write_text(file.read_text().replace("subject ", "number ", 1))
        assert federation.type(f"audit verify --json --roster {roster} {file}").code == 6
        assert federation.type(f"audit verify {file}").code == 2  # no key: nothing to hold it against
        assert federation.type(f"audit verify --roster {roster}x {file}").code == 5
        assert federation.type(line, agency).code == 2  # the file stays
    with federation.client("TH-DSI") as client:
        kinds = [each for each in client.inbox() if each.bulletin_id == published.bulletin_id]
        assert kinds[0].opened


def test_dates_are_shown_as_times_to_people_and_as_they_were_signed_to_programs(
    federation: Federation, published: Published, tmp_path: Path
) -> None:
    roster = next(federation.home("TH-DSI").parent.glob(f"{ROSTER}*"))
    file = tmp_path / "dates.disclosure"
    line = f"audit disclose {published.bulletin_id} --field dates --for C-1 --because 'the court' -o {file}"
    assert federation.type(line, "TH-DSI").code == 0
    told = json.loads(federation.type(f"audit verify --json --roster {roster} {file}").out)
    issued = int(told["fields"]["dates"][0])
    shown = federation.type(f"audit verify --roster {roster} {file}").out
    assert f"  dates       {datetime.fromtimestamp(issued, UTC):%Y-%m-%dT%H:%M:%S}.000000Z" in shown


def test_disclose_names_the_fields_that_there_are(federation: Federation, published: Published, tmp_path: Path) -> None:
    line = f"audit disclose {published.bulletin_id} --field everything --for C-1 --because x -o {tmp_path / 'f'}"
    typed = federation.type(line, "TH-DSI")
    assert typed.code == 2
    assert "kind, number, originator" in typed.err
    line = f"audit disclose {published.bulletin_id} --field persons --for C-1 --because x -o {tmp_path / 'f'}"
    assert federation.type(line, "TH-DSI").code == 5
    assert not (tmp_path / "f").exists()


def test_a_running_homes_log_says_what_it_keeps_past_its_day(federation: Federation, published: Published) -> None:
    for agency in ("TH-DSI", "HK-SB"):
        typed = federation.type(f"audit retention --json {federation.home(agency)}")
        assert (typed.code, json.loads(typed.out)) == (0, {"overdue": []}), published.number


def test_the_status_of_a_running_home_says_that_its_node_signs(federation: Federation, published: Published) -> None:
    assert published.number
    typed = type_line(["node", "status", "--json", "--home", str(federation.home("HK-SB"))])
    told = json.loads(typed.out)
    assert (typed.code, told["signs"], told["process"]) == (0, True, os.getpid())
    assert set(told["cosigned"]) | set(told["missing"]) == set(told["witnesses"])
