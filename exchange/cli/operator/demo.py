"""``exchange demo``: the whole thing on this machine, told as it happens, with the next commands to type at its end."""

from __future__ import annotations

import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exchange.cli.options import json_option
from keys.cli.ending import print_json

if TYPE_CHECKING:
    from exchange.demo.demo import DemoOutcome


@click.command()
@click.option("--keep", type=click.Path(path_type=Path), metavar="DIR", help="Keep everything in this new folder.")
@json_option
def demo(keep: Path | None, as_json: bool) -> None:
    """Send the 25 packaged bulletins between 18 agencies on this machine, then have an auditor look.

    All is real but the people: keys, mutual TLS, officers' programs, logs. Takes about half a minute.
    """
    if keep is not None and keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise FileExistsError(17, "it is there already", str(keep))
    folder = (keep or Path(tempfile.mkdtemp(prefix="exchange-demo-"))).absolute()
    try:
        from exchange.demo.demo import run_demo

        outcome = run_demo(folder, _quiet if as_json else click.echo)
        if as_json:
            print_json(outcome.to_json())
        else:
            click.echo("\n".join(["", *next_commands(outcome, kept=keep)]))
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def _quiet(line: str) -> None:
    """Print nothing: programs want the one object at the end."""


def program_name() -> str:
    """Name this program as the reader's shell finds it: ``exchange``, or the path that it was started by."""
    found = shutil.which("exchange")
    started = Path(sys.argv[0])
    if found is not None and started.exists() and Path(found).samefile(started):
        return "exchange"
    if started.name == "exchange":
        return shlex.quote(sys.argv[0])
    return f"{shlex.quote(sys.executable)} -P -m exchange"


def next_commands(outcome: DemoOutcome, *, kept: Path | None) -> list[str]:
    """Write what to type next; every line that begins with two blanks is a command, usable as it stands."""
    program = program_name()
    if kept is None:
        return ["Everything was removed again. To look round in it:", f"  {program} demo --keep exchange-demo"]
    from exchange.demo.demo import TAMPERED, seen_by_others
    from exchange.demo.world import OFFICER, PASSPHRASE_FILE, ROSTER_FILE

    folder = shlex.quote(str(kept))
    reader, bulletin = outcome.example
    home, log = f"{folder}/{reader}", outcome.tampered
    # Not the one whose log is verified below: what a node enters with most others down waits for its witnesses.
    other = next(each.id for each, _, _ in outcome.agencies if each.id not in (reader, log))
    served = [
        f"--home {folder}/{each} --passphrase-fd 3 3<{folder}/{each}/{PASSPHRASE_FILE}" for each in (reader, other)
    ]
    officer = f"--home {home} --as {OFFICER} --passphrase-fd 3 3<{home}/{PASSPHRASE_FILE}"
    external = " ".join(shlex.quote(str(path)) for path in seen_by_others(kept, log)[:2])
    tampered = " ".join(shlex.quote(str(path)) for path in seen_by_others(kept, log)[:1])
    return [
        f"Everything is in {kept}. Type next, for instance:",
        "",
        f"Start the nodes of {reader} and {other}, each in a terminal of its own; none signs anything before another",
        "member has told it what it holds of its log:",
        *(f"  {program} node serve {each}" for each in served),
        f"In a third terminal: be an officer of {reader}, open your keys for a sitting, look what has come, read one:",
        f"  {program} unlock {officer}",
        f"  {program} inbox --home {home} --as {OFFICER}",
        f"  {program} read {bulletin} --home {home} --as {OFFICER} --for 'EXERCISE 7' --because 'to see one'",
        f"  {program} outbox --home {home} --as {OFFICER}",
        f"  {program} lock --home {home} --as {OFFICER}",
        "Be the auditor; neither node nor network is needed:",
        f"  {program} audit verify {folder}/{log} --roster {folder}/{ROSTER_FILE} --against {external}",
        f"  {program} audit show {folder}/{log} --kind OPENED",
        "Pair two logs, draw one as a page, write what proves that bulletin:",
        f"  {program} audit compare {folder}/{log} {home}",
        f"  {program} audit report {folder}/{log} --roster {folder}/{ROSTER_FILE} -o report.html",
        f"  {program} audit evidence {bulletin} --home {home} --purpose 'EXERCISE 7' --without-content -o evidence.zip",
        "The altered copy; this one ends with 6:",
        f"  {program} audit verify {folder}/{TAMPERED}/{log} --roster {folder}/{ROSTER_FILE} --against {tampered}",
    ]
