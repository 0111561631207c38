"""What ``exchange node recover`` says while it goes on, and how it reads where members are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from keys.cli.ending import print_json
from keys.errors import RefusedError

if TYPE_CHECKING:
    from keys.identity import AgencyId


@dataclass(frozen=True, slots=True)
class RecoverySteps:
    """What a recovery did: lines for people while it goes on, or one object for programs when it has ended."""

    as_json: bool
    done: dict[str, Any] = field(default_factory=dict)

    def add(self, line: str, **done: Any) -> None:
        """Take note of something that was done; a line of nothing is for programs alone."""
        self.done.update(done)
        if line and not self.as_json:
            click.echo(line)

    def note(self, line: str) -> None:
        """Say to people what they may want to know, or to do next."""
        if not self.as_json:
            click.echo(f"exchange: {line}", err=True)

    def end(self) -> None:
        """Print the object, where a program wants it."""
        if self.as_json:
            print_json({"ok": True, **self.done})


def addresses_of(peers: tuple[str, ...]) -> dict[AgencyId, list[str]]:
    """Read ``--peer AGENCY=HOST:PORT``, repeated."""
    found: dict[AgencyId, list[str]] = {}
    for each in peers:
        agency, equals, address = each.partition("=")
        if not equals or ":" not in address:
            raise click.UsageError(f"--peer {each!a}: AGENCY=HOST:PORT was expected, as TH-DSI=192.0.2.7:7443")
        found.setdefault(code_of(agency, "--peer"), []).append(address)
    return found


def code_of(text: str, where: str) -> AgencyId:
    """Read an agency's code; *where* is what it was typed after."""
    from keys.identity import parse_agency

    try:
        return parse_agency(text)
    except RefusedError as error:
        raise click.UsageError(f"{where}: {error}") from error
