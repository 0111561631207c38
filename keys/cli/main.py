"""``exchange keys``: the ceremony from files, each step by hand.

Results go to stdout, words to people to stderr; passphrases come from the terminal or a file descriptor, never from
the command line. Existing files stay as they are.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keys.cli.backup_key import make_backup_key_command
from keys.cli.collect import collect_command
from keys.cli.ending import EndingGroup, answer
from keys.cli.epoch import make_epoch_command
from keys.cli.manifest import make_manifest_command
from keys.cli.options import (
    FD,
    FILE,
    FOLDER,
    HOME,
    JSON,
    OUTPUT,
    ROSTER,
    VERSION,
    Passphrases,
    check_member,
    check_new,
    federation_of,
    now_ms,
)
from keys.cli.renew import renew_command
from keys.cli.roster_words import after, confirm
from keys.errors import RefusedError
from keys.refusals import Exit

if TYPE_CHECKING:
    from keys.agency import Person
    from keys.dsse import SignedPayload
    from keys.roster import Roster


@click.group(cls=EndingGroup)
def keys() -> None:
    """Make, sign and show keys, rosters, manifests and key sheets."""


@keys.group()
def make() -> None:
    """Make keys and records, from files."""


@keys.group()
def sign() -> None:
    """Sign records that others have made."""


@make.command("agency")
@click.option("--agency", required=True, metavar="CODE", help="The agency's code, e.g. HK-SB.")
@click.option("--federation", required=True, metavar="NAME", help="The federation's name, e.g. exercise.example.")
@click.option("-o", "--output", type=FOLDER, required=True, help="The agency's folder; made if it is not there.")
@click.option("--officer", "officers", multiple=True, metavar="ID[:ROLES[:CEILING]]", help="Repeatable.")
@click.option("--system", "systems", multiple=True, metavar="ID[:ROLES[:CEILING]]", help="An automaton. Repeatable.")
@click.option(
    "--windows", type=click.IntRange(1, 400), help="Daily encryption keys, for a trial; a node makes its own."
)
@click.option("--roster-root/--no-roster-root", default=True, help="Whether the agency holds a root of the roster.")
@click.option("--issuing", is_flag=True, help="Keep a key beside the node that renews the node's certificate.")
@click.option("--floor", is_flag=True, help="Derive the root's key at the floor too (64 MiB); for exercises.")
@FD
@JSON
def make_agency_command(
    agency: str,
    federation: str,
    output: Path,
    officers: tuple[str, ...],
    systems: tuple[str, ...],
    windows: int | None,
    roster_root: bool,
    issuing: bool,
    floor: bool,
    passphrase_fd: int | None,
    as_json: bool,
) -> None:
    """Make an agency's keys: its root and CA, its node, its people.

    A person is given as ID, or as ID:author,reader:2 with roles and ceiling. Passphrases are asked for root, node and
    each person in the order of their ids; from a file descriptor they are lines, of which the last serves all the
    rest.
    """
    from keys.agency import FOLDER_MODE, WINDOWS, KeyPlan, make_agency, save_agency
    from keys.files import check_empty, whole_folder
    from keys.identity import parse_agency
    from keys.keystore import INTERACTIVE, ROOT

    check_empty(output)
    people = [_person(each, system=False) for each in officers] + [_person(each, system=True) for each in systems]
    made = make_agency(
        parse_agency(agency),
        federation,
        people,
        now_ms=now_ms(),
        random_bytes=os.urandom,
        plan=KeyPlan(roster_root=roster_root, windows=windows or WINDOWS, issuing=issuing),
    )
    secrets = Passphrases.taken(passphrase_fd, fresh=True)
    with whole_folder(output, FOLDER_MODE) as part:
        save_agency(part, made, secrets, os.urandom, root_profile=INTERACTIVE if floor else ROOT)
    notes = (f"send {output / 'application'} to whoever puts the roster together",)
    answer(
        as_json,
        {
            "agency": made.agency,
            "folder": str(output),
            "application": str(output / "application"),
            "people": [each.id for each in people],
        },
        [f"made {made.agency} in {output}: root, node and {len(people)} people"],
        [*notes, f"carry {output / 'root'} away from the node"],
    )


@make.command("officer", short_help="Make one more person's keys.")
@click.argument("officer", metavar="ID[:ROLES[:CEILING]]")
@HOME
@click.option("--system", is_flag=True, help="An automaton, which never releases.")
@FD
@JSON
def make_officer_command(officer: str, home: Path, system: bool, passphrase_fd: int | None, as_json: bool) -> None:
    """Make one more person's keys; needs the root's passphrase, then the person's."""
    from keys.agency import load_authority, make_officer, save_officer
    from keys.key_files import OFFICER_FILE, officer_folder

    person = _person(officer, system=system)
    if (there := officer_folder(home, person.id) / OFFICER_FILE).exists():
        raise FileExistsError(17, "exists", str(there))
    root, ca = load_authority(home, Passphrases.late(passphrase_fd, "root"))
    made = make_officer(ca, person, now_ms=now_ms(), random_bytes=os.urandom)
    save_officer(home, made, Passphrases.taken(passphrase_fd, fresh=True)(person.id), os.urandom)
    made_line = f"made {root.agency}/{person.id}; make and adopt a new manifest"
    answer(as_json, {"agency": root.agency, "officer": person.id}, [made_line])


@make.command("roster")
@click.argument("applications", nargs=-1, required=True, type=FILE)
@click.option("--catalogue", type=FOLDER, required=True, help="The folder of the catalogue in force (its .yaml files).")
@click.option(
    "--threshold", type=click.IntRange(1), help="Owners that later versions need; more than half if not given."
)
@click.option(
    "--witness", "witnesses", multiple=True, type=FILE, help="The application of a witness without a node. Repeatable."
)
@click.option(
    "--quorum", type=click.IntRange(0), help="Cosignatures of a witnessed checkpoint; two thirds and one if not given."
)
@click.option("--days", type=click.IntRange(1), default=365, show_default=True, help="Until it expires.")
@OUTPUT
@JSON
def make_roster_command(
    applications: tuple[Path, ...],
    catalogue: Path,
    threshold: int | None,
    witnesses: tuple[Path, ...],
    quorum: int | None,
    days: int,
    output: Path,
    as_json: bool,
) -> None:
    """Put roster 1 together from the agencies' applications, unsigned."""
    from keys.ceremony import RosterTerms, make_roster_1
    from keys.durations import DAY_MS
    from keys.roster import Application, ExternalWitness, catalogue_digest, save_signed

    files = {each.name: each.read_bytes() for each in sorted(catalogue.glob("*.yaml"))}
    if not files:
        raise RefusedError("MALFORMED", f"{catalogue} holds no .yaml files, so it is no catalogue")
    signed = make_roster_1(
        [Application.decode(each.read_bytes()) for each in applications],
        catalogue_digest=catalogue_digest(files),
        now_ms=now_ms(),
        witnesses=[ExternalWitness.decode(each.read_bytes()) for each in witnesses],
        terms=RosterTerms(valid_ms=days * DAY_MS, threshold=threshold, witness_quorum=quorum),
    )
    save_signed(output, signed)
    more = f" and {len(witnesses)} external witness{'es' if len(witnesses) > 1 else ''}" if witnesses else ""
    named = _words_of(signed)
    answer(
        as_json,
        {"file": str(output), "version": 1, "agencies": len(applications), "words": named},
        [f"made {output}: roster 1 of {len(applications)} agencies{more}, unsigned"],
        [after("its words are:", named.split())],
    )


@sign.command("roster")
@click.argument("file", type=FILE)
@HOME
@click.option("--yes", is_flag=True, help="The twelve words were compared.")
@FD
@JSON
def sign_roster_command(file: Path, home: Path, yes: bool, passphrase_fd: int | None, as_json: bool) -> None:
    """Add a roster root's signature to a roster."""
    from keys.ceremony import sign_roster
    from keys.key_files import load_root
    from keys.roster import parse_roster, save_signed
    from keys.show import load_kind

    signed = load_kind(file, "roster")
    roster = parse_roster(signed.payload)
    if as_json and not yes:
        raise click.UsageError("--json cannot ask; say --yes")
    _check_root(home, roster)
    named = _words_of(signed)
    if not as_json:
        told = f"roster {roster.version} of {roster.federation_name}, {len(roster.members)} members"
        click.echo(f"exchange: {told}\nexchange: {after('its words are:', named.split())}", err=True)
    if not yes:
        confirm(named.split(), "Are these the words that the other agencies read?")
    root = load_root(home, Passphrases.late(passphrase_fd, "root"))
    if root.roster_root is None:
        raise RefusedError("SIGNER_UNKNOWN", f"{root.agency} holds no root of the roster")
    signed = sign_roster(signed, root.roster_root)
    save_signed(file, signed, replace=True)
    count, roots = len(signed.signatures), len(roster.roots)
    answer(
        as_json,
        {"file": str(file), "version": roster.version, "signatures": count, "roots": roots, "words": named},
        [f"signed {file}: {count} of {roots} roots"],
    )


@make.command("sheet", short_help="Make and sign the agency's first key sheet.")
@HOME
@ROSTER
@VERSION
@click.option(
    "--manifest-version", type=click.IntRange(1), default=1, show_default=True, help="Of the manifest in force."
)
@OUTPUT
@FD
@JSON
def make_sheet_command(
    home: Path,
    roster: Path,
    version: int,
    manifest_version: int,
    output: Path,
    passphrase_fd: int | None,
    as_json: bool,
) -> None:
    """Make and sign the agency's first key sheet; needs the node's passphrase. A node that runs makes the next ones.

    Key sheets are ordered by the manifest that they name, then by version, which begins again under each manifest.
    """
    from keys.ceremony import RecordHead, make_key_sheet, read_pins, window_keys
    from keys.key_files import load_node
    from keys.roster import save_signed

    check_new(output)
    federation = federation_of(roster)
    check_member(home, federation)
    node = load_node(home, Passphrases.late(passphrase_fd, "node"))
    pins = read_pins(home, node.agency)
    signed = make_key_sheet(
        node.operations,
        RecordHead(
            agency=node.agency,
            federation=federation.federation_id,
            now_ms=now_ms(),
            version=version,
            manifest_version=manifest_version,
        ),
        encryption=window_keys(node),
        pins=pins,
    )
    save_signed(output, signed)
    count = len(node.encryption)
    answer(
        as_json,
        {"file": str(output), "agency": node.agency, "version": version, "keys": count, "pins": len(pins)},
        [f"made {output}: key sheet {version} of {node.agency}, {count} keys, {len(pins)} pins"],
    )


@make.command("request", short_help="Ask for a leaf certificate by file.")
@HOME
@click.option("--as", "officer", metavar="OFFICER", help="For a person's leaf; without it the node's.")
@OUTPUT
@FD
@JSON
def make_request_command(
    home: Path, officer: str | None, output: Path, passphrase_fd: int | None, as_json: bool
) -> None:
    """Ask for a leaf certificate by file, for the TLS key that is there."""
    from keys.certificate import make_request
    from keys.files import PUBLIC, write_file
    from keys.key_files import load_node, load_officer

    check_new(output)
    late = Passphrases.late(passphrase_fd, officer or "node")
    holder = load_officer(home, officer, late) if officer else load_node(home, late)
    write_file(output, make_request(holder.tls_private), mode=PUBLIC)
    line = f"made {output}: a request for {officer or 'the node'}"
    answer(as_json, {"file": str(output), "holder": officer or "node"}, [line])


@make.command("leaf")
@click.argument("request", type=FILE)
@HOME
@click.option("--for", "holder", type=click.Choice(["node", "officer"]), required=True, help="Whose leaf it is.")
@OUTPUT
@FD
@JSON
def make_leaf_command(
    request: Path, home: Path, holder: str, output: Path, passphrase_fd: int | None, as_json: bool
) -> None:
    """Issue a leaf for a request; needs the root's passphrase. Its pin goes into the next key sheet."""
    from keys.agency import load_authority
    from keys.certificate import make_node_leaf, make_officer_leaf, read_request, spki_sha256
    from keys.files import PUBLIC, write_file

    check_new(output)
    public = read_request(request.read_bytes())
    _, ca = load_authority(home, Passphrases.late(passphrase_fd, "root"))
    issue = make_node_leaf if holder == "node" else make_officer_leaf
    leaf = issue(ca, public, now_ms(), os.urandom)
    write_file(output, leaf, mode=PUBLIC)
    pin = spki_sha256(leaf).hex()
    answer(as_json, {"file": str(output), "holder": holder, "pin": pin}, [f"made {output}: pin {pin}"])


@keys.command("show", short_help="Show a record or a key file in words.")
@click.argument("file", type=FILE)
@click.option("--roster", type=FILE, help="Verify a manifest or key sheet against this roster.")
@click.option("--manifest", type=FILE, help="Verify a key sheet against this manifest.")
@JSON
def show_command(file: Path, roster: Path | None, manifest: Path | None, as_json: bool) -> int:
    """Show a roster, manifest, key sheet, application or key file in words."""
    from keys.show import describe, load_kind

    federation = federation_of(roster) if roster is not None else None
    if federation is not None and manifest is not None:
        federation = federation.with_manifest(load_kind(manifest, "manifest"), now_ms())
    lines = describe(file.read_bytes(), federation=federation, now_ms=now_ms())
    refuted = any("NOT verified" in line for line in lines[-1:])
    answer(as_json, {"ok": not refuted, "file": str(file), "lines": lines}, lines)
    return Exit.UNVERIFIED if refuted else Exit.DONE


def _person(text: str, *, system: bool) -> Person:
    from keys.agency import Person
    from keys.identity import parse_officer

    name, _, rest = text.partition(":")
    roles, _, ceiling = rest.partition(":")
    if ceiling and not ceiling.isdecimal():
        raise RefusedError("MALFORMED", f"the ceiling of {parse_officer(name)} is not a number")
    return Person(
        id=parse_officer(name),
        roles=tuple(sorted(roles.split(","))) if roles else ("author", "reader"),
        ceiling=int(ceiling) if ceiling else 2,
        system=system,
    )


def _check_root(home: Path, roster: Roster) -> None:
    """Refuse a roster that a home's root cannot sign, before anybody types a passphrase; RefusedError SIGNER_UNKNOWN."""
    from keys.agency import load_application

    application = load_application(home)
    agency, mine = application.member.agency, application.roster_root
    if mine is None:
        raise RefusedError("SIGNER_UNKNOWN", f"{agency} holds no root of the roster")
    if mine.key_id not in {each.key_id for each in roster.roots}:
        raise RefusedError("SIGNER_UNKNOWN", f"the root of {agency} in {home} does not stand in this roster")


def _words_of(roster: SignedPayload) -> str:
    from keys.roster import roster_digest
    from keys.words import words

    return " ".join(words(roster_digest(roster)))


make.add_command(make_epoch_command)
make.add_command(make_manifest_command)
keys.add_command(collect_command)
keys.add_command(renew_command)
make.add_command(make_backup_key_command)
