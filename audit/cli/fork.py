"""``exchange audit fork`` and what ``verify`` does with an evidence file of two notes.

Exit codes: 6 the fork is proven, so the log is refuted; 7 nothing is proven, whatever the reason; 5 no such file.
"""

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from audit.cli.shared import EXIT_INCOMPLETE, EXIT_NONE, EXIT_REFUTED, EXIT_USAGE, fail, print_json, safe, write_new

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
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.pass_context
def fork(
    ctx: click.Context,
    first: str,
    second: str,
    output: str,
    directory: str | None,
    key_text: str | None,
    roster_file: str | None,
    as_json: bool,
) -> None:
    """Make one file of two checkpoints of one log that contradict each other.

    Two of one size prove a fork by themselves; two of different sizes need the log folder that the larger one is of
    (--log). Exit 6: the fork is proven. 7: the file is written and proves nothing yet.
    """
    from audit.note.fork import format_fork, pair, verify_fork
    from keys.errors import RefusedError

    made = None
    try:
        made = pair(_note(ctx, first, as_json), _note(ctx, second, as_json))
        key = log_key(ctx, made, key_text, roster_file, as_json)
        if directory is not None:
            made = _from_folder(ctx, made, directory, as_json)
        found = verify_fork(made, key)
    except RefusedError as error:
        fail(ctx, EXIT_INCOMPLETE, str(error).removeprefix("fork: ").removeprefix("checkpoint: "), as_json)
    write_new(ctx, output, format_fork(made).encode(), as_json)
    _end(ctx, found, as_json, {"file": output})


def verify_file(ctx: click.Context, path: Path, options: "VerifyOptions") -> None:
    """Verify an evidence file with the log's key alone, report, and end with the exit code."""
    from audit.note.fork import MAX_FORK_BYTES, parse_fork, verify_fork
    from keys.errors import RefusedError

    as_json = options.as_json
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FORK_BYTES + 1).decode()
        made = parse_fork(text)
        key = log_key(ctx, made, options.key_text, options.roster_file, as_json)
        found = verify_fork(made, key)
    except (RefusedError, UnicodeDecodeError, OSError) as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        fail(ctx, EXIT_INCOMPLETE, f"{path}: {reason}", as_json)
    _end(ctx, found, as_json)


def log_key(
    ctx: click.Context, made: "Fork", key_text: str | None, roster_file: str | None, as_json: bool
) -> "VerifierKey":
    """Return the key of the log that the notes name; evidence that vouches for itself is none."""
    from audit.note.checkpoint import parse_note, parse_verifier_key
    from audit.verify.trust import key_of_origin
    from keys.errors import RefusedError

    if key_text:
        try:
            return parse_verifier_key(key_text)
        except RefusedError as error:
            fail(ctx, EXIT_USAGE, f"--key: {str(error).removeprefix('checkpoint: ')}", as_json)
    if not roster_file:
        fail(ctx, EXIT_INCOMPLETE, "whose key the log's is must be known from outside: give --key or --roster", as_json)
    try:
        return key_of_origin(Path(roster_file), parse_note(made.older).checkpoint.origin)[0]
    except FileNotFoundError:
        fail(ctx, EXIT_NONE, f"{roster_file}: no such file", as_json)
    except (RefusedError, OSError) as error:
        fail(ctx, EXIT_INCOMPLETE, f"{roster_file}: {error}", as_json)


def _from_folder(ctx: click.Context, made: "Fork", directory: str, as_json: bool) -> "Fork":
    """Take the root at the older size, and its proof, from the folder that the newer note is of."""
    from audit.cli.shared import open_folder
    from audit.note.checkpoint import parse_note

    older, newer = parse_note(made.older).checkpoint, parse_note(made.newer).checkpoint
    folder: TileFolder = open_folder(ctx, directory, as_json)
    return prove(made, older.size, newer.size, folder)


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


def _note(ctx: click.Context, name: str, as_json: bool) -> str:
    """Read a note from a file: a checkpoint, or a receipt, whose note it is."""
    from audit.note.checkpoint import parse_note
    from audit.note.tlogproof import FIRST_LINE, parse_proof
    from audit.verify.external_checkpoints import MAX_OUTSIDE_BYTES
    from keys.errors import RefusedError

    try:
        with Path(name).open("rb") as file:
            text = file.read(MAX_OUTSIDE_BYTES + 1).decode()
    except FileNotFoundError:
        fail(ctx, EXIT_NONE, f"{name}: no such file", as_json)
    except OSError as error:
        fail(ctx, EXIT_USAGE, f"{name}: cannot be read: {error.strerror}", as_json)
    except UnicodeDecodeError as error:
        raise RefusedError("MALFORMED", f"{name}: not UTF-8") from error
    try:
        note = parse_proof(text).note if text.startswith(FIRST_LINE) else text
        parse_note(note)
    except RefusedError as error:  # two files are read: say which
        raise RefusedError(error.code, f"{name}: {str(error).removeprefix('checkpoint: ')}") from error
    return note


def _end(ctx: click.Context, found: "ForkFound", as_json: bool, more: "Mapping[str, str] | None" = None) -> NoReturn:
    code = EXIT_REFUTED if found.proven else EXIT_INCOMPLETE
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
            print(f"{safe(each.origin)}  size {each.size:,}  root {each.root.hex()}  signed")
        print(f"{found.verdict[0].upper() + found.verdict[1:]}.")
        print(
            "Whoever holds these two notes has proof; no repair of this log is possible."
            if found.proven
            else "Ask the log for the proof that joins them; a log that cannot give it has forked."
        )
    ctx.exit(code)
