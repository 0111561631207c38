"""A certificate that has ended is named: ours, or the own node's, which gRPC tells to neither side."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from exchange.client import Client
from exchange.client.session import ExpiredNodeError
from exchange.demo.world import OFFICER, PASSPHRASE_FILE, DemoAgency, found_world
from keys.agency import TLS_FILE, load_authority
from keys.certificate import make_node_leaf, make_officer_leaf, private_pem, to_pem
from keys.durations import DAY_MS
from keys.errors import RefusedError
from keys.key_files import officer_folder

LONG_AGO_MS = time.time_ns() // 1_000_000 - 400 * DAY_MS


@pytest.fixture(scope="module")
def agency(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoAgency]:
    world = found_world(
        tmp_path_factory.mktemp("world"),
        now_us=time.time_ns() // 1000,
        random_bytes=os.urandom,
        names=("HK-SB", "TH-DSI"),
    )
    with world.reserved_ports:
        yield world.agencies[0]


@contextmanager
def shows(agency: DemoAgency, folder: Path, issued_ms: int) -> Iterator[str]:
    """Answer handshakes as the agency's node, with a leaf issued at a time; give the address."""
    _, ca = load_authority(agency.home, (agency.home / PASSPHRASE_FILE).read_bytes().strip())
    private = agency.node_keys.tls_private
    file = folder / "server.pem"
    file.write_bytes(private_pem(private) + to_pem(make_node_leaf(ca, private.public_key(), issued_ms, os.urandom)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_answer, args=(server, context), daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def _answer(server: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            line, _ = server.accept()
        except OSError:
            return
        try:
            context.wrap_socket(line, server_side=True).close()
        except OSError:
            line.close()


def connect(agency: DemoAgency, home: Path, address: str) -> Client:
    return Client.connect(home, OFFICER, keys=agency.officer_keys, desk=address)


def test_the_nodes_certificate_that_has_ended_is_named_with_what_helps(agency: DemoAgency, tmp_path: Path) -> None:
    with (
        shows(agency, tmp_path, LONG_AGO_MS) as address,
        pytest.raises(ExpiredNodeError, match="the certificate of the node of HK-SB has expired") as raised,
    ):
        connect(agency, agency.home, address)
    assert "exchange node renewal-request" in raised.value.hint


def test_an_officers_own_certificate_that_has_ended_is_named(agency: DemoAgency, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(agency.home, home)
    _, ca = load_authority(home, (home / PASSPHRASE_FILE).read_bytes().strip())
    leaf = make_officer_leaf(ca, agency.officer_keys.tls_private.public_key(), LONG_AGO_MS, os.urandom)
    (officer_folder(home, OFFICER) / TLS_FILE).write_bytes(leaf)
    with (
        shows(agency, tmp_path, LONG_AGO_MS) as address,
        pytest.raises(RefusedError, match=f"the certificate of HK-SB/{OFFICER} has expired") as raised,
    ):
        connect(agency, home, address)
    assert raised.value.code == "KEY_EXPIRED"
