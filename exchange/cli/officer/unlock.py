"""``exchange unlock`` and ``exchange lock``: an officer's keys for a sitting, so that the passphrase is typed once."""

from __future__ import annotations

from pathlib import Path

import click

from exchange.cli.options import home_option, only_officer, passphrase_option, read_passphrase

AS = click.option("--as", "officer", envvar="EXCHANGE_AS", metavar="OFFICER", help="Who you are.  [env: EXCHANGE_AS]")


@click.command()
@click.option("--minutes", type=click.IntRange(1, 15), default=15, show_default=True, help="Lock after so many idle.")
@passphrase_option
@home_option
@AS
def unlock(home: Path, officer: str | None, passphrase_fd: int | None, minutes: int) -> None:
    """Keep your keys open until you lock them, or have been idle for a while.

    They stay in a process of their own, which signs bulletins and requests to read, and nothing else.
    """
    from exchange.client.agent import Agent, detach, socket_path
    from exchange.node.enrolment import load_enrolment
    from keys.key_files import load_officer

    enrolment = load_enrolment(home, officer or only_officer(home))
    keys = load_officer(home, enrolment.officer, read_passphrase(passphrase_fd, enrolment.owner))
    agent = Agent(socket_path(enrolment), keys, idle_seconds=minutes * 60.0)
    detach(agent)
    click.echo(f"The keys of {enrolment.owner} are open; they close after {minutes} idle minutes, or: exchange lock")


@click.command()
@home_option
@AS
def lock(home: Path, officer: str | None) -> None:
    """Close your keys."""
    from exchange.client.agent import call, socket_path
    from exchange.node.enrolment import load_enrolment

    enrolment = load_enrolment(home, officer or only_officer(home))
    if call(socket_path(enrolment), {"do": "lock"}) is None:
        click.echo(f"The keys of {enrolment.owner} were not open.")
    else:
        click.echo(f"The keys of {enrolment.owner} are closed.")
