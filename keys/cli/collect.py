"""``exchange keys collect``: one roster out of the copies that agencies have signed, each on its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from keys.cli.ending import answer
from keys.cli.options import FILE, JSON, OUTPUT, check_new
from keys.cli.roster_words import after
from keys.errors import RefusedError

if TYPE_CHECKING:
    from keys.dsse import SignedPayload


@click.command("collect", short_help="Put the signatures of several copies of a roster together.")
@click.argument("copies", nargs=-1, required=True, type=FILE, metavar="ROSTER…")
@OUTPUT
@JSON
def collect_command(copies: tuple[Path, ...], output: Path, as_json: bool) -> None:
    """Put the signatures of several copies of one roster together, so that all can sign at the same time.

    Each agency signs the copy that it was sent and sends it back; what comes out is the roster that all have signed.
    """
    from keys.roster import parse_roster, roster_digest, save_signed
    from keys.words import words

    check_new(output)
    signed = collected(copies)
    save_signed(output, signed)
    roster, named = parse_roster(signed.payload), words(roster_digest(signed))
    count, roots = len(signed.signatures), len(roster.roots)
    answer(
        as_json,
        {"file": str(output), "signatures": count, "roots": roots, "words": " ".join(named)},
        [f"made {output}: {count} of {roots} roots have signed"],
        [after("its words are:", named)],
    )


def collected(copies: tuple[Path, ...]) -> SignedPayload:
    """Read copies of one roster and put their signatures together, each verified.

    Raises:
        RefusedError: MALFORMED, one is another roster than the first; what a signature's verification raises.
    """
    from keys.dsse import merge, verify
    from keys.identity import Usage
    from keys.roster import parse_roster
    from keys.show import load_kind
    from keys.signer import register

    first = load_kind(copies[0], "roster")
    roots = [register(each, owner=each.owner, usage={Usage.ROSTER_ROOT}) for each in parse_roster(first.payload).roots]
    known = {each.key_id: each for each in roots}
    found = first
    for path in copies:
        signed = load_kind(path, "roster")
        if signed.payload != first.payload:
            raise RefusedError("MALFORMED", f"{path} is another roster than {copies[0]}")
        if signed.signatures:
            try:
                verify(signed, "roster", known.get, count=len(signed.signatures))
            except RefusedError as error:
                raise RefusedError(error.code, f"{path}: {error}") from error
        found = merge(found, signed)
    return found
