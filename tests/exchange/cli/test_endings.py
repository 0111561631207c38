"""Every command of every group ends through one place: one form of an error, one table of exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from audit.cli.main import audit
from exchange.cli.main import cli
from keys.cli.ending import run
from keys.cli.failure import CommandError, failure_of
from keys.refusals import TABLE
from tests.support.running import type_line

FORM = ["ok", "code", "message", "hint", "retryable"]


def commands(group: click.Group, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command below a group, with the words that name it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*names, name))
        else:
            yield (*names, name), command


@pytest.mark.parametrize("group", [cli, audit], ids=["exchange", "exchange-audit"])
def test_every_command_of_every_group_takes_json(group: click.Group) -> None:
    without = [names for names, command in commands(group) if not any("--json" in each.opts for each in command.params)]
    assert without == []
    assert len(list(commands(group))) > 8  # control: the walk goes into the groups


@pytest.mark.parametrize("group", [cli, audit], ids=["exchange", "exchange-audit"])
def test_wrong_use_of_every_command_is_one_object_in_one_form(
    group: click.Group, capsys: pytest.CaptureFixture[str]
) -> None:
    for names, _ in commands(group):
        assert run(group, [*names, "--no-such-option", "--json"], "program") == 2, names
        typed = capsys.readouterr()
        told = json.loads(typed.out)
        assert (list(told), told["code"], typed.err) == (FORM, "USAGE", ""), names
        assert told["hint"] == f"program {' '.join(names)} --help"


MISSING = {
    "inbox": ["inbox", "--home", "{f}", "--as", "duty"],
    "audit report": ["audit", "report", "{f}", "-o", "{f}.html"],
    "audit verify": ["audit", "verify", "{f}"],
    "audit lanes": ["audit", "lanes", "{f}"],
    "audit compare": ["audit", "compare", "{f}", "{f}"],
    "audit bundle": ["audit", "bundle", "{f}"],
    "audit evidence": ["audit", "evidence", "x", "--home", "{f}", "--purpose", "x", "-o", "{f}.zip"],
    "audit stamp": ["audit", "stamp", "{f}"],
    "check": ["check", "{f}"],
    "draft": ["draft", "lookout", "--home", "{f}"],
    "keys show": ["keys", "show", "{f}"],
    "keys make manifest": ["keys", "make", "manifest", "--home", "{f}", "--roster", "{f}", "-o", "{f}.manifest"],
    "keys sign roster": ["keys", "sign", "roster", "{f}", "--home", "{f}", "--yes"],
    "node status": ["node", "status", "--home", "{f}"],
    "node recover": ["node", "recover", "--from-peers", "--home", "{f}"],
    "node serve": ["node", "serve", "--home", "{f}"],
    "unlock": ["unlock", "--home", "{f}", "--as", "duty"],
    "lock": ["lock", "--home", "{f}"],
    "witness show": ["witness", "show", "--home", "{f}"],
}


@pytest.mark.parametrize("name", MISSING)
def test_what_is_missing_ends_in_5_in_one_form_whatever_the_command(name: str, tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    words = [word.replace("{f}", str(missing)) for word in MISSING[name]]
    plain = type_line(words)
    assert (plain.code, plain.out) == (5, "")
    assert plain.err.startswith(f"exchange: error: no such file or folder: {missing}")
    assert plain.err.count("exchange: error: ") == 1
    typed = type_line([*words, "--json"])
    told = json.loads(typed.out)
    assert (typed.code, typed.err, list(told)) == (5, "", FORM)
    assert (told["ok"], told["code"], told["retryable"]) == (False, "NO_SUCH_FILE", False)


def test_a_verdict_keeps_its_form_where_an_error_has_one() -> None:
    failure = failure_of(CommandError("REFUTED", "broken", answer={"verdict": "not verified: broken"}))
    assert failure is not None
    assert (failure.exit_code, failure.to_json()) == (6, {"verdict": "not verified: broken"})


@pytest.mark.parametrize(("group", "program"), [(cli, "exchange"), (audit, "exchange-audit")])
def test_help_codes_says_everything_in_80_columns(
    group: click.Group, program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(group, ["help", "codes"], program) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    for row in TABLE.values():
        at = lines.index(f"{row.code}  exit {int(row.exit_code)}")
        assert " ".join(map(str.strip, lines[at + 1 : at + 5])).startswith(row.sentence)
    assert run(group, ["help", "codes", "--json"], program) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["LANE_GAP"]["retryable"] is True
    assert list(told) == list(TABLE)


@pytest.mark.parametrize(("group", "program"), [(cli, "exchange"), (audit, "exchange-audit")])
def test_both_programs_tell_their_product_and_complete_their_commands(
    group: click.Group, program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(group, ["--version"], program) == 0
    assert capsys.readouterr().out.startswith(f"{program} (Interagency Exchange) ")
    for shell in ("bash", "zsh", "fish"):
        assert run(group, ["completion", shell], program) == 0
        assert f"{program.replace('-', '_').upper()}_COMPLETE" in capsys.readouterr().out
    asked = {f"_{program.replace('-', '_').upper()}_COMPLETE": "bash_complete", "COMP_WORDS": f"{program} he"}
    command = Path(sys.executable).with_name(program)  # as a shell asks it
    done = subprocess.run(
        [command], env={**os.environ, **asked, "COMP_CWORD": "1"}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "plain,help\n"), done.stderr
