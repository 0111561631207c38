"""``exchange keys renew``: what only the agency's root can renew, as one file each way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keys.cli.ending import answer
from keys.cli.options import FD, FILE, HOME, JSON, OUTPUT, Passphrases, now_ms
from keys.errors import RefusedError

if TYPE_CHECKING:
    from keys.manifest import Manifest
    from keys.renewal import RenewalRequest

SIGNED_FILE = "manifest"  # in the root's folder: the newest one that this command has signed


@click.command("renew", short_help="Renew what only the root can, with one file each way.")
@click.argument("request", type=FILE)
@HOME
@click.option("--no-issuing", is_flag=True, help="Withdraw the key that renews the node's certificate.")
@OUTPUT
@FD
@JSON
def renew_command(
    request: Path, home: Path, no_issuing: bool, output: Path, passphrase_fd: int | None, as_json: bool
) -> None:
    """Renew manifest and certificates for another year; needs the root's passphrase.

    REQUEST is what exchange node renewal-request has written. What will be signed is told first, then the passphrase
    is asked for. The one file that comes back goes to the node: exchange node adopt FILE. HOME holds the folder root.
    """
    from keys.agency import load_application, load_authority
    from keys.files import PUBLIC, write_file
    from keys.key_files import ROOT_FOLDER
    from keys.renewal import following_manifest, renew, sign_following, verify_request
    from keys.show import load_kind

    member, at_ms = load_application(home).member, now_ms()
    asked = verify_request(load_kind(request, "renewal-request"), member, at_ms)
    if output.exists():
        raise FileExistsError(17, "exists", str(output))
    before = _signed_before(home / ROOT_FOLDER / SIGNED_FILE, asked)
    if not as_json:
        for line in facts(asked, before, issuing=not no_issuing, at_ms=at_ms):
            click.echo(f"exchange: {line}", err=True)
    root, ca = load_authority(home, Passphrases.late(passphrase_fd, "root"))
    following = following_manifest(asked, at_ms, before.version if before is not None else 0)
    manifest = sign_following(asked, root, ca, following, issuing=not no_issuing, random_bytes=os.urandom)
    made = renew(asked, root, ca, manifest, at_ms, os.urandom)
    # Before the answer: a number that was signed here is never signed again.
    write_file(home / ROOT_FOLDER / SIGNED_FILE, manifest.encode(), mode=PUBLIC, replace=True)
    write_file(output, made.encode(), mode=PUBLIC)
    version = following.version
    answer(
        as_json,
        {"file": str(output), "agency": root.agency, "version": version, "leaves": len(asked.leaves) + 1},
        [f"made {output}: manifest {version} of {root.agency}, {len(asked.leaves) + 1} certificates"],
        [f"on the node: exchange node adopt {output.name}"],
    )


def facts(asked: RenewalRequest, before: Manifest | None, *, issuing: bool, at_ms: int) -> Iterator[str]:
    """Say in words what will be signed: who, until when, what differs."""
    from keys.renewal import differences, following_manifest
    from keys.show import moment

    present = asked.present
    following = following_manifest(asked, at_ms, before.version if before is not None else 0)
    yield f"{asked.agency} asks, {moment(asked.issued_ms)}: manifest {present.version} ends {moment(present.expires_ms)}"
    yield f"will sign: manifest {following.version} until {moment(following.expires_ms)}"
    yield from _people(present, following)
    yield f"certificates for a year: the node{''.join(f', {each}' for each in asked.leaves)}"
    without = [each.id for each in present.officers if each.id not in asked.leaves]
    if without:
        yield f"no certificate, because the node has not seen theirs: {', '.join(without)}"
    yield from _issuing(asked, stays=issuing)
    if before is None:
        yield "this root's machine has renewed nothing before: compare the people above with your own list"
        return
    told = differences(before, present)
    yield f"since manifest {before.version}, signed here {moment(before.issued_ms)}: {'; '.join(told) or 'nothing differs'}"


def _people(present: Manifest, following: Manifest) -> Iterator[str]:
    from keys.show import moment

    for old, new in zip(present.officers, following.officers, strict=True):
        kind = "system" if new.is_system else "officer"
        until = moment(new.until_ms) if new.until_ms != old.until_ms else f"{moment(new.until_ms)}, not renewed"
        yield f"  {new.id} ({kind}: {', '.join(new.roles)}; ceiling {new.ceiling}) until {until}"


def _issuing(asked: RenewalRequest, *, stays: bool) -> Iterator[str]:
    from keys.certificate import read_request, spki_of, spki_sha256
    from keys.identity import short

    old = short(spki_sha256(asked.present.issuing)) if asked.present.issuing else ""
    if not stays or not asked.issuing_request:
        if old:
            yield f"issuing key {old} is withdrawn"
        return
    new = short(spki_of(read_request(asked.issuing_request)))
    other = f", instead of {old or 'none'}" if new != old else ""
    yield f"issuing key {new} beside the node, for a year{other}"


def _signed_before(path: Path, asked: RenewalRequest) -> Manifest | None:
    """Return the newest manifest that this command has signed here.

    One whose renewal never reached the node is followed by the next number, never signed once more with other content.

    Raises:
        RefusedError: REPLAYED for a request that knows neither it nor the one before; MALFORMED where the file is none.
    """
    from keys.manifest import parse_manifest
    from keys.show import load_kind

    if not path.exists():
        return None
    known, version = parse_manifest(load_kind(path, "manifest").payload), asked.present.version
    if known.version > version + 1:
        raise RefusedError(
            "REPLAYED",
            f"the request carries manifest {version} of {asked.agency}, and manifest {known.version} was signed here",
        )
    return known
