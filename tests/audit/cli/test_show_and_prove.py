"""``show`` and ``prove`` as an auditor types them, and help that loads nothing heavy."""

from __future__ import annotations

import json
from pathlib import Path

from audit.note.checkpoint import VerifierKey
from audit.note.tlogproof import parse_proof, verify_proof
from tests.audit.cli.typed import run
from tests.audit.forge import read_log


def test_nothing_a_file_says_steers_the_terminal(folder: Path) -> None:
    (folder / "tile/0/\x1b[2Jx\u202e").write_text("")
    done = run("verify", folder)
    assert done.returncode == 7
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout


def test_show_prints_entries_by_index_and_kind(folder: Path) -> None:
    done = run("show", folder, "--from", "0", "--to", "4")
    assert [line.split()[2] for line in done.stdout.splitlines()] == [
        "GENESIS",
        "ROSTER_ADOPTED",
        "MANIFEST_ADOPTED",
        "KEY_SHEET_ADOPTED",
        "PUBLISHED",
    ]
    rows = [json.loads(line) for line in run("show", folder, "--kind", "received", "--json").stdout.splitlines()]
    assert {row["kind"] for row in rows} == {"RECEIVED"}
    assert [row["index"] for row in rows] == list(range(7, 300, 8))
    assert len(rows[0]["delivery_digest"]) == 64
    assert run("show", folder, "--kind", "NOPE").returncode == 2
    assert run("show", folder, "--from", "900").stdout == ""


def test_show_of_a_broken_folder_ends_in_6(folder: Path) -> None:
    (folder / "tile/entries/001.p/44").write_bytes(b"\0\1x")
    done = run("show", folder)
    assert (done.returncode, done.stderr.count("\n")) == (6, 1)
    assert "tile/entries/001.p/44" in done.stderr


def test_prove_writes_a_proof_that_anyone_with_the_key_can_verify(
    folder: Path, key: VerifierKey, tmp_path: Path
) -> None:
    entries = read_log(folder, 300)
    for index in (0, 255, 256, 299):
        text = run("prove", folder, str(index)).stdout
        proof = parse_proof(text)
        assert proof.extra == entries[index]
        assert verify_proof(proof, entries[index], key).size == 300
    out = tmp_path / "p.tlog-proof"
    out.write_text("mine")
    assert run("prove", folder, "1", "-o", out).returncode == 2
    assert out.read_text() == "mine"
    assert run("prove", folder, "300").returncode == 5
    (folder / "tile/0/000").write_bytes(bytes(8192))
    assert run("prove", folder, "1").returncode == 6


def test_help_is_said_without_the_heavy_libraries() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert all(command in done.stdout for command in ("verify", "show", "prove"))
    assert run("verify").returncode == 2
