"""What the auditor's commands have in common: where a log is, how a command ends, and words that steer no terminal."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from keys.files import PUBLIC, write_file

if TYPE_CHECKING:  # loaded by the commands that need them: help stays quick
    from audit.tiles.tiles import TileFolder

EXIT_VERIFIED, EXIT_USAGE, EXIT_NONE, EXIT_REFUTED, EXIT_INCOMPLETE, EXIT_INTERRUPTED = 0, 2, 5, 6, 7, 130
RENDER = "evidence-render"  # in the context's object: module:function that words a bulletin, where the exchange is


def open_folder(ctx: click.Context, directory: str, as_json: bool) -> "TileFolder":
    """Return the log in a log folder or a node's home, or end with 5."""
    from audit.tiles.tile_names import CHECKPOINT
    from audit.tiles.tiles import TileFolder

    root = Path(directory)
    if not root.is_dir():
        fail(ctx, EXIT_NONE, f"{directory}: no such folder", as_json)
    if not (root / CHECKPOINT).exists() and (root / "log" / CHECKPOINT).exists():
        root /= "log"
    return TileFolder(root)


def earlier_epochs(home: Path) -> list[str]:
    """Find the folders with logs of earlier epochs that a recovery has moved aside in a home, oldest first."""
    if not (home / "log" / "checkpoint").is_file():
        return []
    found = [path for path in home.glob("before-epoch-*") if (path / "log" / "checkpoint").is_file()]
    return [str(path) for path in sorted(found, key=lambda each: (len(each.name), each.name))]


def fail(ctx: click.Context, code: int, message: str, as_json: bool) -> NoReturn:
    """End a command with one line, or with --json one object."""
    if as_json and ctx.info_name == "verify":
        print_json({"verdict": f"not verified: {message}", "origin": None, "size": None, "root": None, "steps": []})
    elif as_json:
        print_json({"ok": False, "message": message})
    else:
        print(f"{ctx.find_root().info_name}: error: {safe(message)}", file=sys.stderr)
    ctx.exit(code)


def told(name: str, error: Exception) -> str:
    """Say what is wrong with a file that was named, and its name once."""
    if isinstance(error, OSError):
        return f"{name}: cannot be read: {error.strerror}"
    if isinstance(error, UnicodeDecodeError):
        return f"{name}: not UTF-8"
    return f"{name}: {str(error).removeprefix(name).removeprefix(' ')}"


def unfinished(error: OSError) -> str:
    """Say what this machine lacked for a verification; the log has no part in it."""
    if isinstance(error, ChildProcessError):
        return f"nothing was decided: {error}"  # killed, as a rule because memory ran out
    return f"temporary files of a long log could not be written: {error.strerror}; TMPDIR names their folder"


def print_json(value: dict[str, Any]) -> None:
    """Print the one object of --json."""
    print(json.dumps(value))


def safe(text: str) -> str:
    """Keep whatever a file says from steering the terminal."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def write_new(ctx: click.Context, path: str, data: bytes, as_json: bool = False) -> None:
    """Write a file that is not there yet, whole or not at all, or end with 2."""
    try:
        write_file(Path(path), data, mode=PUBLIC)
    except FileExistsError:
        fail(ctx, EXIT_USAGE, f"{path} is there already", as_json)
    except OSError as error:
        fail(ctx, EXIT_USAGE, f"{path} cannot be written: {error.strerror}", as_json)
