"""`exchange audit evidence` on homes of a federation that runs, and on one that has stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import apsw
import pytest

from audit.entry.entry import Body, Kind, parse_body, parse_entry
from audit.evidence import file
from audit.evidence.verify import verify_evidence
from audit.evidence.zip import read_archive
from audit.note.checkpoint import parse_note
from audit.tiles.tiles import TileFolder
from audit.verify.rfc3161 import make_query
from exchange.client import Published
from exchange.demo.world import PASSPHRASE_FILE
from keys.dsse import SignedPayload
from tests.support.authority import make_authority
from tests.support.running import Federation, Typed, note, running, two_that_begin_alike, type_line

SENDER, RECIPIENTS = "HK-SB", ("HK-IMMD", "TH-DSI")
PURPOSE = "Court file 4 K 118/26"


def _publish(federation: Federation) -> Published:
    with federation.client(SENDER) as client:
        published = client.publish(note("the handover at the bridge", *RECIPIENTS))
        federation.await_received(client, published)
    return published


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Federation, Published]]:
    """Nodes that run; such small ones gather witnesses' lines every half minute, so their newest entries wait."""
    with running(tmp_path_factory.mktemp("running")) as federation:
        yield federation, _publish(federation)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Federation, Published]:
    """Homes whose nodes have stopped in order: their last checkpoints are cosigned."""
    with running(tmp_path_factory.mktemp("stopped")) as federation:
        published = _publish(federation)
    return federation, published


def test_whoever_is_asked_for_a_passphrase_is_named_with_the_agency(world: tuple[Federation, Published]) -> None:
    federation, published = world
    home = federation.home("HK-SB")
    for line in (
        ["inbox"],
        ["audit", "evidence", published.bulletin_id, "--purpose", "court", "-o", str(home / "none")],
    ):
        typed = type_line([*line, "--home", str(home), "--as", "duty-1"])
        assert typed.code == 4
        assert "the passphrase of HK-SB/duty-1 is needed, and there is no terminal to ask at" in typed.err


def _bodies(home: Path) -> list[Body]:
    # The node's own SQLite library: another one in this process would let go of the node's locks when it closes.
    database = apsw.Connection(str(home / "node.db"), flags=apsw.SQLITE_OPEN_READWRITE)
    rows = database.execute("SELECT entry FROM entries ORDER BY idx").fetchall()
    database.close()
    return [parse_body(parse_entry(entry).body) for (entry,) in rows]


def _last(home: Path, *kinds: Kind) -> int:
    return max(index for index, body in enumerate(_bodies(home)) if body.kind in kinds)


def _alone(home: Path, *words: str) -> Typed:
    """Type a command with the node's own passphrase."""
    handle = os.open(home / PASSPHRASE_FILE, os.O_RDONLY)
    try:
        return type_line([*words, "--home", str(home), "--passphrase-fd", str(handle)])
    finally:
        os.close(handle)


def _verified(federation: Federation, path: Path, exit_code: int = 0) -> dict[str, object]:
    typed = type_line(["audit", "verify", "--json", str(path), "--roster", str(federation.world.folder / "roster")])
    assert typed.code == exit_code, typed.both
    told: dict[str, object] = json.loads(typed.out)
    return told


def _while_running(federation: Federation, path: Path) -> str:
    """Return the verdict on a file of a node that runs: witnesses may or may not have come by in the meantime."""
    typed = type_line(["audit", "verify", "--json", str(path), "--roster", str(federation.world.folder / "roster")])
    told = json.loads(typed.out)
    left_open = [each["name"] for each in told["steps"] if each["result"] != "ok"]
    assert (typed.code, left_open) in ((0, []), (7, ["witnesses"])), typed.both
    verdict = str(told["verdict"])
    assert ("; not checked: witnesses" in verdict, "witnessed to" in verdict) == (typed.code == 7, typed.code == 0)
    return verdict


@pytest.mark.parametrize("agency", [SENDER, *RECIPIENTS])
def test_any_side_writes_evidence_without_content_and_without_a_key(
    stopped: tuple[Federation, Published], tmp_path: Path, agency: str
) -> None:
    federation, published = stopped
    before = len(_bodies(federation.home(agency)))
    home = ["--home", str(federation.home(agency)), "--purpose", PURPOSE, "--without-content"]
    for name in ("one.zip", "two.zip"):
        typed = type_line(["audit", "evidence", published.bulletin_id, *home, "-o", str(tmp_path / name)])
        assert typed.code == 0, typed.both
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    told = _verified(federation, tmp_path / "one.zip")
    assert str(told["verdict"]).startswith("verified, witnessed to ")
    assert str(told["verdict"]).endswith(", without content")
    assert b"handover" not in (tmp_path / "one.zip").read_bytes()
    printed = tmp_path / "one.pdf"
    assert printed.exists() is (find_spec("weasyprint") is not None)
    assert not printed.exists() or printed.read_bytes().startswith(b"%PDF-1.7")
    assert Kind.EXPORTED not in [body.kind for body in _bodies(federation.home(agency))[before:]]
    members = read_archive((tmp_path / "one.zip").read_bytes())
    assert (file.LANE_HEAD in members) is (agency != SENDER)


def test_where_nothing_can_be_written_nothing_is_opened_or_logged(
    stopped: tuple[Federation, Published], tmp_path: Path
) -> None:
    federation, published = stopped
    home, before = federation.home(SENDER), len(_bodies(federation.home(SENDER)))
    path = tmp_path / "nowhere" / "e.zip"
    typed = _alone(home, "audit", "evidence", published.bulletin_id, "--purpose", PURPOSE, "-o", str(path))
    assert (typed.code, len(_bodies(home))) == (2, before), typed.both
    assert f"{path} cannot be written" in typed.both


def test_an_officer_asks_a_running_node_and_the_log_has_it_first(
    world: tuple[Federation, Published], tmp_path: Path
) -> None:
    federation, published = world
    line = f"audit evidence {published.number} --purpose '{PURPOSE}' -o {tmp_path / 'e.zip'} --json"
    typed = federation.type(line, SENDER)
    assert typed.code == 0, typed.both
    told = json.loads(typed.out)
    body = _bodies(federation.home(SENDER))[told["exported"]]
    assert (body.kind, body.role) == (Kind.EXPORTED, 3)
    assert _while_running(federation, tmp_path / "e.zip").startswith("verified")
    members = read_archive((tmp_path / "e.zip").read_bytes())
    assert "the handover at the bridge" in members[file.TEXT].decode()
    assert members[file.PURPOSE].decode() == PURPOSE
    for entry in TileFolder(federation.home(SENDER) / "log").names():  # the purpose is in no file of the log
        assert PURPOSE.encode() not in (federation.home(SENDER) / "log" / entry).read_bytes()


def test_one_field_is_shown_while_the_rest_stays_shut(world: tuple[Federation, Published], tmp_path: Path) -> None:
    federation, published = world
    line = f"audit evidence {published.bulletin_id} --purpose x --field subject -o {tmp_path / 'f.zip'}"
    typed = federation.type(line, RECIPIENTS[0])
    assert typed.code == 0, typed.both
    assert "showing subject" in _while_running(federation, tmp_path / "f.zip")
    data = (tmp_path / "f.zip").read_bytes()
    members = read_archive(data)
    assert "the handover at the bridge" in members[file.TEXT].decode()
    assert b"cooperation" not in members[file.TEXT]
    assert b"2026-11-20" not in data  # the meeting's date, in the body that stays shut
    assert file.STATEMENT not in members


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["00000000", "--purpose", "x", "--without-content"], 5, "no bulletin '00000000' was sent or received here"),
        (["{id}", "--purpose", "", "--without-content"], 2, "1 to 500"),
        (["{id}", "--without-content"], 2, "--purpose"),
        (["{id}", "--purpose", "x", "--without-content", "--field", "subject"], 2, "give one of them"),
        (["{id}", "--purpose", "x", "--field", "secrets"], 2, "secrets"),
    ],
)
def test_wrong_use_gets_one_line(
    world: tuple[Federation, Published], tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    federation, published = world
    typed_words = [each.format(id=published.bulletin_id) for each in words]
    home = ["--home", str(federation.home(SENDER)), "-o", str(tmp_path / "e.zip")]
    typed = type_line(["audit", "evidence", *typed_words, *home])
    assert typed.code == code, typed.both
    assert said in typed.err
    assert "Traceback" not in typed.err
    assert not (tmp_path / "e.zip").exists()


def test_a_beginning_that_fits_two_bulletins_asks_for_more(world: tuple[Federation, Published], tmp_path: Path) -> None:
    federation, published = world
    with federation.client(SENDER) as client:
        one, two = two_that_begin_alike(client, *RECIPIENTS)
    common = one.bulletin_id[:8]  # an id begins with its minute
    home = [
        "--home",
        str(federation.home(SENDER)),
        "--purpose",
        "x",
        "--without-content",
        "-o",
        str(tmp_path / "e.zip"),
    ]
    typed = type_line(["audit", "evidence", common, *home])
    assert (typed.code, (tmp_path / "e.zip").exists()) == (2, False)
    assert all(f"{each.bulletin_id} of {SENDER}" in typed.err for each in (one, two))
    assert type_line(["audit", "evidence", published.bulletin_id, *home]).code == 0  # control


def test_an_existing_file_stays(world: tuple[Federation, Published], tmp_path: Path) -> None:
    federation, published = world
    (tmp_path / "e.zip").write_bytes(b"mine")
    home = [
        "--home",
        str(federation.home(SENDER)),
        "--purpose",
        "x",
        "--without-content",
        "-o",
        str(tmp_path / "e.zip"),
    ]
    assert type_line(["audit", "evidence", published.bulletin_id, *home]).code == 2
    assert (tmp_path / "e.zip").read_bytes() == b"mine"


def test_a_broken_file_ends_with_six_and_one_line(world: tuple[Federation, Published], tmp_path: Path) -> None:
    federation, published = world
    home = ["--home", str(federation.home(SENDER)), "--purpose", "x", "--without-content"]
    assert type_line(["audit", "evidence", published.bulletin_id, *home, "-o", str(tmp_path / "e.zip")]).code == 0
    data = (tmp_path / "e.zip").read_bytes()
    for bent in (data[:-1], data[:100], data[:4], data + data):
        (tmp_path / "bent.zip").write_bytes(bent)
        assert str(_verified(federation, tmp_path / "bent.zip", 6)["verdict"]).startswith("refuted: file: archive: ")


def test_a_roster_whose_signatures_were_altered_vouches_for_no_evidence(
    stopped: tuple[Federation, Published], tmp_path: Path
) -> None:
    federation, published = stopped
    home = ["--home", str(federation.home(SENDER)), "--purpose", "x", "--without-content"]
    assert type_line(["audit", "evidence", published.bulletin_id, *home, "-o", str(tmp_path / "e.zip")]).code == 0
    roster = SignedPayload.decode((federation.world.folder / "roster").read_bytes())
    first, *others = roster.signatures
    bent = replace(first, signature=first.signature[:-1] + bytes((first.signature[-1] ^ 1,)))
    control = roster.encode(), 0
    for data, code in (control, (replace(roster, signatures=(bent, *others)).encode(), 6), (_unsigned(roster), 6)):
        (tmp_path / "roster").write_bytes(data)
        words = ["audit", "verify", "--json", str(tmp_path / "e.zip"), "--roster", str(tmp_path / "roster")]
        typed = type_line(words)
        assert typed.code == code, typed.both
        assert str(json.loads(typed.out)["verdict"]).startswith("verified" if code == 0 else "not verified: ")


def _unsigned(signed: SignedPayload) -> bytes:
    return replace(signed, signatures=()).encode()


def test_the_earliest_time_stamp_over_the_bulletin_goes_in(
    stopped: tuple[Federation, Published], tmp_path: Path
) -> None:
    federation, published = stopped
    home = federation.home(RECIPIENTS[1])
    authority = make_authority(tmp_path / "tsa")
    (home / "timestamps").mkdir()
    note_text = (home / "log/checkpoint").read_text()
    size = parse_note(note_text).checkpoint.size
    (home / f"timestamps/{size}.note").write_text(note_text)
    (home / f"timestamps/{size}.tsr").write_bytes(authority.answer(make_query(note_text.encode()).der))
    words = ["audit", "evidence", published.bulletin_id, "--home", str(home), "--purpose", "x", "--without-content"]
    assert type_line([*words, "-o", str(tmp_path / "e.zip")]).code == 0
    assert "time" in str(_verified(federation, tmp_path / "e.zip", 7)["verdict"])
    roster = ["--roster", str(federation.world.folder / "roster"), "--tsa-ca", str(authority.ca)]
    typed = type_line(["audit", "verify", str(tmp_path / "e.zip"), *roster])
    assert typed.code == 0, typed.both
    assert "as CN=Clock,O=Exercise stamped it" in typed.out
    missing = type_line(["audit", "verify", str(tmp_path / "e.zip"), *roster[:3], str(tmp_path / "none.pem")])
    assert (missing.code, "Traceback" in missing.err) == (5, False)


def test_a_stopped_home_is_opened_by_its_operator_and_an_erased_bulletin_is_still_proved(
    stopped: tuple[Federation, Published], tmp_path: Path
) -> None:
    federation, published = stopped
    home = federation.home(SENDER)
    words = ["audit", "evidence", published.bulletin_id, "--purpose", PURPOSE, "-o"]
    # Nothing is opened while the log cannot be written.
    connection = apsw.Connection(str(home / "node.db"))
    connection.execute("BEGIN IMMEDIATE")
    before = len(_bodies(home))
    assert _alone(home, *words, str(tmp_path / "none.zip")).code != 0
    connection.execute("ROLLBACK")
    connection.close()
    assert not (tmp_path / "none.zip").exists()
    assert len(_bodies(home)) == before
    typed = _alone(home, *words, str(tmp_path / "e.zip"))
    assert typed.code == 0, typed.both
    new = [body.kind for body in _bodies(home)[before:]]
    assert new.index(Kind.STARTED_ALONE) < new.index(Kind.EXPORTED)
    assert _bodies(home)[_last(home, Kind.EXPORTED)].role == 4  # operator
    assert str(_verified(federation, tmp_path / "e.zip")["verdict"]).startswith("verified, witnessed to ")
    _erase(home)
    assert _alone(home, *words, str(tmp_path / "gone.zip")).code == 4  # KEY_GONE
    assert not (tmp_path / "gone.zip").exists()
    shut = [*words, str(tmp_path / "shut.zip"), "--without-content", "--home", str(home)]
    assert type_line(shut).code == 0
    assert str(_verified(federation, tmp_path / "shut.zip")["verdict"]).endswith(", without content")
    assert file.ERASED in read_archive((tmp_path / "shut.zip").read_bytes())
    assert verify_evidence((tmp_path / "e.zip").read_bytes()).exit_code == 7  # what was taken out before stays proof


def _erase(home: Path) -> None:
    """Erase the one bulletin, as the daily work would when its day has come."""
    from exchange.acts.erasing import erase
    from exchange.node.home import open_node

    node, _ = open_node(home, (home / PASSPHRASE_FILE).read_bytes().strip())
    node.open()
    node.begin(alone=True)
    [stored] = node.reads.stored_since(-1, 10, sent=True)
    node.writer.run(lambda work: erase(work, [stored], lambda digest: True, lambda digests: None))
    node.stop()
