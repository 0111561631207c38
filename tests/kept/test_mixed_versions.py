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
def maker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Maker]:
    """Three agencies founded by an older release, whose nodes it runs."""
    release: Release = request.param
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


def exchange(maker: Maker, text: str) -> list[str]:
    """Send from each agency to both others, and have one of them read each; returns the ids."""
    sent = {}
    for agency in AGENCIES:
        others = [each for each in AGENCIES if each != agency]
        sent[agency] = maker.publish(agency, "note", note(agency, *others, subject=text))
    maker.arrived()
    for agency, bulletin_id in sent.items():
        other = AGENCIES[(AGENCIES.index(agency) + 1) % len(AGENCIES)]
        assert text in str(maker.ask(other, "read", bulletin_id, *WHY))
    return list(sent.values())


def test_members_that_upgrade_one_after_the_other_exchange_all_the_time(maker: Maker) -> None:
    before = exchange(maker, "All of the older release")
    for agency in ("HK-SB", "HK-IMMD", "TH-DSI"):
        maker.stop(agency)
        maker.programs[agency] = present()
        maker.start(agency)
        if agency != "HK-IMMD":  # one is new, then all
            exchange(maker, f"After {agency}")
    for bulletin_id in before:  # what came before is read after, by author's side and recipients
        for agency in AGENCIES:
            listed = [item["bulletin_id"] for item in maker.ask(agency, "inbox")["items"]]
            if bulletin_id in listed:
                assert "All of the older release" in str(maker.ask(agency, "read", bulletin_id, *WHY))
    for agency in AGENCIES:
        for told in maker.ask(agency, "outbox")["items"]:  # every receipt of an older node is verified
            assert [each["state"] for each in told["recipients"]] == ["received", "received"]
    maker.stop(*AGENCIES)
    for agency in AGENCIES:
        typed = type_line(
            ["audit", "verify", str(maker.folder / agency / "log"), "--roster", str(maker.folder / "roster")]
        )
        assert typed.code == 0, typed.both
