"""``exchange witness``: an oversight body without a node, from its keys to its HTTP answers."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from audit.note.checkpoint import VerifierKey
from audit.note.cosignature import parse_cosigner_key, parse_lines, verify_cosignature
from audit.verify.trust import policy_of
from audit.witness.request import MAX_REQUEST_BYTES
from exchange.cli.main import run
from exchange.cli.operator.witness_home import (
    load_application,
    load_trusted,
    make_home,
    open_witness,
    trust,
)
from exchange.cli.operator.witness_http import WitnessServer
from exchange.demo.federation import found_roster
from keys.agency import AgencyKeys
from keys.ceremony import agency_manifest, save_signed
from keys.dsse import SignedPayload, sign
from keys.errors import IntegrityError, RefusedError
from keys.manifest import LogEpoch, parse_manifest
from keys.roster import roster_digest, verify_first_roster
from keys.words import words
from tests.audit.witness.witness_world import TIME, GrowingLog
from tests.keys.world import NOW as NOW_MS
from tests.keys.world import agency
from tests.support.home_files import WITNESS

NAME, PASSPHRASE = "oversight.example/witness", b"correct horse"
CATALOGUE = b"\xca" * 32
ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="module")
def agencies() -> list[AgencyKeys]:
    return [agency("HK-SB"), agency("KH-NCCT")]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, agencies: list[AgencyKeys]) -> tuple[Path, SignedPayload]:
    """Return a witness's home and a roster that names it."""
    home = tmp_path_factory.mktemp("oversight") / "home"
    application = make_home(home, NAME, PASSPHRASE)
    roster = found_roster(agencies, now_ms=NOW_MS, catalogue=CATALOGUE, witnesses=[application])
    save_signed(home.parent / "roster", roster)
    trust(home, roster, (), NOW_MS)
    return home, roster


def log_of(keys: AgencyKeys, epoch: int = 1) -> GrowingLog:
    origin = f"{keys.application.member.log_name}/{epoch}"
    return GrowingLog(origin=origin, signer=keys.node.log).grow(20, salt=str(epoch))


@pytest.fixture
def home(made: tuple[Path, SignedPayload], tmp_path: Path) -> Path:
    """Return a copy of the home that has cosigned nothing."""
    import shutil

    return Path(shutil.copytree(made[0], tmp_path / "home"))


@contextmanager
def serving(home: Path, seconds: float) -> Iterator[WitnessServer]:
    """Run a server of four connections."""
    opened = open_witness(home, PASSPHRASE, lambda: TIME)
    running = WitnessServer(("127.0.0.1", 0), opened, request_seconds=seconds, max_connections=4)
    thread = threading.Thread(target=running.serve_forever, args=(0.1,))
    thread.start()
    try:
        yield running
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


@pytest.fixture
def server(home: Path) -> Iterator[WitnessServer]:
    """Return a running server."""
    with serving(home, 30.0) as running:
        yield running


def ask(
    server: WitnessServer, body: bytes, method: str = "POST", path: str = "/add-checkpoint"
) -> tuple[int, str, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=120)) as line:
        line.request(method, path, body)
        with line.getresponse() as answer:
            return answer.status, answer.getheader("Content-Type", ""), answer.read().decode()


def test_a_log_is_cosigned_over_http_with_both_keys(
    server: WitnessServer, agencies: list[AgencyKeys], made: tuple[Path, SignedPayload]
) -> None:
    log = log_of(agencies[0])
    status, kind, text = ask(server, log.request(0, 7))
    assert (status, kind) == (200, "text/plain; charset=utf-8")
    policy = policy_of(verify_first_roster(made[1]), "HK-SB")
    named = {(key.name, key.key_hash): key for key in (*policy.witnesses, *policy.mldsa44)}
    lines = parse_lines(text)
    assert [len(line.signature) for line in lines] == [72, 2428]
    for line in lines:
        assert verify_cosignature(line, log.checkpoint(7), named[line.name, line.key_hash]) == TIME
    assert ask(server, log.request(7, 20))[0] == 200


def test_every_status_is_the_protocol_s(server: WitnessServer, agencies: list[AgencyKeys]) -> None:
    log = log_of(agencies[0])
    stranger = GrowingLog(origin="xx-yy.exercise.example/log/1").grow(3)
    assert ask(server, stranger.request(0))[0] == 404
    thief = GrowingLog(origin=log.origin, tree=log.tree)
    assert ask(server, thief.request(0))[0] == 403
    assert ask(server, b"old x\n\n")[0] == 400
    assert ask(server, log.request(0, 7))[0] == 200
    assert ask(server, log.request(0, 20)) == (409, "text/x.tlog.size", "7\n")
    bad = log.request(7, 20).replace(b"old 7\n", b"old 7\n" + b"A" * 43 + b"=\n")
    assert ask(server, bad)[0] == 422
    assert ask(server, log.request(7, 20), path="/other")[0] == 404
    assert ask(server, b"", "GET")[0] == 501


def test_a_fork_is_kept_and_shown(
    server: WitnessServer, home: Path, agencies: list[AgencyKeys], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = log_of(agencies[0])
    other = GrowingLog(origin=log.origin, signer=log.signer).grow(20, salt="other")
    assert ask(server, log.request(0))[0] == 200
    assert ask(server, other.request(20))[:2] == (409, "text/x.tlog.size")
    assert run(["witness", "show", "--home", str(home), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["forks"], told["logs"][0]["size"]) == ([log.origin], 20)
    evidence = tmp_path / "fork"
    assert run(["witness", "fork", "--home", str(home), log.origin, "-o", str(evidence)]) == 0
    assert evidence.read_text().startswith("exchange-fork/1\n")
    assert run(["witness", "fork", "--home", str(home), "nobody.example", "-o", str(tmp_path / "none")]) == 5


def test_a_body_has_a_limit(server: WitnessServer) -> None:
    assert ask(server, b"x" * MAX_REQUEST_BYTES)[0] == 400
    assert ask(server, b"x" * (MAX_REQUEST_BYTES + 1))[0] == 413
    line = socket.create_connection(("127.0.0.1", server.server_port))
    line.sendall(b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert b" 411 " in line.recv(100)
    line.close()


def test_a_slow_client_loses_its_place_and_costs_nobody_else_theirs(home: Path, agencies: list[AgencyKeys]) -> None:
    with serving(home, 900.0) as server:
        slow = [socket.create_connection(("127.0.0.1", server.server_port)) for _ in range(4)]
        for each in slow:
            each.sendall(b"POST /add-checkpoint HTTP/1.1\r\n")
        while len(server._until) < 4:
            time.sleep(0.01)
        with pytest.raises((http.client.HTTPException, OSError)):  # all places are taken
            ask(server, log_of(agencies[0]).request(0))
        for each in slow:
            each.close()
    with serving(home, 1.0) as server:
        slow = [socket.create_connection(("127.0.0.1", server.server_port), timeout=0.1) for _ in range(4)]
        while slow:  # a byte now and then does not keep a place
            slow = [each for each in slow if not hung_up(each)]
        while True:
            with suppress(http.client.HTTPException, OSError):  # this machine may take a second for it, too
                assert ask(server, log_of(agencies[0]).request(0))[0] == 200
                break


def hung_up(line: socket.socket) -> bool:
    """Send one byte more, and say whether the other side is there no more."""
    try:
        line.sendall(b"X")
        if line.recv(100):
            return False
    except TimeoutError:
        return False
    except OSError:
        pass
    line.close()
    return True


def test_a_connection_is_kept_for_further_requests(server: WitnessServer, agencies: list[AgencyKeys]) -> None:
    log = log_of(agencies[0])
    line = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=120)
    for old, size in ((0, 3), (3, 9), (3, 9)):
        line.request("POST", "/add-checkpoint", log.request(old, size))
        answer = line.getresponse()
        answer.read()
        assert answer.status in (200, 409)
    line.close()


def test_no_request_is_answered_without_the_file_of_what_was_cosigned(
    server: WitnessServer, home: Path, agencies: list[AgencyKeys]
) -> None:
    log = log_of(agencies[0])
    assert ask(server, log.request(0, 7))[0] == 200
    server.witness.state.close()
    for path in home.glob(f"{WITNESS}*"):
        path.unlink()
    assert ask(server, log.request(7, 20))[0] == 500
    with pytest.raises(IntegrityError, match="is missing"):
        open_witness(home, PASSPHRASE, lambda: TIME)


def test_a_later_epoch_needs_its_manifest(
    home: Path, made: tuple[Path, SignedPayload], agencies: list[AgencyKeys]
) -> None:
    first, second = log_of(agencies[0]), log_of(agencies[0], 2)
    opened = open_witness(home, PASSPHRASE, lambda: TIME)
    opened.add_checkpoint(first.request(0))
    with pytest.raises(RefusedError, match="no manifest"):
        opened.add_checkpoint(second.request(0))
    keys = agencies[0]
    opening = LogEpoch(epoch=2, previous_origin=first.origin, previous_size=20, previous_root=first.checkpoint().root)
    known = parse_manifest(agency_manifest(keys, made[1], ["127.0.0.1:7443"], NOW_MS).payload)
    following = replace(known, version=2, log_epochs=(LogEpoch(epoch=1), opening))
    manifest = sign(following.encode(), ("manifest", keys.root.root))
    trust(home, made[1], (manifest,), NOW_MS)
    again = open_witness(home, PASSPHRASE, lambda: TIME)
    assert again.add_checkpoint(second.request(0))
    with pytest.raises(RefusedError, match="noted, not cosigned"):
        again.add_checkpoint(first.request(20))


def test_another_federation_s_roster_is_refused(home: Path, made: tuple[Path, SignedPayload]) -> None:
    others = [agency("HK-SB"), agency("TH-DSI")]
    roster = found_roster(others, now_ms=NOW_MS + 1, catalogue=CATALOGUE)
    with pytest.raises(RefusedError) as refused:
        trust(home, roster, (), NOW_MS)
    assert refused.value.code == "WRONG_FEDERATION"
    assert load_trusted(home).digest == roster_digest(made[1])


def passphrase_fd() -> int:
    reading, work = os.pipe()
    os.write(work, PASSPHRASE + b"\n")
    os.close(work)
    return reading


def test_the_commands_from_keys_to_a_cosignature(
    tmp_path: Path, made: tuple[Path, SignedPayload], agencies: list[AgencyKeys], capfd: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "oversight"
    descriptor = passphrase_fd()
    assert run(["witness", "init", "--home", str(home), "--name", NAME, "--passphrase-fd", str(descriptor)]) == 0
    os.close(descriptor)
    keys = [parse_cosigner_key(line) for line in capfd.readouterr().out.splitlines()]
    assert [(key.name, key.type) for key in keys] == [(NAME, 4), (NAME, 6)]
    assert load_application(home).name == NAME
    descriptor = passphrase_fd()
    assert run(["witness", "init", "--home", str(home), "--name", NAME, "--passphrase-fd", str(descriptor)]) == 2
    os.close(descriptor)
    roster = made[0].parent / "roster"
    assert run(["witness", "trust", "--home", str(home), str(roster), "--words", "wrong " * 12]) == 8
    assert run(["witness", "show", "--home", str(home)]) == 0
    assert "roster  none yet" in capfd.readouterr().out
    told = " ".join(words(roster_digest(made[1])))
    assert run(["witness", "trust", "--home", str(home), str(roster), "--words", told]) == 0
    said = capfd.readouterr()
    assert said.out == f"{NAME} witnesses 2 logs of exercise.example\n"
    assert "does not name this witness" in said.err  # it names the keys of another home
    _serve_and_ask(home, log_of(agencies[1]))


def _serve_and_ask(home: Path, log: GrowingLog) -> None:
    command = [sys.executable, "-m", "exchange", "witness", "serve", "--home", str(home), "--listen", "127.0.0.1:0"]
    descriptor = passphrase_fd()
    with subprocess.Popen(
        [*command, "--passphrase-fd", str(descriptor)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=[descriptor],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        os.close(descriptor)
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        port = int(first.rpartition(":")[2].partition("/")[0])
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        line.request("POST", "/add-checkpoint", log.request(0))
        assert line.getresponse().status == 200
        line.close()
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == f"{NAME} stopped\n"
        assert json.loads(process.stderr.read())["what"] == "cosigned"
        assert process.wait(timeout=120) == 0


def test_the_help_and_the_server_need_no_grpc() -> None:
    code = (
        "import sys, exchange.cli.operator.witness, exchange.cli.operator.witness_http, exchange.cli.operator.witness_home;"
        "assert not {'grpc', 'structlog', 'rich', 'jinja2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_key_of_a_log_is_the_roster_s(home: Path, agencies: list[AgencyKeys]) -> None:
    trusted = load_trusted(home)
    log = log_of(agencies[0])
    assert trusted.key_of(log.origin) == VerifierKey(name=log.origin, key=agencies[0].node.log.key.public_key)
    assert trusted.key_of("xx-yy.exercise.example/log/1") is None
