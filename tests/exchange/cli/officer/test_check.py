"""``exchange check``: its JSON is a contract, its words are for people."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from exchange.cli.main import cli
from tests.exchange.authoring.test_text import obeyed
from tests.support.samples import INVALID, NASTY, ROOT, VALID, expected


def run(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli, ["check", *words], prog_name="exchange")
    return done.exit_code, done.stdout, done.stderr


def run_json(*words: str) -> tuple[int, dict[str, Any]]:
    code, out, err = run("--json", *words)
    assert err == ""
    return code, json.loads(out)


def test_right_files_end_with_0_and_say_what_they_are() -> None:
    code, out, err = run(*map(str, VALID))
    assert (code, err) == (0, "")
    assert out.splitlines()[0].endswith("01-travel-alert-myanmar-red-amber.yaml: ok, travel alert")
    assert len(out.splitlines()) == 25


def test_json_of_right_files_has_exactly_the_promised_shape() -> None:
    code, answer = run_json(str(VALID[0]), str(NASTY[0]))
    assert code == 0
    assert answer == {
        "ok": True,
        "files": [
            {"file": str(VALID[0]), "ok": True, "kind": "travel_alert", "complaints": []},
            {"file": str(NASTY[0]), "ok": True, "kind": "advisory", "complaints": []},
        ],
    }


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_json_of_a_wrong_file_has_exactly_one_complaint(path: Path) -> None:
    others = [str(one) for one in VALID] if "P-OWNER" in expected(path) else []
    code, answer = run_json(str(path), *others)
    (file, *rest) = answer["files"]
    assert code == 2
    assert answer["ok"] is False
    assert not any(one["complaints"] for one in rest)
    assert sorted(file) == ["complaints", "file", "kind", "ok"]
    (complaint,) = file["complaints"]
    assert sorted(complaint) == ["code", "hint", "line", "message", "path"]
    assert (complaint["code"], complaint["path"]) == expected(path)
    assert complaint["line"] is None or complaint["line"] >= 1


def test_people_get_file_line_path_sentence_and_hint() -> None:
    path = next(one for one in INVALID if one.name.startswith("03"))
    code, out, err = run(str(path))
    assert code == 2
    assert (
        out
        == f"{path}:8: header.adressees: there is no field 'adressees' here (Y-UNKNOWN)\n  hint: did you mean 'addressees'?\n"
    )
    assert err == "exchange: 1 of 1 files need a change\n"


def test_a_file_that_cannot_be_read_is_a_complaint_beside_the_others(tmp_path: Path) -> None:
    code, answer = run_json("a\0b", str(tmp_path), str(VALID[0]))
    assert code == 2
    assert [file["ok"] for file in answer["files"]] == [False, False, True]
    assert [one["complaints"][0]["code"] for one in answer["files"][:2]] == ["Y-FILE", "Y-FILE"]
    assert answer["files"][0]["kind"] is None


def test_a_file_that_is_not_there_ends_as_everywhere(tmp_path: Path) -> None:
    code, answer = run_json(str(VALID[0]), str(tmp_path / "none.yaml"))
    assert (code, answer["ok"], answer["code"]) == (5, False, "NO_SUCH_FILE")


def test_no_file_at_all_is_wrong_use() -> None:
    code, out, _ = run()
    assert (code, out) == (2, "")


def test_a_device_without_end_is_read_no_further_than_the_limit() -> None:
    code, answer = run_json("/dev/zero")
    assert code == 2
    assert answer["files"][0]["complaints"][0]["code"] == "Y-SIZE"


def test_nothing_that_a_terminal_obeys_comes_out(tmp_path: Path) -> None:
    names = ["a\x1b[2J.yaml", "b\u202e.yaml"]
    for name in names:
        (tmp_path / name).write_text('"k\\e[2Jey": x\n', encoding="utf-8")
    code, out, err = run(*(str(tmp_path / name) for name in names), *map(str, INVALID), *map(str, NASTY))
    assert code == 2
    assert not any(map(obeyed, out + err))
    _, out, _ = run("--json", *(str(tmp_path / name) for name in names))
    assert out.isascii()
    assert not any(map(obeyed, out))


def test_the_check_starts_without_grpc_and_other_heavy_things() -> None:
    program = (
        "import sys; from exchange.cli.officer import check, draft;"
        "print(*sorted({'grpc','structlog','rich','cryptography','nacl'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
