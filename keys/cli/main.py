"""``exchange keys``: the ceremony from files, each step by hand.

Results go to stdout, words to people to stderr; passphrases come from the terminal or a file descriptor, never from
the command line. Existing files stay as they are.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from keys.cli.epoch import make_epoch_command
from keys.cli.options import FD, FILE, FOLDER, HOME, OUTPUT, ROSTER, VERSION, Passphrases, federation_of, now_ms
from keys.errors import RefusedError

if TYPE_CHECKING:
    from keys.agency import Person

# Exit codes as everywhere: 2 wrong use or form, 4 needs a key or passphrase, 5 no such thing, 6 verification failed.
_EXITS = {
    "MALFORMED": 2,
    "TOO_LARGE": 2,
    "NOT_UNDERSTOOD": 2,
    "SUITE_UNKNOWN": 2,
    "NOT_ALLOWED": 4,
    "UNOPENABLE": 4,
    "KEY_GONE": 4,
}
_VERIFICATION_FAILED = 6


class Refusing(click.Group):
    """A group that turns refusals and missing or present files into words and exit codes."""

    def invoke(self, context: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(context)
        except RefusedError as error:
            hint = str(getattr(error, "hint", ""))
            _fail(f"{error} ({error.code})", _EXITS.get(error.code, _VERIFICATION_FAILED), hint)
        except FileExistsError as error:
            _fail(f"{error.filename2 or error.filename} is there already and stays as it is", 2)
        except (FileNotFoundError, NotADirectoryError) as error:
            _fail(f"{error.filename} is not there", 5)


def _fail(message: str, code: int, hint: str = "") -> NoReturn:
    click.echo(f"exchange: error: {message}", err=True)
    if hint:
        click.echo(f"exchange: hint: {hint}", err=True)
    sys.exit(code)


@click.group(cls=Refusing)
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
@click.option("--windows", type=click.IntRange(1, 400), default=14, show_default=True, help="Daily encryption keys.")
@click.option("--roster-root/--no-roster-root", default=True, help="Whether the agency holds a root of the roster.")
@click.option("--floor", is_flag=True, help="Derive the root's key at the floor too (64 MiB); for exercises.")
@FD
def make_agency_command(
    agency: str,
    federation: str,
    output: Path,
    officers: tuple[str, ...],
    systems: tuple[str, ...],
    windows: int,
    roster_root: bool,
    floor: bool,
    passphrase_fd: int | None,
) -> None:
    """Make an agency's keys: its root and CA, its node, its people.

    A person is given as ID, or as ID:author,reader:2 with roles and ceiling. Passphrases are asked for root, node and
    each person in the order of their ids; from a file descriptor they are lines, of which the last serves all the
    rest.
    """
    from keys.agency import KeyPlan, make_agency, save_agency
    from keys.identity import parse_agency
    from keys.keystore import INTERACTIVE, ROOT

    people = [_person(each, system=False) for each in officers] + [_person(each, system=True) for each in systems]
    made = make_agency(
        parse_agency(agency),
        federation,
        people,
        now_ms=now_ms(),
        random_bytes=os.urandom,
        plan=KeyPlan(roster_root=roster_root, windows=windows),
    )
    secrets = Passphrases.taken(passphrase_fd, fresh=True)
    save_agency(output, made, secrets, os.urandom, root_profile=INTERACTIVE if floor else ROOT)
    click.echo(f"made {made.agency} in {output}: root, node and {len(people)} people")
    click.echo(f"exchange: send {output / 'application'} to whoever puts the roster together", err=True)
    click.echo(f"exchange: carry {output / 'root'} away from the node", err=True)


@make.command("officer")
@click.argument("officer", metavar="ID[:ROLES[:CEILING]]")
@HOME
@click.option("--system", is_flag=True, help="An automaton, which never releases.")
@FD
def make_officer_command(officer: str, home: Path, system: bool, passphrase_fd: int | None) -> None:
    """Make one more person's keys; needs the root's passphrase, then the person's."""
    from keys.agency import load_authority, make_officer, save_officer

    person = _person(officer, system=system)
    root, ca = load_authority(home, Passphrases.taken(passphrase_fd)("root"))
    made = make_officer(ca, person, now_ms=now_ms(), random_bytes=os.urandom)
    save_officer(home, made, Passphrases.taken(passphrase_fd, fresh=True)(person.id), os.urandom)
    click.echo(f"made {root.agency}/{person.id}; make and adopt a new manifest and key sheet")


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
def make_roster_command(
    applications: tuple[Path, ...],
    catalogue: Path,
    threshold: int | None,
    witnesses: tuple[Path, ...],
    quorum: int | None,
    days: int,
    output: Path,
) -> None:
    """Put roster 1 together from the agencies' applications, unsigned."""
    from keys.ceremony import RosterTerms, make_roster_1
    from keys.durations import DAY_MS
    from keys.roster import Application, OutsideWitness, catalogue_digest, roster_digest, save_signed

    files = {each.name: each.read_bytes() for each in sorted(catalogue.glob("*.yaml"))}
    if not files:
        raise RefusedError("MALFORMED", f"{catalogue} holds no .yaml files, so it is no catalogue")
    signed = make_roster_1(
        [Application.decode(each.read_bytes()) for each in applications],
        catalogue_digest=catalogue_digest(files),
        now_ms=now_ms(),
        witnesses=[OutsideWitness.decode(each.read_bytes()) for each in witnesses],
        terms=RosterTerms(valid_ms=days * DAY_MS, threshold=threshold, witness_quorum=quorum),
    )
    save_signed(output, signed)
    more = f" and {len(witnesses)} outside witnesses" if witnesses else ""
    click.echo(f"made {output}: roster 1 of {len(applications)} agencies{more}, unsigned")
    _say_words(roster_digest(signed))


@sign.command("roster")
@click.argument("file", type=FILE)
@HOME
@click.option("--yes", is_flag=True, help="The twelve words were compared.")
@FD
def sign_roster_command(file: Path, home: Path, yes: bool, passphrase_fd: int | None) -> None:
    """Add a roster root's signature to a roster."""
    from keys.ceremony import sign_roster
    from keys.key_files import load_root
    from keys.roster import parse_roster, roster_digest, save_signed
    from keys.show import load_kind

    signed = load_kind(file, "roster")
    roster = parse_roster(signed.payload)
    click.echo(
        f"exchange: roster {roster.version} of {roster.federation_name}, {len(roster.members)} members", err=True
    )
    _say_words(roster_digest(signed))
    if not yes:
        click.confirm("Are these the words that the other agencies read?", abort=True, err=True)
    root = load_root(home, Passphrases.taken(passphrase_fd)("root"))
    if root.roster_root is None:
        raise RefusedError("SIGNER_UNKNOWN", f"{root.agency} holds no root of the roster")
    signed = sign_roster(signed, root.roster_root)
    save_signed(file, signed, replace=True)
    click.echo(f"signed {file}: {len(signed.signatures)} of {len(roster.roots)} roots")


@make.command("manifest")
@HOME
@ROSTER
@click.option("--endpoint", "endpoints", multiple=True, metavar="HOST:PORT", help="The peers' listener. Repeatable.")
@VERSION
@OUTPUT
@FD
def make_manifest_command(
    home: Path, roster: Path, endpoints: tuple[str, ...], version: int, output: Path, passphrase_fd: int | None
) -> None:
    """Make and sign the agency's manifest; needs the root's passphrase."""
    from keys.ceremony import RecordHead, make_manifest, read_entries
    from keys.key_files import load_root
    from keys.roster import save_signed

    federation = federation_of(roster)
    root = load_root(home, Passphrases.taken(passphrase_fd)("root"))
    operations, officers = read_entries(home, root.agency)
    signed = make_manifest(
        root.root,
        RecordHead(agency=root.agency, federation=federation.federation_id, now_ms=now_ms(), version=version),
        operations=[operations],
        officers=officers,
        endpoints=endpoints,
    )
    federation.with_manifest(signed, now_ms())
    save_signed(output, signed)
    click.echo(f"made {output}: manifest {version} of {root.agency}, {len(officers)} people")


@make.command("sheet")
@HOME
@ROSTER
@VERSION
@OUTPUT
@FD
def make_sheet_command(home: Path, roster: Path, version: int, output: Path, passphrase_fd: int | None) -> None:
    """Make and sign the agency's key sheet; needs the node's passphrase."""
    from keys.ceremony import RecordHead, make_key_sheet, read_pins, window_keys
    from keys.key_files import load_node
    from keys.roster import save_signed

    federation = federation_of(roster)
    node = load_node(home, Passphrases.taken(passphrase_fd)("node"))
    pins = read_pins(home, node.agency)
    signed = make_key_sheet(
        node.operations,
        RecordHead(agency=node.agency, federation=federation.federation_id, now_ms=now_ms(), version=version),
        encryption=window_keys(node),
        pins=pins,
    )
    save_signed(output, signed)
    click.echo(f"made {output}: key sheet {version} of {node.agency}, {len(node.encryption)} keys, {len(pins)} pins")


@make.command("request")
@HOME
@click.option("--as", "officer", metavar="OFFICER", help="For a person's leaf; without it the node's.")
@OUTPUT
@FD
def make_request_command(home: Path, officer: str | None, output: Path, passphrase_fd: int | None) -> None:
    """Ask for a leaf certificate by file, for the TLS key that is there."""
    from keys.certificate import make_request
    from keys.files import PUBLIC, write_file
    from keys.key_files import load_node, load_officer

    secrets = Passphrases.taken(passphrase_fd)
    holder = load_officer(home, officer, secrets(officer)) if officer else load_node(home, secrets("node"))
    write_file(output, make_request(holder.tls_private), mode=PUBLIC)
    click.echo(f"made {output}: a request for {officer or 'the node'}")


@make.command("leaf")
@click.argument("request", type=FILE)
@HOME
@click.option("--for", "holder", type=click.Choice(["node", "officer"]), required=True, help="Whose leaf it is.")
@OUTPUT
@FD
def make_leaf_command(request: Path, home: Path, holder: str, output: Path, passphrase_fd: int | None) -> None:
    """Issue a leaf for a request; needs the root's passphrase. Its pin goes into the next key sheet."""
    from keys.agency import load_authority
    from keys.certificate import make_node_leaf, make_officer_leaf, read_request, spki_sha256
    from keys.files import PUBLIC, write_file

    public = read_request(request.read_bytes())
    _, ca = load_authority(home, Passphrases.taken(passphrase_fd)("root"))
    issue = make_node_leaf if holder == "node" else make_officer_leaf
    leaf = issue(ca, public, now_ms(), os.urandom)
    write_file(output, leaf, mode=PUBLIC)
    click.echo(f"made {output}: pin {spki_sha256(leaf).hex()}")


@keys.command("show")
@click.argument("file", type=FILE)
@click.option("--roster", type=FILE, help="Verify a manifest or key sheet against this roster.")
@click.option("--manifest", type=FILE, help="Verify a key sheet against this manifest.")
def show_command(file: Path, roster: Path | None, manifest: Path | None) -> None:
    """Show a roster, manifest, key sheet, application or key file in words."""
    from keys.show import describe, load_kind

    federation = federation_of(roster) if roster is not None else None
    if federation is not None and manifest is not None:
        federation = federation.with_manifest(load_kind(manifest, "manifest"), now_ms())
    lines = describe(file.read_bytes(), federation=federation, now_ms=now_ms())
    for line in lines:
        click.echo(line)
    if any("NOT verified" in line for line in lines[-1:]):
        sys.exit(_VERIFICATION_FAILED)


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


def _say_words(digest: bytes) -> None:
    from keys.words import words

    click.echo(f"exchange: its words are: {' '.join(words(digest))}", err=True)


make.add_command(make_epoch_command)
