"""``exchange audit stamp``: a checkpoint stamped by hand, by the authority of the settings or another one."""

from __future__ import annotations

from pathlib import Path

import click

from exchange.cli.options import json_option
from keys.cli.ending import print_json


@click.command()
@click.argument("home", metavar="HOME", type=click.Path(file_okay=False, path_type=Path))
@click.option("--tsa", metavar="URL", help="Whom to ask; the settings' `tsa` if not given.")
@click.option(
    "--tsa-ca", "tsa_file", metavar="FILE", type=click.Path(path_type=Path), help="What it is trusted by, PEM."
)
@json_option
def stamp(home: Path, tsa: str | None, tsa_file: Path | None, as_json: bool) -> None:
    """Have the newest cosigned checkpoint of a node stamped (RFC 3161), and keep the token in HOME/timestamps.

    Before there is a cosigned one the newest published checkpoint is stamped. No key is needed, and the node may run.
    `exchange audit verify HOME --tsa-ca FILE` holds the tokens against the log.
    """
    from audit.entry.names import instant
    from audit.note.checkpoint import parse_note
    from audit.tiles.tile_names import CHECKPOINT, WITNESSED
    from exchange.node.config import authority_of, load_config
    from exchange.node.timestamp_authority import is_url
    from exchange.node.timestamp_authority import stamp as have_stamped

    config = load_config(home)
    if tsa is not None and not is_url(tsa):
        raise click.UsageError("--tsa: an address reads http://host/path")
    authority = authority_of(config, home, url=tsa, certificate=tsa_file)
    if authority is None:
        raise click.UsageError("there is no `tsa` in the settings: name one with --tsa and --tsa-ca")
    path = home / "log" / WITNESSED
    note = (path if path.exists() else home / "log" / CHECKPOINT).read_text("utf-8")
    made = have_stamped(home, note, authority)
    size = parse_note(note).checkpoint.size
    if as_json:
        told: dict[str, object] = {"ok": True, "size": size, "new": made is not None, "time": None, "authority": None}
        if made is not None:
            told |= {"time": instant(made[1].time_us), "authority": made[1].authority}
        print_json(told)
    elif made is None:
        click.echo(f"size {size} was stamped before")
    else:
        where, stamped = made
        click.echo(f"{where}: {size} entries existed before {instant(stamped.time_us)}, says {stamped.authority}")
