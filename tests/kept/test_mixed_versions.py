"""A federation whose members upgrade one after the other: older and newer programs exchange, each in processes of its own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kept.make import AGENCIES, Maker, note
from tests.kept.programs import of_commit, present
from tests.kept.releases import RELEASES, Release
from tests.support.running import type_line

WHY = ("--for", "C-1", "--because", "to compare")


@pytest.fixture(params=RELEASES, ids=lambda release: str(release.date))
def release(request: pytest.FixtureRequest) -> Release:
    found: Release = request.param
    return found


@pytest.fixture
def maker(release: Release, tmp_path: Path) -> Iterator[Maker]:
    """Three agencies founded by an older release, whose nodes it runs."""
    (tmp_path / "program").mkdir()
    (tmp_path / "homes").mkdir()
    made = Maker(tmp_path / "homes", of_commit(release.commit, tmp_path / "program"), free_ports())
    made.found()
    try:
        made.start(*AGENCIES)
        yield made
    finally:
        made.stop(*made.nodes)


def free_ports() -> dict[str, int]:
    """Find a pair of ports for each agency that nobody has now."""
    found: dict[str, int] = {}
    port = 23_100
    for agency in AGENCIES:
        while not (_is_free(port) and _is_free(port + 1)):
            port += 2
        found[agency], port = port, port + 2
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) != 0


def publish(maker: Maker, text: str) -> dict[str, str]:
    """Send from each agency to both others; returns the ids by sender."""
    return {agency: maker.publish(agency, "note", note(agency, *_others(agency), subject=text)) for agency in AGENCIES}


def _others(agency: str) -> list[str]:
    return [each for each in AGENCIES if each != agency]


def check_read(maker: Maker, sent: dict[str, str], text: str) -> None:
    """Have one of its recipients read each."""
    for agency, bulletin_id in sent.items():
        other = AGENCIES[(AGENCIES.index(agency) + 1) % len(AGENCIES)]
        assert text in str(maker.ask(other, "read", bulletin_id, *WHY))


def test_members_that_upgrade_one_after_the_other_lose_nothing_and_exchange(maker: Maker, release: Release) -> None:
    sent = {"All of the older release": publish(maker, "All of the older release")}
    maker.arrived()
    check_read(maker, sent["All of the older release"], "All of the older release")
    for agency in ("HK-SB", "HK-IMMD", "TH-DSI"):
        maker.stop(agency)
        maker.programs[agency] = present()
        maker.start(agency)
        if agency != "HK-IMMD":  # one of them is new, then all
            text = f"After {agency}"
            sent[text] = publish(maker, text)
            if release.mixes:
                maker.arrived()
                check_read(maker, sent[text], text)
    maker.arrived()  # also what an older node could not take meanwhile
    for text, bulletins in sent.items():
        check_read(maker, bulletins, text)
    for agency in AGENCIES:
        told = maker.ask(agency, "outbox")["items"]
        assert len(told) == len(sent)
        for each in told:  # every receipt, also of an older node, is verified
            assert [recipient["state"] for recipient in each["recipients"]] == ["received", "received"]
    maker.stop(*AGENCIES)
    for agency in AGENCIES:
        log, roster = maker.folder / agency / "log", maker.folder / "roster"
        typed = type_line(["audit", "verify", str(log), "--roster", str(roster)])
        assert typed.code == 0, typed.both
