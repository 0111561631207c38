"""Whatever a peer writes, a terminal obeys none of it: every command, with the nasty bulletins."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from exchange.authoring.draft import read_draft
from tests.support.running import Federation, Typed, running, type_line
from tests.support.scale import SLOW

NASTY = sorted((Path(__file__).resolve().parents[2] / "bulletins/nasty").glob("*.yaml"))
NAMES = ("HK-HKPF", "HK-IMMD", "HK-LEGCO", "HK-SB", "KH-NCCT", "TH-DSI", "TW-NHRC", "XI-IOM")
# These read every bulletin once; the others have the same ones once more.
READERS = ("HK-IMMD", "HK-LEGCO", "HK-SB", "KH-NCCT", "TH-DSI")
EACH = [each if each in READERS else pytest.param(each, marks=SLOW) for each in NAMES]
# C0 but newline, DEL, C1, and what changes a line's direction.
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def assert_harmless(typed: Typed) -> None:
    found = OBEYED.search(typed.both)
    assert found is None, f"U+{ord(found[0]):04X} in {typed.both[max(0, found.start() - 40) : found.end()]!a}"


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running(tmp_path_factory.mktemp("screens"), NAMES) as made:
        for file in NASTY:
            message = read_draft(file.read_bytes()).message
            assert message is not None
            typed = made.type(f"publish {file} --yes", message.header.originator)
            assert typed.code == 0, typed.both
            assert_harmless(typed)
        for name in NAMES:
            with made.client(name) as client:
                for sent in list(client.outbox()):
                    waiting = [each for each in sent.recipients if each.word == "waiting"]
                    if waiting:
                        made.await_received(client, sent)
        yield made


@pytest.mark.parametrize("file", NASTY, ids=lambda file: file.stem)
def test_row_44_check_shows_nothing_that_a_terminal_obeys(file: Path) -> None:
    assert_harmless(type_line(["check", str(file)]))


@pytest.mark.parametrize("name", EACH)
def test_row_44_lists_show_nothing_that_a_terminal_obeys(federation: Federation, name: str) -> None:
    for line in ("inbox", "inbox --subjects --for 'CASE 7' --because triage", "outbox"):
        typed = federation.type(line, name)
        assert typed.code == 0, typed.both
        assert_harmless(typed)
        as_json = federation.type(f"{line} --json", name)
        assert as_json.out.isascii()
        assert json.loads(as_json.out)["ok"]


@pytest.mark.parametrize("name", EACH)
def test_row_44_every_bulletin_is_read_harmlessly(federation: Federation, name: str) -> None:
    with federation.client(name) as client:
        items = list(client.inbox())
    for item in items:
        typed = federation.type(f"read {item.bulletin_id} --for 'CASE 7' --because 'to see it'", name)
        assert typed.code == 0, typed.both
        assert_harmless(typed)
        assert typed.out.splitlines()[0] == typed.out.splitlines()[-1]  # the marking, first and last
        assert typed.out.startswith("TLP:")


def test_control_every_bulletin_has_one_of_those_readers() -> None:
    for file in NASTY:
        message = read_draft(file.read_bytes()).message
        assert message is not None
        assert {each.agency for each in message.header.addressees} & set(READERS), file.stem


def test_row_44_a_reply_quotes_harmlessly(federation: Federation) -> None:
    with federation.client("KH-NCCT") as client:
        items = [each for each in client.inbox() if each.kind == "advisory"]
    for item in items:
        typed = federation.type(f"reply {item.bulletin_id} -m 'Seen.' --yes", "KH-NCCT")
        assert_harmless(typed)


@pytest.mark.parametrize(
    "text",
    ["\x1b[31mred", "\u202eevil", "\x9b31m", "a\x07b", "line\u2028break", "\u2067right"],
    ids=["escape", "override", "c1", "bell", "separator", "isolate"],
)
def test_row_44_errors_repeat_nothing_that_a_terminal_obeys(federation: Federation, text: str) -> None:
    home = str(federation.home("HK-SB"))
    for line in (
        ["read", text, "--for", "x", "--because", "y", "--home", home, "--as", "duty-1"],
        ["check", text],
        ["publish", text, "--home", home, "--as", text],
        ["audit", "verify", text],
        ["node", "status", "--home", text],
        ["help", text],
        [text],
    ):
        typed = type_line(line)
        assert typed.code != 0
        assert_harmless(typed)
