"""``exchange keys`` by hand: typed lines, output, exit codes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from keys.cli.main import keys
from keys.dsse import sign
from keys.identity import Usage
from keys.show import moment
from keys.signer import Ed25519Signer

Type = Callable[..., Result]


def typed(*words: object, lines: bytes = b"secret\n") -> Result:
    """Type a command; ``{fd}`` among its words becomes a descriptor that holds *lines*."""
    reading, work = os.pipe()
    os.write(work, lines)
    os.close(work)
    try:
        return CliRunner().invoke(
            keys, [str(word).replace("{fd}", str(reading)) for word in words], prog_name="exchange"
        )
    finally:
        os.close(reading)


def good(*words: object, lines: bytes = b"secret\n") -> str:
    result = typed(*words, "--passphrase-fd", "{fd}", lines=lines) if "show" not in words else typed(*words)
    assert result.exit_code == 0, result.output
    return str(result.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold a ceremony of two agencies, each step typed."""
    folder = tmp_path_factory.mktemp("keys")
    (folder / "catalogue").mkdir()
    (folder / "catalogue/policy.yaml").write_text("schema_minor: 0\n")
    for code in ("HK-SB", "TH-DSI"):
        people = ["--officer", "duty", "--officer", "chief:author,reader,releaser:3", "--system", "gate:author:1"]
        federation = ["--federation", "exercise.example", "-o", folder / code, "--floor", "--windows", 2]
        assert f"made {code} in" in good("make", "agency", "--agency", code, *federation, *people)
    applications = [folder / code / "application" for code in ("HK-SB", "TH-DSI")]
    made = typed("make", "roster", *applications, "--catalogue", folder / "catalogue", "-o", folder / "roster")
    assert made.exit_code == 0
    assert re.search(r"its words are: (\w+ ){11}\w+$", made.stderr.strip())
    for number, code in enumerate(("HK-SB", "TH-DSI"), start=1):
        out = good("sign", "roster", folder / "roster", "--home", folder / code, "--yes")
        assert out == f"signed {folder / 'roster'}: {number} of 2 roots\n"
    where = ["--home", folder / "HK-SB", "--roster", folder / "roster"]
    good("make", "manifest", *where, "--endpoint", "127.0.0.1:7001", "-o", folder / "HK-SB/manifest")
    good("make", "sheet", *where, "-o", folder / "HK-SB/key-sheet")
    return folder


def test_records_are_shown_in_words_and_verified(folder: Path) -> None:
    roster = good("show", folder / "roster")
    assert "roster       version 1 of exercise.example\n" in roster
    assert "    1  HK-SB        active    root " in roster
    assert roster.endswith("signatures   2, all verified\n")
    manifest = good("show", folder / "HK-SB/manifest", "--roster", folder / "roster")
    assert "manifest     version 1 of HK-SB\n" in manifest
    assert "chief (officer: author, reader, releaser; ceiling 3)" in manifest
    assert manifest.endswith("signatures   1, all verified\n")
    both = ["--roster", folder / "roster", "--manifest", folder / "HK-SB/manifest"]
    sheet = good("show", folder / "HK-SB/key-sheet", *both)
    assert "encryption   2 keys\n" in sheet
    assert "HK-SB/gate (system)" in sheet
    assert sheet.endswith("signatures   1, all verified\n")
    assert good("show", folder / "HK-SB/key-sheet").endswith("not checked: no roster was given\n")


def test_applications_and_key_files_are_shown_without_a_passphrase(folder: Path) -> None:
    assert "application  to exercise.example\n" in good("show", folder / "TH-DSI/application")
    node = good("show", folder / "HK-SB/node.keys")
    assert "sealed under argon2id, 64 MiB, 3 passes" in node
    assert "operations of HK-SB (agency)" in node
    assert "tls of HK-SB (other)" in node
    assert "encryption-" in good("show", folder / "HK-SB/sealing.keys")


def test_what_does_not_verify_is_said_and_fails_the_exit_code(folder: Path, tmp_path: Path) -> None:
    applications = [folder / code / "application" for code in ("HK-SB", "TH-DSI")]
    typed("make", "roster", *applications, "--catalogue", folder / "catalogue", "-o", tmp_path / "roster")
    result = typed("show", tmp_path / "roster")
    assert result.exit_code == 6
    assert result.stdout.splitlines()[-1] == "signatures   0, NOT verified: SIGNERS_DIFFER: a roster has 0 signatures"
    # The manifest of one federation, shown against the roster of another.
    for code in ("HK-SB", "TH-DSI"):
        good("sign", "roster", tmp_path / "roster", "--home", folder / code, "--yes")
    result = typed("show", folder / "HK-SB/manifest", "--roster", tmp_path / "roster")
    assert result.exit_code == 6
    assert "NOT verified: WRONG_FEDERATION" in result.stdout


def test_words_are_compared_before_a_roster_is_signed(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "roster"
    copy.write_bytes((folder / "roster").read_bytes())
    result = typed("sign", "roster", copy, "--home", folder / "HK-SB", "--passphrase-fd", "{fd}")
    assert result.exit_code == 130  # nobody answered
    assert "Are these the words that the other agencies read?" in result.stderr
    assert copy.read_bytes() == (folder / "roster").read_bytes()


def test_an_officer_is_added_with_two_passphrases(folder: Path) -> None:
    home = ["--home", folder / "TH-DSI"]
    assert "made TH-DSI/bob" in good("make", "officer", "bob:reader:1", *home, lines=b"secret\nbob's own\n")
    wrong = typed("make", "request", *home, "--as", "bob", "-o", folder / "req", "--passphrase-fd", "{fd}")
    assert wrong.exit_code == 4
    file = folder / "TH-DSI/officers/bob/officer.keys"
    said = f"exchange: error: {file} does not open: another passphrase, or an altered file (UNOPENABLE)\n"
    assert wrong.stderr == said + "exchange: hint: type the passphrase again; nobody can recover a lost one\n"
    good("make", "request", *home, "--as", "bob", "-o", folder / "req", lines=b"bob's own\n")
    out = good("make", "leaf", folder / "req", *home, "--for", "officer", "-o", folder / "bob.der")
    assert re.fullmatch(r"made .*bob\.der: pin [0-9a-f]{64}\n", out)


def test_a_leaf_for_the_node_is_asked_for_and_issued(folder: Path) -> None:
    home = ["--home", folder / "HK-SB"]
    good("make", "request", *home, "-o", folder / "node.req")
    good("make", "leaf", folder / "node.req", *home, "--for", "node", "-o", folder / "node.der")
    assert (folder / "node.der").read_bytes() != (folder / "HK-SB/tls.der").read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ["make", "agency", "--agency", "HKSB", "--federation", "x.y", "-o", "{new}"],
            2,
            "'HKSB' is not an agency's code",
        ),
        (["make", "agency", "--agency", "HK-SB", "--federation", "X", "-o", "{new}"], 2, "not a lower-case dNSName"),
        (
            ["make", "agency", "--agency", "HK-SB", "--federation", "exercise.example", "-o", "{f}/HK-SB"],
            2,
            "stays as it is",
        ),
        (["make", "officer", "bob:boss", "--home", "{f}/HK-SB"], 2, "bob has no role, or an unknown one"),
        (["make", "officer", "bob:reader:high", "--home", "{f}/HK-SB"], 2, "the ceiling of bob is not a number"),
        (["make", "officer", "bob", "--home", "{f}/nowhere"], 5, "no such file or folder: "),
        (["sign", "roster", "{f}/HK-SB/manifest", "--home", "{f}/HK-SB", "--yes"], 2, "is a manifest, not a roster"),
        (["sign", "roster", "{f}/HK-SB/tls.der", "--home", "{f}/HK-SB"], 2, "tls.der is no signed record"),
        (["sign", "roster", "{f}/nothing", "--home", "{f}/HK-SB"], 5, "no such file or folder: "),
        (
            ["make", "leaf", "{f}/roster", "--home", "{f}/HK-SB", "--for", "node", "-o", "{new}"],
            2,
            "not a certificate request",
        ),
    ],
)
def test_refusals_have_words_and_exit_codes(
    folder: Path, tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    filled = [each.replace("{f}", str(folder)).replace("{new}", str(tmp_path / "new")) for each in words]
    result = typed(*filled, "--passphrase-fd", "{fd}")
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("exchange: error: ")
    assert message in result.stderr
    assert "\x1b" not in result.stderr


def test_files_that_are_no_records_are_refused(folder: Path, tmp_path: Path) -> None:
    for content in (b"", b"hello", b"exchange-keys/1\nno json\n", b"exchange-keys/1\n"):
        (tmp_path / "file").write_bytes(content)
        result = typed("show", tmp_path / "file")
        assert result.exit_code == 2, content
        assert result.stderr.startswith("exchange: error: ")


def test_passphrases_are_asked_at_the_terminal_twice_when_new(folder: Path, tmp_path: Path) -> None:
    words = [
        "make",
        "agency",
        "--agency",
        "XI-IOM",
        "--federation",
        "exercise.example",
        "-o",
        str(tmp_path / "x"),
        "--floor",
    ]
    result = CliRunner().invoke(keys, words, input="one\none\ntwo\ntwo\n")
    assert result.exit_code == 0, result.output
    assert result.stderr.count("Passphrase of root") == 1
    assert "one" not in result.output.replace("one\n", "")


def test_an_agency_without_a_roster_root_signs_no_roster(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "x"
    good(
        "make",
        "agency",
        "--agency",
        "XI-IOM",
        "--federation",
        "exercise.example",
        "-o",
        home,
        "--floor",
        "--no-roster-root",
    )
    result = typed("sign", "roster", folder / "roster", "--home", home, "--yes", "--passphrase-fd", "{fd}")
    assert result.exit_code == 4
    assert "XI-IOM holds no root of the roster (SIGNER_UNKNOWN)" in result.stderr


def test_an_empty_descriptor_holds_no_passphrase(folder: Path) -> None:
    result = typed("make", "officer", "eve", "--home", folder / "HK-SB", "--passphrase-fd", "{fd}", lines=b"")
    assert result.exit_code == 4
    assert "holds no passphrase" in result.stderr


def test_a_folder_without_yaml_is_no_catalogue(folder: Path, tmp_path: Path) -> None:
    result = typed("make", "roster", folder / "HK-SB/application", "--catalogue", folder, "-o", tmp_path / "new")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "holds no .yaml files, so it is no catalogue" in result.stderr


def test_other_signed_payloads_are_not_shown(tmp_path: Path) -> None:
    signer = Ed25519Signer.from_seed(Usage.AGENCY, "HK-SB", bytes(32))
    (tmp_path / "dispatch").write_bytes(sign(b"payload", ("dispatch", signer)).encode())
    result = typed("show", tmp_path / "dispatch")
    assert result.exit_code == 6
    assert "this is no roster, manifest, key sheet, renewal request or renewal (WRONG_TYPE)" in result.stderr


def test_times_beyond_every_calendar_are_shown_as_numbers() -> None:
    assert moment(1_795_000_000_000) == "2026-11-18T11:06Z"
    assert moment(2**64 - 1) == "18446744073709551615 ms"


def test_every_command_answers_programs_with_one_object(folder: Path, tmp_path: Path) -> None:
    def told(*words: object, lines: bytes = b"secret\n") -> dict[str, object]:
        result = typed(*words, "--json", lines=lines)
        assert (result.exit_code, result.stderr, result.stdout.count("\n")) == (0, "", 1), result.output
        value: dict[str, object] = json.loads(result.stdout)
        assert value["ok"] is True
        return value

    home, fd = folder / "HK-SB", ["--passphrase-fd", "{fd}"]
    assert told("show", folder / "roster")["lines"]
    applications = [folder / code / "application" for code in ("HK-SB", "TH-DSI")]
    made = told("make", "roster", *applications, "--catalogue", folder / "catalogue", "-o", tmp_path / "roster")
    assert len(str(made["words"]).split()) == 12
    signed = told("sign", "roster", tmp_path / "roster", "--home", home, "--yes", *fd)
    assert (signed["signatures"], signed["roots"], signed["words"]) == (1, 2, made["words"])
    where = ["--home", home, "--roster", folder / "roster", *fd]
    assert told("make", "manifest", *where, "-o", tmp_path / "manifest")["version"] == 1
    assert told("make", "sheet", *where, "-o", tmp_path / "sheet")["keys"] == 2
    assert told("make", "request", "--home", home, "-o", tmp_path / "request", *fd)["holder"] == "node"
    leaf = ["make", "leaf", tmp_path / "request", "--home", home, "--for", "node", "-o", tmp_path / "leaf"]
    assert len(str(told(*leaf, *fd)["pin"])) == 64
    agency = ["make", "agency", "--agency", "XI-IOM", "--federation", "exercise.example", "--floor"]
    assert told(*agency, "-o", tmp_path / "XI-IOM", "--officer", "amy", *fd)["people"] == ["amy"]
    assert told("make", "officer", "bea", "--home", tmp_path / "XI-IOM", *fd)["officer"] == "bea"
    asked = typed("sign", "roster", tmp_path / "roster", "--home", home, "--json", *fd)
    assert (asked.exit_code, json.loads(asked.stdout)["code"]) == (2, "USAGE")
