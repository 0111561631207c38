"""Request, answer, adoption: typed on a running node and on a stopped one, and what an officer notices of it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from exchange.cli.officer.inbox import say_ending
from exchange.client import Client, Surroundings
from exchange.demo.world import OFFICER, PASSPHRASE_FILE, found_world
from exchange.node.node import now_ms
from keys import certificate
from keys.agency import CA_FILE, TLS_FILE
from keys.durations import DAY_MS
from keys.key_files import ROOT_FOLDER, officer_folder
from tests.support.running import SECONDS, Federation, Typed, running, type_line

A, B = "HK-SB", "TH-DSI"


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running(tmp_path_factory.mktemp("renewal"), (A, B)) as made:
        yield made


def typed(home: Path, *words: str | Path) -> Typed:
    """Type a command with the passphrase of a home at hand."""
    handle = os.open(home / PASSPHRASE_FILE, os.O_RDONLY)
    try:
        return type_line([*map(str, words), "--passphrase-fd", str(handle)])
    finally:
        os.close(handle)


def machine_of_officer(home: Path, folder: Path) -> Path:
    """Copy what an officer's own machine has."""
    officer_folder(folder, OFFICER).parent.mkdir(parents=True)
    shutil.copytree(officer_folder(home, OFFICER), officer_folder(folder, OFFICER))
    for name in ("node.toml", CA_FILE, TLS_FILE):
        shutil.copy(home / name, folder / name)
    return folder


def test_one_file_each_way_and_no_officer_does_anything(federation: Federation, tmp_path: Path) -> None:
    home, agency = federation.home(A), federation.agency(A)
    own = machine_of_officer(home, tmp_path / "laptop")
    before = (officer_folder(own, OFFICER) / TLS_FILE).read_bytes()
    asked = type_line(["node", "renewal-request", "--home", str(home), "-o", str(tmp_path / "request")])
    assert asked.code == 0, asked.err
    assert "HK-SB asks to renew manifest 1 and 2 certificates" in asked.out
    assert "exchange keys renew request --home FOLDER -o renewal" in asked.err
    shown = type_line(["keys", "show", str(tmp_path / "request")])
    assert f"certificates the node, {OFFICER}" in shown.out
    (tmp_path / "offline").mkdir()
    shutil.copytree(home / ROOT_FOLDER, tmp_path / "offline" / ROOT_FOLDER)
    where = ["--home", tmp_path / "offline", "-o", tmp_path / "renewal"]
    answered = typed(home, "keys", "renew", tmp_path / "request", *where)
    assert answered.code == 0, answered.err
    adopted = type_line(["node", "adopt", "--home", str(home), str(tmp_path / "renewal")])
    assert (adopted.code, adopted.err) == (0, "")
    assert adopted.out.startswith("adopted manifest 2 of HK-SB and 2 certificates; in force here, told to ")
    again = type_line(["node", "adopt", "--home", str(home), str(tmp_path / "renewal"), "--json"])
    assert json.loads(again.out)["known"] == ["manifest 2 of HK-SB and 2 certificates"]
    other = type_line(["node", "adopt", "--home", str(federation.home(B)), str(tmp_path / "renewal")])
    assert (other.code, other.out) == (6, "")
    assert "renewal: a renewal for HK-SB, this is TH-DSI's node (WRONG_MAKER)" in other.err
    for _ in range(2):  # with the old certificate, then with the new one
        surroundings = Surroundings(deadline_seconds=SECONDS)
        Client.connect(own, OFFICER, keys=agency.officer_keys, surroundings=surroundings).close()
        after = (officer_folder(own, OFFICER) / TLS_FILE).read_bytes()
        assert after == (officer_folder(home, OFFICER) / TLS_FILE).read_bytes() != before
    assert certificate.spki_sha256(after) == certificate.spki_sha256(before)


def test_a_truncated_renewal_changes_nothing(federation: Federation, tmp_path: Path) -> None:
    home = federation.home(A)
    kept = (home / TLS_FILE).read_bytes()
    type_line(["node", "renewal-request", "--home", str(home), "-o", str(tmp_path / "request")])
    typed(home, "keys", "renew", tmp_path / "request", "--home", home, "-o", tmp_path / "renewal")
    (tmp_path / "renewal").write_bytes((tmp_path / "renewal").read_bytes()[:-50])
    refused = type_line(["node", "adopt", "--home", str(home), str(tmp_path / "renewal")])
    assert (refused.code, refused.out) == (2, "")
    assert f"{tmp_path / 'renewal'} is no signed record" in refused.err
    assert "(MALFORMED)" in refused.err
    assert (home / TLS_FILE).read_bytes() == kept


def test_every_officer_is_told_what_ends_soon(federation: Federation, capsys: pytest.CaptureFixture[str]) -> None:
    agency = federation.agency(B)

    def client(days: int) -> Client:
        around = Surroundings(deadline_seconds=SECONDS, clock_ms=lambda: now_ms() + days * DAY_MS)
        return Client.connect(agency.home, OFFICER, keys=agency.officer_keys, surroundings=around)

    with client(0) as node:
        assert say_ending(node) == []
    with client(342) as node:
        told = {each["what"]: each["days"] for each in say_ending(node)}
    assert {"roster", "manifest", "certificate", "key", "windows"} == set(told)
    assert told["manifest"] in (22, 23)
    said = capsys.readouterr().err
    ask = "your operator runs exchange node renewal-request"
    assert f"exchange: TH-DSI's manifest ends in {told['manifest']} days; {ask}\n" in said
    assert f"exchange: TH-DSI/{OFFICER}'s key ends in " in said
    assert "exchange: TH-DSI's encryption windows ended " in said


def test_a_stopped_node_asks_and_adopts_with_its_passphrase(tmp_path: Path) -> None:
    world = found_world(tmp_path / "world", now_us=now_ms() * 1000, random_bytes=os.urandom, names=(A, B))
    world.reserved_ports.close()
    home = next(each.home for each in world.agencies if each.id == B)
    asked = typed(home, "node", "renewal-request", "--home", home, "-o", tmp_path / "request")
    assert asked.code == 0, asked.err
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    (wrong / PASSPHRASE_FILE).write_bytes(b"another\n")
    refused = typed(wrong, "node", "renewal-request", "--home", home, "-o", tmp_path / "second")
    assert refused.code == 4
    assert not (tmp_path / "second").exists()
    typed(home, "keys", "renew", tmp_path / "request", "--home", home, "-o", tmp_path / "renewal")
    before = (home / TLS_FILE).read_bytes()
    adopted = typed(home, "node", "adopt", "--home", home, tmp_path / "renewal")
    assert adopted.out == "adopted manifest 2 of TH-DSI and 2 certificates; in force from the next start on\n"
    assert (home / TLS_FILE).read_bytes() != before
