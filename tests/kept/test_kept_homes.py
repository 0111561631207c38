"""Homes that an older release has made open, migrate, are read, answered and verified, and go on exchanging."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import apsw
import pytest

from audit.entry.entry import Kind
from exchange.acts.erasing import erase_due
from exchange.store import sqlite_migrations
from exchange.store.sqlite_upgrade import copies
from keys.durations import DAY_MS
from keys.errors import RefusedError
from tests.kept.desks import KeptDesk
from tests.kept.make import AGENCIES
from tests.kept.releases import RELEASES, Release
from tests.support.running import type_line


@dataclass
class Kept:
    """The three homes of one release, opened by this program."""

    folder: Path
    story: dict[str, str]
    versions: dict[str, int]  # of the databases, as the release left them
    desks: dict[str, KeptDesk]


def version_of(path: Path) -> int:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    version = int(connection.pragma("user_version"))
    connection.close()
    return version


@pytest.fixture(scope="module", params=RELEASES, ids=lambda release: str(release.date))
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    release: Release = request.param
    folder = tmp_path_factory.mktemp(release.date)
    story = release.unpack(folder)
    versions = {agency: version_of(folder / agency / "node.db") for agency in AGENCIES}
    made = Kept(folder, story, versions, {agency: KeptDesk(folder / agency) for agency in AGENCIES})
    yield made
    for each in made.desks.values():
        each.close()


def test_each_home_opens_and_its_database_is_brought_up_with_a_copy_beside_it(kept: Kept) -> None:
    for agency in AGENCIES:
        path = kept.folder / agency / "node.db"
        assert version_of(path) == sqlite_migrations.NEWEST
        if kept.versions[agency] < sqlite_migrations.NEWEST:
            [copy] = copies(path)
            assert version_of(copy) == kept.versions[agency]
        assert (
            kept.desks[agency].bodies(Kind.NODE_STARTED)[-1].digest == kept.desks[agency].view.federation.roster_digest
        )


def test_officers_read_what_came_before_whether_or_not_they_had(kept: Kept) -> None:
    sb, dsi, immd = (kept.desks[agency] for agency in ("HK-SB", "TH-DSI", "HK-IMMD"))
    assert sb.read(kept.story["asked"]).information_request.questions[0].id == "Q1"
    assert dsi.read(kept.story["new"]).header.subject[0].text == "Nobody has read this"
    assert immd.read(kept.story["correction"]).correction.changes[0].new == "A meeting"
    assert immd.read(kept.story["reply"]).information_reply.answers[0].text[0].text == "Four came."
    assert immd.look(kept.story["asked"]).header.originator == "HK-IMMD"  # its own


def test_what_was_erased_stays_so_and_what_is_on_hold_is_kept(kept: Kept) -> None:
    with pytest.raises(RefusedError, match="erased"):
        kept.desks["HK-SB"].read(kept.story["erased"])
    assert kept.desks["TH-DSI"].find(kept.story["erased"]).erased
    assert kept.desks["HK-IMMD"].read(kept.story["erased"]).header.subject[0].text == "Past its day"


def test_an_old_bulletin_is_answered_and_what_waited_is_delivered(kept: Kept) -> None:
    immd, sb, dsi = (kept.desks[agency] for agency in AGENCIES)
    reply = sb.answer(sb.look(kept.story["asked"]), "Seven came.", serial=9)
    assert sb.send_all(immd) == 1
    assert immd.read(reply.header.bulletin_id) == reply
    assert sb.send_all(dsi) == 1
    assert immd.send_all(dsi) == 1
    assert dsi.read(kept.story["waiting"]).header.subject[0].text == "It waits"
    again = dsi.answer(dsi.look(reply.header.bulletin_id), "They were counted twice.", serial=10)
    assert (dsi.send_all(sb), dsi.send_all(immd)) == (1, 1)
    assert sb.read(again.header.bulletin_id) == immd.read(again.header.bulletin_id) == again


def test_the_logs_verify_from_their_first_entry_to_the_newest(kept: Kept) -> None:
    for agency, desk in kept.desks.items():
        desk.node.writer.run(lambda work: None)
        desk.node.files.stop()  # publishes what is there
        typed = type_line(
            ["audit", "verify", str(kept.folder / agency / "log"), "--roster", str(kept.folder / "roster")]
        )
        unproven = [
            line for line in typed.out.splitlines()[1:-1] if not line.endswith("  ok") and "outside" not in line
        ]
        assert typed.code in (0, 7), typed.both
        assert [line.split()[:2] for line in unproven] in ([], [["9", "witnesses"]])  # nobody has cosigned the newest


def test_the_copy_goes_before_anything_is_erased(kept: Kept) -> None:
    for agency, desk in kept.desks.items():
        later = desk.at_ms = desk.at_ms + 40 * 365 * DAY_MS
        count = erase_due(desk.node.store, desk.node.writer.run, desk.node.lock, later)
        assert count > 0
        assert copies(kept.folder / agency / "node.db") == []
