"""Bundles that somebody altered, with a README that fits: each member is compared with the log or the roster."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit.note.checkpoint import parse_verifier_key
from audit.tiles.tar import open_tar, write
from tests.audit.compare.bundled import HOME, exchange, remade, verify


def swapped(lines: bytes) -> bytes:
    """Return a peer's log under our own log's key, well-formed."""
    first, *rest = lines.decode().splitlines()
    own = parse_verifier_key(first.split(" ")[0])
    taken = [str(replace(own, name=line.partition("+")[0])) + " 0 -" if "th-dsi" in line else line for line in rest]
    return "".join(f"{line}\n" for line in [first, *taken]).encode()


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("policy", lambda data: data.replace(b"quorum 3", b"quorum 1"), "policy: not what roster 1 says"),
        ("witnesses.vkeys", lambda data: data.replace(b"quorum 3", b"quorum 1"), "witnesses.vkeys: not what"),
        ("keys", lambda data: data.replace(b"th-dsi", b"th-dsj"), "keys: line "),
        ("keys", lambda data: swapped(data), "is not the one of roster 1"),
        ("receipts/receipts.tsv", lambda data: data[:-1], "the last line has no end"),
        ("receipts/receipts.tsv", lambda data: data + data, "receipts/receipts.tsv: line 6: entry "),
        ("receipts/receipts.tsv", lambda data: data.split(b"\n", 1)[1], "no line of receipts/receipts.tsv names it"),
        ("receipts/receipts.tsv", lambda data: data.replace(b"\t", b" "), "line 1: four fields"),
        ("peers/th-dsi.exercise.example/log/1/checkpoint", lambda data: data[:-6] + b"AAAA=\n", "checkpoint"),
        ("roster/1", lambda data: data[:-1], "roster/1: "),
        ("schema/kinds.tsv", lambda data: data + b"99\tX\t\n", "not this program's"),
        ("log.vkey", lambda data: data.replace(b"hk-immd", b"hk-immx"), "log.vkey"),
    ],
)
def test_a_member_that_a_forger_alters_is_named(
    name: str, change: Any, said: str, bundle: Path, template: Path, tmp_path: Path
) -> None:
    members = dict(open_tar(bundle).contents())
    members[name] = change(members[name])
    code, told = verify(remade(members, tmp_path, bundle), "--roster", template / "roster")
    assert code == (7 if said == "not this program's" else 6), told
    assert said in json.dumps(told), told
    # Control: with the README as it was, the altered bytes are found at once.
    members["README"] = dict(open_tar(bundle).contents())["README"]
    path = tmp_path / "plain.audit"
    with path.open("wb") as out:
        write(out, sorted(members.items()))
    code, told = verify(path, "--roster", template / "roster")
    assert code == 6
    assert "README: line " in json.dumps(told)


def test_one_altered_byte_is_refused_also_where_only_the_log_of_a_bundle_is_read(
    bundle: Path, template: Path, tmp_path: Path
) -> None:
    altered = tmp_path / "altered.audit"
    data = bundle.read_bytes()
    altered.write_bytes(data.replace(b"It holds no text of any bulletin", b"It holds no text of any Bulletin", 1))
    for command in (("compare", template / "TH-DSI"), ("retention",)):
        assert exchange(*command, bundle).returncode != 6  # control
        done = exchange(*command, altered)
        assert done.returncode == 6
        assert "README: line " in done.stdout + done.stderr


def test_a_roster_that_is_none_is_named_once(bundle: Path, template: Path, tmp_path: Path) -> None:
    roster = tmp_path / "roster"
    roster.write_bytes((template / "roster").read_bytes()[:-1])
    for command in (("verify", bundle), ("compare", bundle, template / "TH-DSI"), ("retention", bundle)):
        done = exchange(*command, "--roster", roster)
        assert (done.returncode, done.stderr.count(f"{roster}: ")) == (6, 1)
        assert done.stderr.count("roster") == 1 + str(roster.parent).count("roster"), done.stderr


def test_a_whole_bundle_is_drawn_as_the_log_in_it_and_a_damaged_one_is_not(
    bundle: Path, template: Path, tmp_path: Path
) -> None:
    altered, pages = tmp_path / "altered.audit", [tmp_path / "bundle.html", tmp_path / "log.html"]
    for log, page in zip((bundle, template / HOME), pages, strict=True):
        assert exchange("report", log, "--roster", template / "roster", "-o", page).returncode in (0, 7)
    assert pages[0].read_bytes() == pages[1].read_bytes()
    altered.write_bytes(bundle.read_bytes().replace(b"It holds no text", b"It holds no Text", 1))
    done = exchange("report", altered, "-o", tmp_path / "none.html")
    assert (done.returncode, "README: line " in done.stderr) == (6, True)
    assert not (tmp_path / "none.html").exists()
