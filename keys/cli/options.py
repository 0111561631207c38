"""What the commands of the ceremony share: options, where passphrases come from, the time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keys.cli.passphrase import all_passphrases
from keys.errors import RefusedError
from keys.memory_guard import harden

if TYPE_CHECKING:
    from keys.federation import Federation

_LINES = "keys.cli.passphrases"

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
HOME = click.option("--home", type=FOLDER, required=True, help="The agency's folder.")
FD = click.option("--passphrase-fd", type=int, metavar="N", help="Read passphrases from this file descriptor.")
OUTPUT = click.option("-o", "--output", type=FILE, required=True, help="The new file.")
ROSTER = click.option("--roster", type=FILE, required=True, help="The signed roster.")
JSON = click.option("--json", "as_json", is_flag=True, help="Write JSON for programs, on failure too.")
VERSION = click.option("--version", type=click.IntRange(1), default=1, show_default=True, help="One above the last.")


@dataclass(slots=True)
class Passphrases:
    """Where passphrases come from: lines of a descriptor (the last serves all the rest), or the terminal."""

    fresh: bool
    lines: list[bytes] = field(default_factory=list, repr=False)

    @classmethod
    def taken(cls, descriptor: int | None, *, fresh: bool = False) -> Callable[[str], bytes]:
        """Read the descriptor, if one is given; *fresh* asks twice at the terminal."""
        harden()  # from here on this process holds keys
        if descriptor is None:
            return cls(fresh=fresh)
        read = click.get_current_context().meta  # a descriptor can be read once; holders share its lines
        if _LINES not in read:
            read[_LINES] = all_passphrases(descriptor)
        return cls(fresh=fresh, lines=read[_LINES])

    @classmethod
    def late(cls, descriptor: int | None, holder: str) -> Callable[[], bytes]:
        """Return what asks for one holder's passphrase, once it is called."""
        return lambda: cls.taken(descriptor)(holder)

    def __call__(self, holder: str) -> bytes:
        """Return the passphrase of ``root``, ``node`` or a person."""
        if self.lines:
            line = self.lines[0] if len(self.lines) == 1 else self.lines.pop(0)
            if not line:
                raise RefusedError("UNOPENABLE", f"the line for {holder} holds no passphrase")
            return line
        prompt = f"Passphrase of {holder}"
        return str(click.prompt(prompt, hide_input=True, confirmation_prompt=self.fresh, err=True)).encode()


def federation_of(roster: Path) -> Federation:
    from keys.federation import Federation
    from keys.show import load_kind

    return Federation.found(load_kind(roster, "roster"))


def check_new(output: Path) -> None:
    """Refuse a file that is there already, or whose folder is not, before anybody types a passphrase."""
    if output.exists():
        raise FileExistsError(17, "exists", str(output))
    if not output.absolute().parent.is_dir():
        raise FileNotFoundError(2, "no such folder", str(output.parent))


def check_member(home: Path, federation: Federation) -> None:
    """Refuse a roster in which a home's keys do not stand, before anybody types a passphrase; NOT_A_MEMBER."""
    from keys.agency import load_application

    mine = load_application(home).member
    member = federation.member(mine.agency, now_ms())
    if member.root.key_id != mine.root.key_id:
        raise RefusedError("NOT_A_MEMBER", f"the roster names another root of {mine.agency} than {home} has")


def now_ms() -> int:
    return time.time_ns() // 1_000_000
