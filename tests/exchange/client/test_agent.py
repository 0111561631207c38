"""The agent: signs what it may, for its own user, until it has been idle."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exchange.client.agent import Agent, AgentError, AgentSigner, call, check_frame, runtime_folder
from keys import certificate
from keys.agency import Person, make_agency, make_officer
from keys.frame import pae, payload_type
from keys.identity import AgencyId, Usage
from keys.key_files import OfficerKeys
from keys.signer import PublicKey

NOW_MS = 1_800_000_000_000


@pytest.fixture(scope="module")
def keys() -> OfficerKeys:
    made = make_agency(AgencyId("HK-SB"), "exercise.example", [], now_ms=NOW_MS, random_bytes=os.urandom)
    return make_officer(made.authority, Person(id="duty-1"), now_ms=NOW_MS, random_bytes=os.urandom).keys


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="agent-"))  # a socket's path may have 107 bytes, pytest's are longer
    yield made
    shutil.rmtree(made)


@pytest.fixture
def served(folder: Path, keys: OfficerKeys) -> Iterator[Path]:
    agent = Agent(folder / "a.sock", keys, idle_seconds=900)
    thread = threading.Thread(target=agent.serve)
    thread.start()
    yield agent.path
    call(agent.path, {"do": "lock"})
    thread.join(120)
    assert not thread.is_alive()


def _signer(path: Path) -> AgentSigner:
    told = call(path, {"do": "hello"})
    assert told is not None
    import base64

    raw = base64.b64decode(str(told["public_key"]))
    return AgentSigner(key=PublicKey(usage=Usage.OFFICER, suite=1, owner=str(told["owner"]), public_key=raw), path=path)


@pytest.mark.parametrize("role", ["statement", "read"])
def test_it_signs_statements_and_requests_to_read(served: Path, role: str) -> None:
    signer = _signer(served)
    frame = pae(payload_type(role), b"content")
    signer.key.verify(frame, signer.sign(frame))


@pytest.mark.parametrize("role", ["roster", "manifest", "key-sheet", "dispatch", "lane-head", "key", "release"])
def test_it_signs_nothing_else(served: Path, role: str) -> None:
    with pytest.raises(AgentError, match="only statements and requests"):
        _signer(served).sign(pae(payload_type(role), b"content"))


@pytest.mark.parametrize("frame", [b"", b"content", b"DSSEv1 ", pae(payload_type("statement") + " ", b"")])
def test_what_is_no_frame_of_ours_is_not_signed(frame: bytes) -> None:
    with pytest.raises(AgentError):
        check_frame(frame)


def test_a_largest_statement_fits(served: Path) -> None:
    signer = _signer(served)
    frame = pae(payload_type("statement"), bytes(1 << 20))
    signer.key.verify(frame, signer.sign(frame))


def test_it_never_hands_out_the_signing_key(served: Path, keys: OfficerKeys) -> None:
    told = call(served, {"do": "hello"})
    assert told is not None
    assert set(told) == {"owner", "usage", "suite", "public_key", "tls"}
    with pytest.raises(AgentError):
        call(served, {"do": "keys"})


def test_its_socket_is_for_its_user_alone(served: Path) -> None:
    assert served.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_others_can_enter_is_refused(folder: Path, keys: OfficerKeys) -> None:
    folder.chmod(0o755)
    with pytest.raises(AgentError, match="not a folder of ours alone"):
        Agent(folder / "a.sock", keys)


def test_a_link_in_place_of_the_folder_is_refused(folder: Path, keys: OfficerKeys) -> None:
    (folder / "real").mkdir(mode=0o700)
    (folder / "link").symlink_to(folder / "real")
    with pytest.raises(AgentError, match="not a folder of ours alone"):
        Agent(folder / "link" / "a.sock", keys)


def test_a_second_agent_for_the_same_person_is_refused(served: Path, keys: OfficerKeys) -> None:
    with pytest.raises(AgentError, match="already"):
        Agent(served, keys)


def test_a_socket_that_a_killed_agent_left_is_replaced(folder: Path, keys: OfficerKeys) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(folder / "a.sock"))
    agent = Agent(folder / "a.sock", keys, idle_seconds=0.05)
    agent.serve()


def test_it_locks_when_it_has_been_idle(folder: Path, keys: OfficerKeys) -> None:
    agent = Agent(folder / "a.sock", keys, idle_seconds=0.1)
    agent.serve()  # and it returns
    assert not agent.path.exists()
    assert call(agent.path, {"do": "hello"}) is None


def test_refused_requests_do_not_keep_it_open(folder: Path, keys: OfficerKeys) -> None:
    agent = Agent(folder / "a.sock", keys, idle_seconds=1.0)
    thread = threading.Thread(target=agent.serve)
    thread.start()
    deadline = time.monotonic() + 120
    while thread.is_alive() and time.monotonic() < deadline:
        try:
            call(agent.path, {"do": "nonsense"})
        except AgentError:
            time.sleep(0.05)
    assert not thread.is_alive()


def test_garbage_and_stalling_callers_do_not_end_it(served: Path) -> None:
    for data in (b"", b"{", b"[]\n", b'{"do": 7}\n', b"\xff\xfe\n"):
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(served))
            line.sendall(data)
    assert call(served, {"do": "hello"}) is not None


def test_a_locked_agent_says_so(folder: Path, keys: OfficerKeys) -> None:
    signer = AgentSigner(key=keys.signer.key, path=folder / "none.sock")
    with pytest.raises(AgentError, match="has locked"):
        signer.sign(b"")


def test_the_runtime_folder_is_never_a_shared_one() -> None:
    assert not str(runtime_folder()).startswith(tempfile.gettempdir()) or os.environ.get("XDG_RUNTIME_DIR", "")


def test_the_tls_key_that_it_hands_out_is_the_leafs(served: Path, keys: OfficerKeys) -> None:
    import base64

    told = call(served, {"do": "hello"})
    assert told is not None
    handed = certificate.private_from_bytes(base64.b64decode(str(told["tls"])))
    assert certificate.spki_of(handed.public_key()) == certificate.spki_of(keys.tls_private.public_key())
