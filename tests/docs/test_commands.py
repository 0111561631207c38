"""Guides and hints name only what can be typed: every command line in them is held against click's own tree."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from audit.cli.main import audit
from exchange.cli.main import cli

REPOSITORY = Path(__file__).resolve().parents[2]
GUIDES = sorted([REPOSITORY / "README.md", *REPOSITORY.glob("docs/*.md"), REPOSITORY / "audit/README.md"])
ROOTS: dict[str, click.Command] = {"exchange": cli, "exchange-audit": audit}

_FENCE = re.compile(r"^```[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_TYPED = re.compile(r"^(?:\$ |ExecStart=)?(?:[\w./-]*/)?(exchange(?:-audit)?) (.+?)\s*(?:#.*)?$", re.MULTILINE)
_INLINE = re.compile(r"`(exchange(?:-audit)?) ([^`]+)`")
_MAKE = re.compile(r"(?:^|`)make ([a-z]+)", re.MULTILINE)
_REDIRECTION = re.compile(r"\s\d?[<>]\S+|\s[|&].*$")


def typed_lines(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the command lines of code blocks, as (program, words); what the shell keeps to itself is left out."""
    for block in _FENCE.findall(text):
        for program, rest in _TYPED.findall(block):
            yield program, shlex.split(_REDIRECTION.sub("", rest))


def command_of(program: str, words: list[str]) -> tuple[click.Command, list[str], click.Context]:
    """Walk down the tree as far as there are groups; AssertionError for a word that is no command."""
    command, context = ROOTS[program], click.Context(ROOTS[program], info_name=program)
    while isinstance(command, click.Group) and words and not words[0].startswith(("-", "…", "TOPIC", "COMMAND")):
        found = command.get_command(context, words[0])
        assert found is not None, f"{context.command_path} has no command {words[0]}"
        command, words = found, words[1:]
        context = click.Context(command, info_name=command.name, parent=context)
    return command, words, context


def check_line(program: str, words: list[str]) -> None:
    """Parse a line as click does, without running it; a home may come from the environment."""
    command, rest, context = command_of(program, words)
    if isinstance(command, click.Group):
        assert set(rest) <= {"--help", "--version", "-h"}
        return
    homes = [each for each in command.params if each.name == "home" and each.envvar]
    if homes and "--home" not in rest:
        rest = ["--home", "HOME", *rest]
    assert context.parent is not None
    command.make_context(command.name, rest, parent=context.parent)


def options_of(command: click.Command) -> set[str]:
    own = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    return own | {"--help", "-h", "--version"}


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_command_line_of_a_guide_can_be_typed(guide: Path) -> None:
    for program, words in typed_lines(guide.read_text()):
        try:
            check_line(program, words)
        except click.UsageError as error:
            pytest.fail(f"{guide.name}: {program} {' '.join(words)}: {error.format_message()}")


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_command_that_a_guide_mentions_is_there_with_its_options(guide: Path) -> None:
    for program, rest in _INLINE.findall(guide.read_text()):
        command, words, _ = command_of(program, rest.split())
        assert {word for word in words if word.startswith("--")} <= options_of(command), f"{program} {rest}"


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_make_target_of_a_guide_is_in_the_makefile(guide: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    text = guide.read_text()
    wanted = {name for block in _FENCE.findall(text) for name in _MAKE.findall(block)} | set(
        re.findall(r"`make ([a-z]+)`", text)
    )
    assert wanted <= targets


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_link_of_a_guide_leads_to_a_file(guide: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", guide.read_text()):
        assert (guide.parent / target).exists(), target


def test_the_guides_hold_command_lines_for_this_test_to_check() -> None:
    lines = [line for guide in GUIDES for line in typed_lines(guide.read_text())]
    assert len(lines) > 30


@pytest.mark.parametrize(
    "line",
    ["exchange publsh a.yaml", "exchange publish --nope a.yaml", "exchange keys make-officer", "exchange hold 1"],
)
def test_a_line_that_cannot_be_typed_is_found(line: str) -> None:
    program, *words = line.split()
    with pytest.raises((AssertionError, click.UsageError)):
        check_line(program, words)


def spoken(path: Path) -> Iterator[str]:
    """Yield every string of a module: hints and messages among them."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_hints_name_only_commands_that_are_there() -> None:
    context = click.Context(cli, info_name="exchange")
    groups = {name: cli.get_command(context, name) for name in ("node", "keys", "audit")}
    wrong = []
    for package in ("exchange", "keys", "audit"):
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            for text in spoken(path):
                for name, following in re.findall(r"\bexchange (node|keys|audit) ([a-z][a-z-]+)", text):
                    group = groups[name]
                    assert isinstance(group, click.Group)
                    if following not in group.list_commands(context):
                        wrong.append(f"{path.name}: exchange {name} {following}")
    assert wrong == []
