"""``help TOPIC`` and ``completion SHELL`` of a program: exit codes and codes from the one table, words at 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from typing import Any

import click

from keys.cli.ending import print_json
from keys.cli.options import JSON
from keys.refusals import MEANINGS, TABLE, CodeRow

WIDTH = 80
SHELLS = ("bash", "zsh", "fish")
FindGroup = Callable[[], click.Group]


def exit_codes() -> dict[str, str]:
    """Return what a script can branch on."""
    return {str(int(number)): meaning for number, meaning in MEANINGS.items()}


def codes() -> dict[str, dict[str, Any]]:
    """Return every code with all that belongs to it."""
    return {
        row.code: {
            "meaning": row.sentence,
            "number": int(row.number) if row.number is not None else None,
            "exit_code": int(row.exit_code),
            "status": row.status,
            "another_attempt": row.cure.value,
            "retryable": row.retryable,
            "hint": row.hint or None,
        }
        for row in TABLE.values()
    }


def code_lines() -> list[str]:
    """Return every code in words: name and exit code, a sentence, whether another attempt may help, a hint."""
    refusals = [row for row in TABLE.values() if row.number is not None]
    endings = [row for row in TABLE.values() if row.number is None]
    heads = ("Refusals, as they stand in logs and travel between nodes:", "Other endings:")
    lines = []
    for head, rows in zip(heads, (refusals, endings), strict=True):
        lines += [head, "", *(line for row in rows for line in _in_words(row)), ""]
    return lines[:-1]


def _in_words(row: CodeRow) -> list[str]:
    told = [f"{row.code}  exit {int(row.exit_code)}", *_wrapped(row.sentence)]
    if row.cure.value != "no":
        told += _wrapped(f"May another attempt help? {row.cure.value[0].upper()}{row.cure.value[1:]}.")
    return told + (_wrapped(f"hint: {row.hint}") if row.hint else [])


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)


def make_help(program: str, find_group: FindGroup, more: Mapping[str, tuple[str, Mapping[str, str]]]) -> click.Command:
    """Make the command ``help``; *more* are topics of this program alone: what each is about, and its table."""
    about = {
        "exit-codes": "what a script can branch on",
        "codes": "every code: what it means, and whether another attempt may help",
        **{name: told for name, (told, _) in more.items()},
        "COMMAND": "how a command is used",
    }
    tables: dict[str, Mapping[str, Any]] = {
        "exit-codes": exit_codes(),
        **{name: table for name, (_, table) in more.items()},
    }

    @click.command("help", help=f"Explain a topic: {', '.join([*tables, 'codes'])}; or a command.")
    @click.argument("topic", required=False, metavar="[TOPIC]")
    @JSON
    def command(topic: str | None, as_json: bool) -> None:
        if topic is None:
            _print({"topics": about}, [f"{program} help {name:<12}  {told}" for name, told in about.items()], as_json)
        elif topic == "codes":
            _print(codes(), code_lines(), as_json)
        elif topic in tables:
            table = tables[topic]
            width = max(len(name) for name in table)
            _print(table, [f"{name:<{width}}  {meaning}".rstrip() for name, meaning in table.items()], as_json)
        else:
            _print(*_command_help(program, find_group(), topic), as_json)

    return command


def _command_help(program: str, group: click.Group, name: str) -> tuple[dict[str, str], list[str]]:
    context = click.Context(group, info_name=program)
    command = group.get_command(context, name)
    if command is None:
        raise click.UsageError(f"there is no topic or command {name[:40]!a}; {program} help lists the topics")
    with click.Context(command, info_name=name, parent=context) as inner:
        text = command.get_help(inner)
    return {"command": name, "help": text}, [text]


def make_completion(program: str, find_group: FindGroup) -> click.Command:
    """Make the command ``completion``."""
    told = (
        f"Print the completion script of a shell; for bash: {program} completion bash > ~/.bash_completion.d/{program}"
    )

    @click.command("completion", help=told)
    @click.argument("shell", type=click.Choice(SHELLS))
    @JSON
    def command(shell: str, as_json: bool) -> None:
        from click.shell_completion import get_completion_class

        found = get_completion_class(shell)
        assert found is not None
        variable = f"_{program}_COMPLETE".replace("-", "_").upper()
        script = found(find_group(), {}, program, variable).source()
        _print({"shell": shell, "script": script}, [script], as_json)

    return command


def _print(value: Mapping[str, Any], lines: list[str], as_json: bool) -> None:
    if as_json:
        print_json(dict(value))
    else:
        click.echo("\n".join(lines))
