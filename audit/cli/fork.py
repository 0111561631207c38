"""``exchange audit fork`` and what ``verify`` does with an evidence file of two notes.

Exit codes: 6 the fork is proven, so the log is refuted; 7 nothing is proven, whatever the reason; 5 no such file.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audit.cli.shared import judging, open_folder, shown, write_new
from audit.cli.verify import given_key
from keys.cli.ending import print_json
from keys.cli.failure import CommandError
from keys.cli.options import JSON
from keys.refusals import Exit

if TYPE_CHECKING:  # loaded when they are needed: help stays quick
    from collections.abc import Mapping

    from audit.cli.verify_options import VerifyOptions
    from audit.note.checkpoint import VerifierKey
    from audit.note.fork import Fork, ForkFound
    from audit.tiles.tiles import TileFolder


@click.command()
@click.argument("first", metavar="NOTE")
@click.argument("second", metavar="NOTE")
@click.option("-o", "--output", required=True, metavar="FILE", help="Write here; an existing file stays.")
@click.option("--log", "directory", metavar="DIR", help="The log as it is now: it proves that another note is not its.")
@click.option("--key", "key_text", metavar="VKEY", help="The log's key: NAME+HASH+BASE64.")
@click.option("--roster", "roster_file", metavar="FILE", help="Take the log's key from this roster.")
@JSON
def fork(
    first: str,
    second: str,
    output: str,
    directory: str | None,
    key_text: str | None,
    roster_file: str | None,
    as_json: bool,
) -> int:
    """Make one file of two checkpoints of one log that contradict each other.

    Two of one size prove a fork by themselves; two of different sizes need the log folder that the larger one is of
    (--log). Exit 6: the fork is proven. 7: the file is written and proves nothing yet.
    """
    from audit.note.fork import format_fork, pair, verify_fork

    with _proving():
        made = pair(_note(first), _note(second))
        _check_one_log(made)
        key = log_key(made, key_text, roster_file)
        if directory is not None:
            made = _from_folder(made, directory)
        found = verify_fork(made, key)
    write_new(output, format_fork(made).encode())
    return _tell(found, as_json, {"file": output})


def verify_file(path: Path, options: "VerifyOptions") -> int:
    """Verify an evidence file with the log's key alone, report, and return the exit code."""
    from audit.note.fork import MAX_FORK_BYTES, parse_fork, verify_fork

    with judging(str(path), "NOT_CHECKED"):
        with path.open("rb") as file:
            text = file.read(MAX_FORK_BYTES + 1).decode()
        made = parse_fork(text)
        key = log_key(made, options.key_text, options.roster_file)
        found = verify_fork(made, key)
    return _tell(found, options.as_json)


@contextmanager
def _proving() -> Iterator[None]:
    """End as unproven whatever is wrong with two notes: only a fork that holds refutes a log."""
    from keys.errors import RefusedError

    try:
        yield
    except RefusedError as error:
        why = str(error).removeprefix("fork: ").removeprefix("checkpoint: ")
        raise CommandError("NOT_CHECKED", why) from error


def _check_one_log(made: "Fork") -> None:
    """Refuse notes of two logs by their names, and not by what the log's folder then lacks."""
    from audit.note.checkpoint import parse_note

    names = [parse_note(note).checkpoint.origin for note in (made.older, made.newer)]
    if names[0] != names[1]:
        raise CommandError(
            "NOT_CHECKED", f"notes of two logs, {names[0]} and {names[1]}: a fork is two histories of one"
        )


def log_key(made: "Fork", key_text: str | None, roster_file: str | None) -> "VerifierKey":
    """Return the key of the log that the notes name; evidence that vouches for itself is none."""
    from audit.note.checkpoint import parse_note
    from audit.verify.trust import key_of_origin

    if key_text:
        return given_key(key_text)
    if not roster_file:
        why = "whose key the log's is must be known from outside: give --key or --roster"
        raise CommandError("NOT_CHECKED", why)
    with judging(roster_file, "NOT_CHECKED"):
        return key_of_origin(Path(roster_file), parse_note(made.older).checkpoint.origin)[0]


def _from_folder(made: "Fork", directory: str) -> "Fork":
    """Take the root at the older size, and its proof, from the folder that the newer note is of."""
    from audit.note.checkpoint import parse_note

    older, newer = parse_note(made.older).checkpoint, parse_note(made.newer).checkpoint
    return prove(made, older.size, newer.size, open_folder(directory))


def prove(made: "Fork", older: int, newer: int, folder: "TileFolder") -> "Fork":
    """Return *made* with the folder's root at size *older* and the proof to *newer*.

    Raises:
        RefusedError: The folder does not hold them.
    """
    from dataclasses import replace

    from keys.errors import RefusedError

    if older == newer:
        return made
    try:
        tree = folder.tree(newer)
        return replace(made, root=tree.root(older), proof=tuple(tree.consistency(older, newer)))
    except LookupError as error:
        raise RefusedError("MALFORMED", f"the log folder does not reach size {newer}: {error}") from error


def _note(name: str) -> str:
    """Read a note from a file: a checkpoint, or a receipt, whose note it is."""
    from audit.note.checkpoint import parse_note
    from audit.note.tlogproof import FIRST_LINE, parse_proof
    from audit.verify.external_checkpoints import MAX_EXTERNAL_BYTES
    from keys.errors import RefusedError

    try:
        with Path(name).open("rb") as file:
            text = file.read(MAX_EXTERNAL_BYTES + 1).decode()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise click.UsageError(f"{name}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RefusedError("MALFORMED", f"{name}: not UTF-8") from error
    try:
        note = parse_proof(text).note if text.startswith(FIRST_LINE) else text
        parse_note(note)
    except RefusedError as error:  # two files are read: say which
        raise RefusedError(error.code, f"{name}: {str(error).removeprefix('checkpoint: ')}") from error
    return note


def _tell(found: "ForkFound", as_json: bool, more: "Mapping[str, str] | None" = None) -> int:
    if as_json:
        print_json(
            {
                **(more or {}),
                "verdict": found.verdict,
                "origin": found.older.origin,
                "size": found.newer.size,
                "root": found.newer.root.hex(),
                "proven": found.proven,
                "notes": [{"size": each.size, "root": each.root.hex()} for each in (found.older, found.newer)],
                "steps": [],
            }
        )
    else:
        for each in (found.older, found.newer):
            print(f"{shown(each.origin)}  size {each.size:,}  root {each.root.hex()}  signed")
        print(f"{found.verdict[0].upper() + found.verdict[1:]}.")
        print(
            "Whoever holds these two notes has proof; no repair of this log is possible."
            if found.proven
            else "Ask the log for the proof that joins them; a log that cannot give it has forked."
        )
    return Exit.UNVERIFIED if found.proven else Exit.INCOMPLETE
