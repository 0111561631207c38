"""An operator is told of an address of ours that nobody is told, and where a peer was looked for."""

from __future__ import annotations

import re
from pathlib import Path

from exchange.cli.operator.addresses import own_address_misfit
from tests.exchange.cli.operator.test_node import _check, home
from tests.support.running import type_line

__all__ = ["home"]


def listen_elsewhere(home: Path) -> None:
    settings = home / "node.toml"
    settings.write_text(re.sub(r'listen = "127.0.0.1:\d+"', 'listen = "127.0.0.1:7999"', settings.read_text()))


def test_another_port_than_the_manifest_tells_is_warned_of_with_the_command(home: Path) -> None:
    before = type_line(["node", "status", "--home", str(home)]).out
    assert "WARN" not in before
    listen_elsewhere(home)
    for told in (_check(home).out, type_line(["node", "status", "--home", str(home)]).out):
        assert "this node listens at 127.0.0.1:7999" in told
        assert f"exchange keys make manifest --home {home}" in told
        assert "--endpoint HOST:7999 --version 2" in told
        assert f"exchange node adopt --home {home} FILE" in told
    assert "WARN  listen" in _check(home).out


def test_any_endpoint_with_the_port_is_right_and_any_free_port_says_nothing(tmp_path: Path) -> None:
    told = ["old.example:7443", "new.example:7444"]
    assert own_address_misfit(tmp_path, "0.0.0.0:7444", told, 1) == ("", "")
    assert own_address_misfit(tmp_path, "0.0.0.0:0", told, 1) == ("", "")
    assert own_address_misfit(tmp_path, "0.0.0.0:7445", [], 1)[0].startswith("manifest 1 tells peers no address")


def test_a_peer_is_looked_for_at_every_address_that_is_known(home: Path) -> None:
    settings = home / "node.toml"
    settings.write_text(settings.read_text().replace("[peers]", '[peers]\nTH-DSI = "127.0.0.1:9"'))
    (line,) = [each for each in _check(home).out.splitlines() if "FAIL  TH-DSI" in each]
    assert line.count("nobody listens there") == 2
    assert "127.0.0.1:9:" in line
