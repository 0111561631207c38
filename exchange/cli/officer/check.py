"""``exchange check FILE…``: judge bulletins before anybody signs them. No node, clock or roster is read."""

from __future__ import annotations

from typing import Any

import click

from exchange.authoring.check_drafts import Judged, judge
from exchange.authoring.draft import Draft, read_draft
from exchange.authoring.text import safe_text
from exchange.authoring.yaml_tree import MAX_FILE_BYTES
from exchange.cli.options import json_option
from exchange.rules import WHOLE, Complaint, packaged_catalogue
from keys.cli.ending import print_json
from keys.refusals import Exit


@click.command()
@json_option
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
def check(as_json: bool, files: tuple[str, ...]) -> int:
    """Check bulletins and say what is wrong, where, and what would be right.

    A correction or recall is compared with the bulletin that it names, if that file is given too.
    Ends with 0 if all are right, with 2 if not, with 5 if a file is missing.
    """
    judged = judge([load_draft(file) for file in files], packaged_catalogue())
    pairs = list(zip(files, judged, strict=True))
    if as_json:
        print_json(to_json(pairs))
    else:
        for file, one in pairs:
            for line in to_lines(file, one):
                click.echo(line)
        wrong = sum(1 for one in judged if one.complaints)
        if wrong:
            click.echo(f"exchange: {wrong} of {len(judged)} files need a change", err=True)
    return Exit.USAGE if any(one.complaints for one in judged) else Exit.DONE


def load_draft(file: str) -> Draft:
    """Read one file; one that cannot be read is a complaint of its own (Y-FILE).

    Raises:
        FileNotFoundError: There is none.
    """
    try:
        with open(file, "rb") as opened:
            data = opened.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or "no such name"
        complaint = Complaint(code="Y-FILE", path=WHOLE, message=f"cannot be read: {reason}")
        return Draft(message=None, kind=None, lines={}, complaints=(complaint,))
    return read_draft(data)


def to_json(judged: list[tuple[str, Judged]]) -> dict[str, Any]:
    """Build the answer for programs; its shape is a public contract."""
    files = [
        {
            "file": file,
            "ok": not one.complaints,
            "kind": one.draft.kind,
            "complaints": [
                {"code": x.code, "path": x.path, "line": x.line, "message": x.message, "hint": x.hint}
                for x in one.complaints
            ],
        }
        for file, one in judged
    ]
    return {"ok": all(file["ok"] for file in files), "files": files}


def to_lines(file: str, judged: Judged) -> list[str]:
    """Write the answer for people: ``file:line: path: sentence (code)``, a hint below it."""
    name = safe_text(file)
    if not judged.complaints:
        return [f"{name}: ok, {(judged.draft.kind or '').replace('_', ' ')}"]
    lines = []
    for one in judged.complaints:
        where = f"{name}:{one.line}" if one.line else name
        path = f"{safe_text(one.path)}: " if one.path != WHOLE else ""
        lines.append(f"{where}: {path}{safe_text(one.message)} ({one.code})")
        if one.hint:
            lines.append(f"  hint: {safe_text(one.hint, 400)}")
    return lines
