"""``exchange help TOPIC`` and ``exchange completion SHELL``."""

from __future__ import annotations

import json
from collections.abc import Callable

import click

from exchange.cli.exits import HINTS, MEANINGS

_ENVIRONMENT = {
    "EXCHANGE_HOME": "the node's home folder, as --home",
    "EXCHANGE_AS": "who you are, as --as",
    "EXCHANGE_WITNESS_HOME": "the folder of a witness without a node, as exchange witness --home",
    "XDG_RUNTIME_DIR": "where the agent of exchange unlock listens",
    "CREDENTIALS_DIRECTORY": "of systemd: exchange-passphrase in it is the passphrase",
}


@click.command()
@click.argument("topic", required=False, metavar="[TOPIC]")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object, for programs.")
def topics(topic: str | None, as_json: bool) -> None:
    """Explain a topic: exit-codes, codes, environment; or a command.

    "exchange help publish" is "exchange publish --help".
    """
    if topic is None:
        click.echo("exchange help exit-codes    what a script can branch on")
        click.echo("exchange help codes         the public refusal codes")
        click.echo("exchange help environment   variables that are read")
        click.echo("exchange help COMMAND       how a command is used")
    elif topic in _TOPICS:
        _tell(_TOPICS[topic](), as_json)
    else:
        _command_help(topic)


def _exit_codes() -> dict[str, str]:
    return {str(number): meaning for number, meaning in MEANINGS.items()}


def _codes() -> dict[str, str]:
    from audit.entry.kinds import Outcome

    return {each.name: HINTS.get(each.name, "") for each in Outcome if each is not Outcome.DONE}


_TOPICS: dict[str, Callable[[], dict[str, str]]] = {
    "exit-codes": _exit_codes,
    "codes": _codes,
    "environment": lambda: _ENVIRONMENT,
}


def _tell(table: dict[str, str], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(table))
        return
    width = max(len(name) for name in table)
    for name, meaning in table.items():
        click.echo(f"{name:<{width}}  {meaning}".rstrip())


def _command_help(name: str) -> None:
    from exchange.cli.main import cli

    context = click.Context(cli, info_name="exchange")
    command = cli.get_command(context, name)
    if command is None:
        raise click.UsageError(f"there is no topic or command {name[:40]!a}; exchange help lists the topics")
    with click.Context(command, info_name=name, parent=context) as inner:
        click.echo(command.get_help(inner))


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell; for bash: exchange completion bash > ~/.bash_completion.d/exchange"""
    from click.shell_completion import get_completion_class

    from exchange.cli.main import cli

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(cli, {}, "exchange", "_EXCHANGE_COMPLETE").source())
