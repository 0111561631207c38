"""``exchange draft KIND``: a commented template with the defaults of policy, to be filled in by an editor."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NoReturn

import click

from exchange.authoring.template import make_template, usual_of
from exchange.authoring.text import safe_text
from exchange.cli.options import json_option
from exchange.records.bulletin import KINDS, uuid7
from exchange.rules.catalogue import Catalogue, packaged_catalogue
from exchange.rules.complaint import nearest
from keys.cli.ending import answer
from keys.cli.failure import CommandError
from keys.errors import RefusedError


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file instead of the terminal.")
@click.option("--originator", metavar="AGENCY", help="Your agency, as HK-IMMD; the home's, if not given.")
@click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="EXCHANGE_HOME",
    help="The node's home folder.  [env: EXCHANGE_HOME]",
)
@click.option(
    "--status",
    type=click.Choice(["actual", "exercise", "test"]),
    default="actual",
    show_default=True,
    help="What the header says of itself.",
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@json_option
@click.argument("kind", required=False, metavar="KIND")
def draft(
    kind: str | None,
    output: Path | None,
    originator: str | None,
    home: Path | None,
    status: str,
    force: bool,
    as_json: bool,
) -> None:
    """Write a template for a bulletin of this KIND; without one, list the kinds.

    Fill in the marked lines, then run "exchange check" on the file.
    """
    catalogue = packaged_catalogue()
    if kind is None:
        _list_kinds(catalogue, as_json)
        return
    name = kind.replace("-", "_").lower()
    by_code = {policy.code.lower(): known for known, policy in catalogue.kinds.items()}
    name = by_code.get(name, name)
    if name not in catalogue.kinds:
        _refuse(f"there is no kind '{kind[:40]}'", nearest(name, KINDS) or "'exchange draft' lists them")
    if originator is None and home is not None:
        originator = _agency_of(home)
    if originator is not None:
        _check_originator(originator, name)
    now_ms = time.time_ns() // 1_000_000
    text = make_template(
        name,
        originator=originator,
        status=status,
        bulletin_id=uuid7(now_ms, os.urandom(10)),
        now_ms=now_ms,
        catalogue=catalogue,
    )
    if output is None:
        answer(as_json, {"kind": name, "file": None, "text": text}, [text.removesuffix("\n")])
        return
    try:
        with output.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise CommandError("FILE_EXISTS", f"{output} exists", "--force replaces it") from None
    except OSError as error:
        raise CommandError(
            "NOT_WRITTEN", f"{output} cannot be written: {error.strerror}", "-o takes another name"
        ) from error
    note = f"fill in the lines marked ←, then: exchange check {safe_text(str(output))}"
    answer(as_json, {"kind": name, "file": str(output)}, [], [note])


def _list_kinds(catalogue: Catalogue, as_json: bool) -> None:
    kinds = {each: (catalogue.kinds[each].code, usual_of(each).about) for each in KINDS}
    listed = [{"kind": each, "code": code, "about": about} for each, (code, about) in kinds.items()]
    answer(as_json, {"kinds": listed}, [f"{each:<22} {code}  {about}" for each, (code, about) in kinds.items()])


def _agency_of(home: Path) -> str:
    """Read whose home it is."""
    from exchange.node.config import load_config

    try:
        return str(load_config(home).agency)
    except FileNotFoundError:
        raise
    except (OSError, RefusedError) as error:
        raise CommandError("USAGE", f"{home} is no home: {error}", "--originator names your agency") from error


def _check_originator(originator: str, kind: str) -> None:
    """Refuse at once what the check would refuse later."""
    catalogue = packaged_catalogue()
    agency_type = catalogue.type_of(originator)
    if agency_type is None:
        _refuse(f"{originator[:40]} is not in the directory", nearest(originator, catalogue.agencies))
    elif not catalogue.may_issue(kind, agency_type):
        allowed = ", ".join(sorted(catalogue.kinds[kind].issue))
        _refuse(f"{originator} ({agency_type}) may not issue a bulletin of kind {kind}", f"allowed: {allowed}")


def _refuse(message: str, hint: str | None) -> NoReturn:
    raise CommandError("USAGE", message, hint or "")
