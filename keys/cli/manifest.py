"""``exchange keys make manifest``: from the present one, the agency's folder, and what is typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keys.cli.ending import answer
from keys.cli.options import (
    FD,
    FILE,
    HOME,
    JSON,
    OUTPUT,
    ROSTER,
    Passphrases,
    check_member,
    check_new,
    federation_of,
    now_ms,
)
from keys.errors import RefusedError

if TYPE_CHECKING:
    from keys.ceremony import RecordHead
    from keys.federation import Federation
    from keys.manifest import Manifest, Officer
    from keys.timed_key import TimedKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestTerms:
    """All of a manifest but its signature."""

    head: RecordHead
    operations: TimedKey
    officers: list[Officer]
    endpoints: tuple[str, ...]


@click.command("manifest", short_help="Make and sign the agency's manifest.")
@HOME
@ROSTER
@click.option("--manifest", "present", type=FILE, help="The present one; what is not said here is taken from it.")
@click.option("--endpoint", "endpoints", multiple=True, metavar="HOST:PORT", help="The peers' listener. Repeatable.")
@click.option("--remove", multiple=True, metavar="OFFICER", help="With --manifest: leave this person out. Repeatable.")
@click.option("--version", type=click.IntRange(1), help="One above the last, which is what --manifest makes it.")
@OUTPUT
@FD
@JSON
def make_manifest_command(
    home: Path,
    roster: Path,
    present: Path | None,
    endpoints: tuple[str, ...],
    remove: tuple[str, ...],
    version: int | None,
    output: Path,
    passphrase_fd: int | None,
    as_json: bool,
) -> None:
    """Make and sign the agency's manifest; needs the root's passphrase.

    The first names everybody whose keys lie in the agency's folder. A later one made with --manifest takes over people,
    endpoints and the epochs of the log from the present one; people who are new in the folder are added to them.
    """
    from keys.ceremony import make_manifest, read_issuing
    from keys.key_files import load_root
    from keys.roster import save_signed

    check_new(output)
    federation = federation_of(roster)
    check_member(home, federation)
    terms = manifest_terms(home, federation, present, remove, version, endpoints)
    root = load_root(home, Passphrases.late(passphrase_fd, "root"))
    if terms.head.agency != root.agency:
        raise RefusedError("WRONG_MAKER", f"{home} is {root.agency}'s, the manifest given is {terms.head.agency}'s")
    version, officers = terms.head.version, terms.officers
    signed = make_manifest(
        root.root,
        terms.head,
        operations=[terms.operations],
        officers=officers,
        endpoints=terms.endpoints,
        issuing=read_issuing(home),
    )
    federation.with_manifest(signed, now_ms())
    save_signed(output, signed)
    answer(
        as_json,
        {"file": str(output), "agency": root.agency, "version": version, "people": len(officers)},
        [f"made {output}: manifest {version} of {root.agency}, {len(officers)} people"],
    )


def manifest_terms(
    home: Path,
    federation: Federation,
    present: Path | None,
    remove: Sequence[str],
    version: int | None,
    endpoints: tuple[str, ...],
) -> ManifestTerms:
    """Put the next manifest together; no key is opened.

    Args:
        home: The agency's folder, with its people.
        federation: Whose roster names the agency.
        present: Its present manifest, if there is one.
        remove: Ids of people of the present one who are left out.
        version: As typed.
        endpoints: As typed; none for those of the present one.

    Raises:
        RefusedError: MALFORMED: a person to be left out is not there, or the version does not go forward; and what
            ``parse_manifest`` and the present one's signature give.
    """
    from keys.ceremony import FIRST_EPOCH, RecordHead, load_application, read_entries

    before = _present(present, federation)
    agency = before.agency if before is not None else load_application(home).member.agency
    operations, found = read_entries(home, agency)
    people = {each.id: each for each in (*(before.officers if before is not None else ()), *found)}
    for name in remove:
        if before is None or people.pop(name, None) is None:
            raise RefusedError("MALFORMED", f"--remove {name}: the present manifest names nobody of that id")
    least = before.version + 1 if before is not None else 1
    if version is not None and version < least:
        raise RefusedError("MALFORMED", f"version {version}: the present manifest of {agency} is {least - 1}")
    return ManifestTerms(
        head=RecordHead(
            agency=agency,
            federation=federation.federation_id,
            now_ms=now_ms(),
            version=version or least,
            log_epochs=before.log_epochs if before is not None else FIRST_EPOCH,
        ),
        operations=operations,
        officers=list(people.values()),
        endpoints=endpoints or (before.endpoints if before is not None else ()),
    )


def _present(file: Path | None, federation: Federation) -> Manifest | None:
    """Read the present manifest; its signature is verified, its end is not: it may be what is renewed."""
    from keys.manifest import parse_manifest
    from keys.show import load_kind

    if file is None:
        return None
    signed = load_kind(file, "manifest")
    agency = parse_manifest(signed.payload).agency
    return federation.with_manifest_of_before(signed).manifests[agency].record
