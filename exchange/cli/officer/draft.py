"""``exchange draft KIND``: a commented template with the defaults of policy, to be filled in by an editor."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import click

from exchange.authoring.template import make_template, usual_of
from exchange.authoring.text import safe_text
from exchange.records.bulletin import KINDS, uuid7
from exchange.rules.catalogue import packaged_catalogue
from exchange.rules.complaint import nearest
from keys.errors import RefusedError

WRONG_USE = 2


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
@click.argument("kind", required=False, metavar="KIND")
@click.pass_context
def draft(
    ctx: click.Context,
    kind: str | None,
    output: Path | None,
    originator: str | None,
    home: Path | None,
    status: str,
    force: bool,
) -> None:
    """Write a template for a bulletin of this KIND; without one, list the kinds.

    Fill in the marked lines, then run "exchange check" on the file.
    """
    catalogue = packaged_catalogue()
    if kind is None:
        click.echo("\n".join(f"{name:<22} {catalogue.kinds[name].code}  {usual_of(name).about}" for name in KINDS))
        return
    name = kind.replace("-", "_").lower()
    by_code = {policy.code.lower(): known for known, policy in catalogue.kinds.items()}
    name = by_code.get(name, name)
    if name not in catalogue.kinds:
        _refuse(ctx, f"there is no kind '{kind[:40]}'", nearest(name, KINDS) or "'exchange draft' lists them")
    if originator is None and home is not None:
        originator = _agency_of(ctx, home)
    if originator is not None:
        _check_originator(ctx, originator, name)
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
        click.echo(text, nl=False)
        return
    try:
        with output.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        _refuse(ctx, f"{output} exists", "--force replaces it")
    except OSError as error:
        _refuse(ctx, f"{output} cannot be written: {error.strerror}", "-o takes another name")
    click.echo(f"exchange: fill in the lines marked ←, then: exchange check {safe_text(str(output))}", err=True)


def _agency_of(ctx: click.Context, home: Path) -> str | None:
    """Read whose home it is."""
    from exchange.node.config import load_config

    try:
        return str(load_config(home).agency)
    except (OSError, RefusedError) as error:
        _refuse(ctx, f"{home} is no home: {error}", "--originator names your agency")
        return None


def _check_originator(ctx: click.Context, originator: str, kind: str) -> None:
    """Refuse at once what the check would refuse later."""
    catalogue = packaged_catalogue()
    agency_type = catalogue.type_of(originator)
    if agency_type is None:
        _refuse(ctx, f"{originator[:40]} is not in the directory", nearest(originator, catalogue.agencies))
    elif not catalogue.may_issue(kind, agency_type):
        allowed = ", ".join(sorted(catalogue.kinds[kind].issue))
        _refuse(ctx, f"{originator} ({agency_type}) may not issue a bulletin of kind {kind}", f"allowed: {allowed}")


def _refuse(ctx: click.Context, message: str, hint: str | None) -> None:
    print(f"exchange: error: {safe_text(message)}", file=sys.stderr)
    if hint:
        print(f"exchange: hint: {hint}", file=sys.stderr)
    ctx.exit(WRONG_USE)
