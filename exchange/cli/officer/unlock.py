"""``exchange unlock`` and ``exchange lock``: an officer's keys for a sitting, so that the passphrase is typed once."""

from __future__ import annotations

from pathlib import Path

import click

from exchange.cli.options import home_option, json_option, only_officer, passphrase_option, read_passphrase
from keys.cli.ending import answer

AS = click.option("--as", "officer", envvar="EXCHANGE_AS", metavar="OFFICER", help="Who you are.  [env: EXCHANGE_AS]")


@click.command()
@click.option("--minutes", type=click.IntRange(1, 15), default=15, show_default=True, help="Lock after so many idle.")
@passphrase_option
@home_option
@AS
@json_option
def unlock(home: Path, officer: str | None, passphrase_fd: int | None, minutes: int, as_json: bool) -> None:
    """Keep your keys open until you lock them, or have been idle for a while.

    They stay in a process of their own, which signs bulletins and requests to read, and nothing else.
    """
    from exchange.client.agent import Agent, detach, socket_path
    from exchange.node.enrolment import load_enrolment
    from keys.key_files import load_officer

    enrolment = load_enrolment(home, officer or only_officer(home))
    keys = load_officer(home, enrolment.officer, lambda: read_passphrase(passphrase_fd, enrolment.owner))
    agent = Agent(socket_path(enrolment), keys, idle_seconds=minutes * 60.0)
    detach(agent)
    line = f"The keys of {enrolment.owner} are open; they close after {minutes} idle minutes, or: exchange lock"
    answer(as_json, {"owner": enrolment.owner, "open": True, "idle_minutes": minutes}, [line])


@click.command()
@home_option
@AS
@json_option
def lock(home: Path, officer: str | None, as_json: bool) -> None:
    """Close your keys."""
    from exchange.client.agent import call, socket_path
    from exchange.node.enrolment import load_enrolment

    enrolment = load_enrolment(home, officer or only_officer(home))
    were_open = call(socket_path(enrolment), {"do": "lock"}) is not None
    line = f"The keys of {enrolment.owner} {'are closed' if were_open else 'were not open'}."
    answer(as_json, {"owner": enrolment.owner, "open": False, "were_open": were_open}, [line])
