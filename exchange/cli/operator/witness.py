"""``exchange witness``: a witness without a node, for an oversight body. No network but its own HTTP port."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from exchange.cli.options import json_option, passphrase_option, read_passphrase
from keys.cli.ending import answer, print_json

FILE = click.Path(exists=False, dir_okay=False, path_type=Path)
HOME = click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="EXCHANGE_WITNESS_HOME",
    required=True,
    help="The witness's folder.  [env: EXCHANGE_WITNESS_HOME]",
)


@click.group()
def witness() -> None:
    """Cosign other people's logs, without a node of one's own: for an oversight body.

    A witness remembers how far it has seen each log and cosigns only what extends that.
    """


@witness.command(short_help="Make a witness: its keys and its application.")
@HOME
@click.option("--name", required=True, metavar="NAME", help="The witness's name, as oversight.example/witness.")
@passphrase_option
@json_option
def init(home: Path, name: str, passphrase_fd: int | None, as_json: bool) -> None:
    """Make a witness: its two keys, and the application that a roster takes."""
    from exchange.cli.operator.witness_home import APPLICATION_FILE, check_new, make_home, vkeys

    check_new(home, name)
    made = make_home(home, name, read_passphrase(passphrase_fd, name, confirm=True))
    listed = [str(key) for key in vkeys(made)]
    note = f"send {home / APPLICATION_FILE} to whoever puts the roster together"
    answer(as_json, {"name": name, "vkeys": listed, "application": str(home / APPLICATION_FILE)}, listed, [note])


@witness.command()
@HOME
@click.argument("roster_file", type=FILE, metavar="ROSTER")
@click.argument("manifest_files", type=FILE, nargs=-1, metavar="[MANIFEST]…")
@click.option("--words", "told", metavar="WORDS", help="The roster's twelve words, as you were told them; or be asked.")
@json_option
def trust(home: Path, roster_file: Path, manifest_files: tuple[Path, ...], told: str | None, as_json: bool) -> None:
    """Witness the logs of a roster's members from now on.

    Manifests are needed only for logs that have begun a later epoch. A running witness is started again to learn them.
    """
    from exchange.cli.operator.compare_words import compare_words
    from exchange.cli.operator.witness_home import load_application, trust, vkeys
    from keys.roster import verify_first_roster
    from keys.show import load_kind

    application = load_application(home)
    signed = load_kind(roster_file, "roster")
    verify_first_roster(signed)
    manifests = tuple(load_kind(each, "manifest") for each in manifest_files)
    compare_words(signed, told)
    trusted = trust(home, signed, manifests, time.time_ns() // 1_000_000)
    count, federation = len(trusted.roster.members), trusted.roster.federation_name
    listed = next((each for each in trusted.roster.witnesses if each.name == application.name), None)
    is_named = listed is not None and vkeys(listed) == vkeys(application)
    warning = "warning: this roster does not name this witness; its cosignatures count for nobody"
    answer(
        as_json,
        {"name": application.name, "logs": count, "federation": federation, "named": is_named},
        [f"{application.name} witnesses {count} logs of {federation}"],
        [] if is_named else [warning],
    )


@witness.command(short_help="Answer checkpoints until told to stop.")
@HOME
@click.option("--listen", default="127.0.0.1:7460", show_default=True, metavar="HOST:PORT", help="Where logs ask.")
@passphrase_option
@click.option("--quiet", is_flag=True, help="No log lines on stderr.")
@json_option
def serve(home: Path, listen: str, passphrase_fd: int | None, quiet: bool, as_json: bool) -> None:
    """Answer POST /add-checkpoint until told to stop (SIGTERM, Ctrl-C); TLS is a reverse proxy's."""
    import signal
    import threading

    from exchange.cli.operator.witness_home import load_application, open_witness
    from exchange.cli.operator.witness_http import WitnessServer

    address = _address(listen)
    name = load_application(home).name
    opened = open_witness(home, lambda: read_passphrase(passphrase_fd, name), lambda: int(time.time()))
    try:
        server = WitnessServer(address, opened, log=None if quiet else sys.stderr)
    except OSError as error:
        raise click.UsageError(f"{listen} cannot be listened on: {error.strerror}") from error

    def stop(*_: Any) -> None:
        threading.Thread(target=server.shutdown, daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    host, port = server.server_address[:2]
    shown_host = f"[{host!s}]" if ":" in str(host) else str(host)
    url = f"http://{shown_host}:{port}/add-checkpoint"
    answer(as_json, {"event": "serving", "name": name, "url": url}, [f"{name} serves at {url}"])
    server.serve_forever()
    server.server_close()
    opened.state.close()
    answer(as_json, {"event": "stopped", "name": name}, [f"{name} stopped"])


@witness.command(short_help="Say who this witness is, and how far it has seen each log.")
@HOME
@json_option
def show(home: Path, as_json: bool) -> None:
    """Say who this witness is and how far it has seen each log; no key is needed."""
    from audit.log.lock_factory import open_witness_state, witness_state_in
    from exchange.cli.operator.witness_home import NoRosterError, load_application, load_trusted, vkeys
    from keys.words import words

    application = load_application(home)
    state = open_witness_state(witness_state_in(home))
    cosigned = state.all_cosigned()
    forks = state.conflicts()
    try:
        trusted = load_trusted(home)
    except NoRosterError:
        trusted = None
    told: dict[str, Any] = {
        "name": application.name,
        "vkeys": [str(key) for key in vkeys(application)],
        "federation": trusted.roster.federation_name if trusted else None,
        "roster": trusted.digest.hex() if trusted else None,
        "words": " ".join(words(trusted.digest)) if trusted else None,
        "logs": [{"origin": each.origin, "size": each.size, "root": each.root.hex()} for each in cosigned],
        "forks": forks,
    }
    if as_json:
        print_json({"ok": True, **told})
        return
    click.echo(told["name"])
    for key in told["vkeys"]:
        click.echo(f"  key     {key}")
    click.echo(f"  roster  {told['federation']}: {told['words']}" if trusted else "  roster  none yet")
    for each in cosigned:
        click.echo(f"  log     {each.origin}  size {each.size:,}  root {each.root.hex()[:8]}")
    for origin in forks:
        click.echo(f"  FORK    {origin} has signed two histories; exchange witness fork --home {home} {origin}")


@witness.command(short_help="Write two notes that contradict each other, as evidence.")
@HOME
@click.argument("origin")
@click.option("-o", "--output", type=FILE, required=True, help="The new file.")
@json_option
def fork(home: Path, origin: str, output: Path, as_json: bool) -> None:
    """Write two notes of a log that contradict each other, as evidence for anybody; `exchange audit verify` reads it."""
    from audit.log.lock_factory import open_witness_state, witness_state_in
    from audit.note.fork import format_fork
    from keys.errors import RefusedError
    from keys.files import PUBLIC, write_file

    found = open_witness_state(witness_state_in(home)).conflict(origin)
    if found is None:
        raise RefusedError("NO_SUCH_BULLETIN", f"no fork of {origin} was seen here")
    write_file(output, format_fork(found).encode(), mode=PUBLIC)
    answer(as_json, {"file": str(output), "origin": origin}, [f"wrote {output}"])


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise click.UsageError(f"--listen: {text} is no HOST:PORT")
    return host.strip("[]"), int(port)
