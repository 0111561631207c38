"""Options that commands share: whose home, as whom, and where the passphrase comes from."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from keys.cli.options import JSON
from keys.cli.passphrase import first_passphrase, passphrases_in
from keys.errors import RefusedError
from keys.memory_guard import harden

CREDENTIAL = "exchange-passphrase"  # systemd: LoadCredential=exchange-passphrase:PATH

__all__ = [
    "home_option",
    "json_option",
    "officer_options",
    "only_officer",
    "passphrase_option",
    "read_passphrase",
]

F = TypeVar("F", bound=Callable[..., Any])


class PassphraseError(RefusedError):
    """There is no passphrase, and nobody to ask."""

    def __init__(self, whose: str) -> None:
        super().__init__("UNOPENABLE", f"the passphrase of {whose} is needed, and there is no terminal to ask at")
        self.hint = "--passphrase-fd N reads it from a file descriptor; exchange unlock keeps keys for a sitting"


def home_option(command: F) -> F:
    """Add ``--home``."""
    return click.option(
        "--home",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="EXCHANGE_HOME",
        required=True,
        help="The node's home folder.  [env: EXCHANGE_HOME]",
    )(command)


def passphrase_option(command: F) -> F:
    """Add ``--passphrase-fd``."""
    return click.option(
        "--passphrase-fd", type=click.IntRange(0, 1023), metavar="N", help="Read the passphrase from descriptor N."
    )(command)


def json_option(command: F) -> F:
    """Add ``--json``."""
    return JSON(command)


def officer_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--home``, ``--as`` and ``--passphrase-fd`` and hand the command a connected client as ``node``."""

    @wraps(command)
    def run(home: Path, officer: str | None, passphrase_fd: int | None, **given: Any) -> Any:
        from exchange.client.client import Client
        from exchange.node.enrolment import load_enrolment

        def passphrase() -> bytes:
            return read_passphrase(passphrase_fd, load_enrolment(home, whose).owner)

        whose = officer or only_officer(home)
        with Client.connect(home, whose, passphrase=passphrase) as node:
            return command(node=node, **given)

    named = click.option(
        "--as", "officer", envvar="EXCHANGE_AS", metavar="OFFICER", help="Who you are.  [env: EXCHANGE_AS]"
    )
    return passphrase_option(home_option(named(run)))


def only_officer(home: Path) -> str:
    """Name the one officer whose keys lie in a home."""
    if not home.is_dir():
        raise FileNotFoundError(2, "no such folder", str(home))
    names = sorted(each.name for each in (home / "officers").glob("*") if (each / "officer.keys").exists())
    if len(names) == 1:
        return names[0]
    raise click.UsageError(f"say who you are: --as {' or --as '.join(names) or 'OFFICER'}")


def read_passphrase(descriptor: int | None, whose: str, *, confirm: bool = False) -> bytes:
    """Take a passphrase from a descriptor, a systemd credential or the terminal; never from argv or environment.

    Args:
        descriptor: Read to its first newline, or its end.
        whose: For the prompt.
        confirm: Ask twice; for a new one.
    """
    harden()  # from here on this process holds keys
    if descriptor is not None:
        return first_passphrase(descriptor)
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder and (file := Path(folder) / CREDENTIAL).exists():
        return passphrases_in(file.read_bytes(), str(file))[0]
    if not sys.stdin.isatty():
        raise PassphraseError(whose)
    typed: str = click.prompt(
        f"Passphrase for {whose}", hide_input=True, err=True, confirmation_prompt=confirm, prompt_suffix=": "
    )
    return typed.encode()
