"""One command, lazy, and one table of exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from audit.cli.main import audit
from exchange.cli.main import COMMANDS, cli, run
from exchange.rules.complaint import Complaint, RulesError
from keys.cli.failure import failure_of
from keys.errors import IntegrityError, RefusedError, UnavailableError
from keys.refusals import MEANINGS
from tests.support.running import type_line

HEAVY = ("grpc", "structlog", "rich", "protovalidate", "cryptography", "nacl", "google.protobuf", "yaml", "apsw")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["help", "exit-codes"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\nfrom exchange.cli.main import run\n"
        f"code = run({arguments!r})\n"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])\nsys.exit(code)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.endswith("LOADED []\n")


@pytest.mark.parametrize("module", ["exchange.cli.main", "audit.cli.main"])
def test_help_loads_nothing_that_only_a_failure_or_an_answer_needs(module: str) -> None:
    spared = ("keys.refusals", "keys.errors", "keys.cli.failure", "json", "shutil")
    program = (
        f"import contextlib, sys\nfrom {module} import main\n"
        "with contextlib.suppress(SystemExit):\n    main(['--help'])\n"
        f"print('LOADED', [name for name in {spared!r} if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.startswith("Usage: exchange")
    assert told.stdout.endswith("LOADED []\n")


def test_a_chosen_command_has_the_words_for_its_end_before_it_runs() -> None:
    program = (
        "import sys\nfrom exchange.cli.main import cli\n"
        "cli.get_command(None, 'help')\nassert 'keys.cli.failure' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("columns", ["", "0", "40", "81", "100", "300", "wide"])
def test_help_is_as_wide_as_click_would_have_it(columns: str) -> None:
    program = (
        "import click\nfrom exchange.cli.main import cli\n"
        "print(*(made(cli, info_name='exchange', max_content_width=100).make_formatter().width"
        " for made in (cli.context_class, click.Context)))"
    )
    environment = {**os.environ, "COLUMNS": columns}
    told = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    ours, plain = told.stdout.split()
    assert ours == plain


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_a_summary(name: str) -> None:
    typed = type_line([name, "--help"])
    assert typed.code == 0
    assert "Usage: exchange " + name in typed.out
    assert COMMANDS[name][1].endswith(".")


def groups_of(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Group]]:
    """Yield a group of commands and all groups below it."""
    yield path, group
    context = click.Context(group, info_name=path[-1])
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if isinstance(found, click.Group):
            yield from groups_of(found, (*path, name))


@pytest.mark.parametrize(("program", "name"), [(cli, "exchange"), (audit, "exchange-audit")])
def test_every_list_of_commands_fits_a_terminal_of_eighty_columns_whole(program: click.Group, name: str) -> None:
    found = list(groups_of(program, (name,)))
    assert found
    for path, group in found:
        text = group.get_help(click.Context(group, info_name=" ".join(path), terminal_width=80))
        _, listed, text = text.partition("Commands:")
        assert listed
        assert not [line for line in text.splitlines() if line.endswith("...") or len(line) > 80], path


def test_an_unknown_command_is_wrong_use() -> None:
    typed = type_line(["pubish"])
    assert typed.code == 2
    assert typed.err.startswith("exchange: error: No such command")
    assert typed.out == ""


def test_a_failure_with_json_is_one_object_on_stdout(tmp_path: Path) -> None:
    typed = type_line(["inbox", "--json", "--home", str(tmp_path / "nowhere"), "--as", "duty-1"])
    assert typed.code == 5
    assert typed.err == ""
    told = json.loads(typed.out)
    assert (told["ok"], told["code"], told["retryable"]) == (False, "NO_SUCH_FILE", False)


def _rules(*codes: str) -> RulesError:
    return RulesError(tuple(Complaint(code=code, path="header", message="wrong") for code in codes))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (_rules("P-ISSUER"), 3),
        (_rules("P-ISSUER", "R-AGENCY"), 2),
        (_rules("S-required"), 2),
        (_rules("Y-KEY"), 2),
        (RefusedError("NOT_ALLOWED", "no role"), 3),
        (RefusedError("UNOPENABLE", "another passphrase"), 4),
        (RefusedError("NO_SUCH_BULLETIN", "none"), 5),
        (RefusedError("RECEIPT_INVALID", "proves nothing"), 6),
        (RefusedError("PEER_UNTRUSTED", "another roster"), 8),
        (IntegrityError("rolled back"), 6),
        (UnavailableError("away", 3.0), 69),
        (FileNotFoundError(2, "no such file", "x"), 5),
    ],
)
def test_each_family_of_errors_has_its_exit_code(error: Exception, code: int) -> None:
    failure = failure_of(error)
    assert failure is not None
    assert failure.exit_code == code
    assert code in MEANINGS


def test_what_may_be_tried_again_says_when() -> None:
    failure = failure_of(UnavailableError("away", 3.0))
    assert failure is not None
    told = failure.to_json()
    assert (told["retryable"], told["retry_after_seconds"]) == (True, 3.0)


def test_a_fault_of_ours_is_no_known_family() -> None:
    assert failure_of(ZeroDivisionError()) is None


ASKED = {
    "exchange": "from exchange.cli.options import read_passphrase; read_passphrase(0, 'x')",
    "exchange keys": "import click, keys.cli.options; c = click.Context(click.Command('x')); c.__enter__(); keys.cli.options.Passphrases.taken(0)",
}


@pytest.mark.parametrize("command", ASKED)
def test_a_process_that_took_a_passphrase_leaves_no_core_file_row_49(command: str) -> None:
    looked = "import ctypes, resource; print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3))"
    done = subprocess.run(
        [sys.executable, "-c", f"{ASKED[command]}; {looked}"],
        input="secret\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "(0, 0) 0\n"


def test_help_of_a_topic_and_of_a_command() -> None:
    assert "130  interrupted" in type_line(["help", "exit-codes"]).out
    assert "NOT_FOR_US" in type_line(["help", "codes"]).out
    assert json.loads(type_line(["help", "exit-codes", "--json"]).out)["6"] == "verification failed"
    assert type_line(["help", "publish"]).out.startswith("Usage: exchange publish")
    assert type_line(["help", "nothing"]).code == 2


def test_completion_knows_the_commands() -> None:
    assert "_EXCHANGE_COMPLETE" in type_line(["completion", "bash"]).out


def test_a_verdict_that_nobody_read_is_no_0() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    closed = os.fdopen(writer, "w", buffering=1)
    with contextlib.redirect_stdout(closed):
        assert run(["help", "exit-codes"]) != 0
    with contextlib.suppress(BrokenPipeError):
        closed.close()
