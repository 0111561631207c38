"""An agency's keys, made together and shared out among its holders.

Beside the key files lie public halves as files, so that a ceremony opens no key that it does not need: ``ca.der``,
``tls.der`` and ``issuing.der`` (certificates), ``officer`` and ``operations`` (entries for the manifest), ``application`` (the entry for
the roster).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from keys import certificate
from keys.certificate import Authority
from keys.durations import DAY_MS, YEAR_MS
from keys.files import PUBLIC, write_file
from keys.identity import AgencyId, Usage, dns_label, parse_officer
from keys.issuing import make_issuing
from keys.key_files import (
    OFFICER_FILE,
    ROOT_FILE,
    ROOT_FOLDER,
    NodeKeys,
    OfficerKeys,
    RootKeys,
    load_root,
    officer_folder,
    open_node,
    open_officer,
    open_root,
    stored_storage,
    stored_tls,
)
from keys.keystore import (
    INTERACTIVE,
    NODE_FILE,
    ROOT,
    Passphrase,
    Profile,
    StoredKey,
    new_signing_key,
    new_window_key,
    save_keystore,
    save_sealing_keys,
)
from keys.manifest import Officer, parse_officer_entry
from keys.roster import Application, LogKey, Member, MemberStatus, parse_federation_name
from keys.secret import Secret
from keys.signer import make_record
from keys.suites import COBBLESTONE, ED25519, HYBRID_KEM
from keys.timed_key import CLOCK_SKEW_MS, TimedKey

CA_FILE, TLS_FILE, ISSUING_FILE = "ca.der", "tls.der", "issuing.der"
ENTRY_FILE, OPERATIONS_FILE, APPLICATION_FILE = "officer", "operations", "application"
FOLDER_MODE = 0o700
AHEAD_DAYS = 30  # so far ahead a node always has encryption keys
WINDOWS = AHEAD_DAYS + 7  # made at once, so that a node makes a new key sheet once a week

Random = Callable[[int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """An officer or a system to be made. ``ceiling`` is a number of exchange.v1.Classification."""

    id: str
    roles: tuple[str, ...] = ("author", "reader")
    ceiling: int = 2
    system: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeOfficer:
    """A person's keys with what the manifest and the key sheet say of them."""

    keys: OfficerKeys
    entry: Officer
    tls_leaf: bytes  # DER
    stored: Mapping[str, StoredKey] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgencyKeys:
    """Everything that an agency has made, in memory, before it is shared out among its holders."""

    root: RootKeys
    authority: Authority
    node: NodeKeys
    tls_leaf: bytes  # the node's, DER
    issuing: bytes  # the issuing key's certificate, DER; empty where there is no such key
    operations: TimedKey
    officers: tuple[MadeOfficer, ...]  # ascending by id
    application: Application
    stored: Mapping[str, Mapping[str, StoredKey]] = field(repr=False, compare=False)  # root, node, sealing

    @property
    def agency(self) -> AgencyId:
        """Its code."""
        return self.root.agency


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPlan:
    """How many keys an agency makes for itself."""

    roster_root: bool = True  # whether it holds a root of the roster, owned by itself
    windows: int = WINDOWS  # encryption keys of a day each, today's included
    issuing: bool = False  # whether a key beside the node renews the node's leaf


_NODE_USES = {"operations": Usage.AGENCY, "log": Usage.LOG, "witness": Usage.WITNESS}


def make_agency(
    agency: AgencyId,
    federation_name: str,
    people: Sequence[Person],
    *,
    now_ms: int,
    random_bytes: Random,
    plan: KeyPlan | None = None,
) -> AgencyKeys:
    """Make every key of an agency, its CA and its leaves, in memory.

    Args:
        agency: Its code, parsed.
        federation_name: A lower-case dNSName; it never changes.
        people: To begin with.
        now_ms: The ceremony's time, milliseconds UTC; what is made holds from ten minutes before it, for a year.
        random_bytes: The source of all keys.
        plan: How many; ``KeyPlan()`` if not given.
    """
    parse_federation_name(federation_name)
    plan = plan or KeyPlan()
    roots = {"agency-root": Usage.AGENCY_ROOT} | ({"roster-root": Usage.ROSTER_ROOT} if plan.roster_root else {})
    root_stored = {name: new_signing_key(usage, agency, random_bytes) for name, usage in roots.items()}
    root_stored["ca"] = stored_tls(certificate.new_private_key(random_bytes), agency)
    node_stored = {name: new_signing_key(usage, agency, random_bytes) for name, usage in _NODE_USES.items()}
    node_stored["tls"] = stored_tls(certificate.new_private_key(random_bytes), agency)
    sealing = {
        **make_windows(agency, now_ms, plan.windows, random_bytes),
        f"storage-{now_ms}": stored_storage(random_bytes(32), agency, now_ms),
    }
    root, node = open_root(root_stored), open_node(node_stored, sealing, Secret(b""))
    ca = certificate.make_ca(agency, federation_name, root.ca_private, now_ms, random_bytes)
    start = now_ms - CLOCK_SKEW_MS
    leaf = certificate.make_node_leaf(ca, node.tls_private.public_key(), now_ms, random_bytes)
    ordered = sorted(people, key=lambda each: each.id)
    officers = tuple(make_officer(ca, each, now_ms=now_ms, random_bytes=random_bytes) for each in ordered)
    issuing = _add_later_keys(node_stored, ca, plan, now_ms, random_bytes)
    node = open_node(node_stored, sealing, Secret(b""))
    return AgencyKeys(
        root=root,
        authority=ca,
        node=node,
        tls_leaf=leaf,
        issuing=issuing,
        operations=TimedKey(key=make_record(node.operations), from_ms=start, until_ms=start + YEAR_MS),
        officers=officers,
        application=_application(root, node, ca, now_ms),
        stored={"root": root_stored, "node": node_stored, "sealing": sealing},
    )


def _add_later_keys(
    node_stored: dict[str, StoredKey], ca: Authority, plan: KeyPlan, now_ms: int, random_bytes: Random
) -> bytes:
    """Add what is drawn last, so that the same randomness makes the same certificates and people as ever.

    Returns:
        The issuing key's certificate, if there is one.
    """
    for name in ("log", "witness"):
        node_stored[f"{name}-mldsa44"] = new_signing_key(_NODE_USES[name], ca.agency, random_bytes, second=True)
    if not plan.issuing:
        return b""
    private = certificate.new_private_key(random_bytes)
    node_stored["issuing"] = stored_tls(private, ca.agency)
    return make_issuing(ca, private.public_key(), now_ms, random_bytes)


def make_officer(ca: Authority, person: Person, *, now_ms: int, random_bytes: Random) -> MadeOfficer:
    """Make the keys of one officer or system of the CA's agency, and issue the leaf; errors as ``parse_manifest``."""
    owner = f"{ca.agency}/{parse_officer(person.id)}"
    usage = Usage.SYSTEM if person.system else Usage.OFFICER
    stored = {
        "sign": new_signing_key(usage, owner, random_bytes),
        "tls": stored_tls(certificate.new_private_key(random_bytes), owner),
    }
    keys = open_officer(stored)
    start = now_ms - CLOCK_SKEW_MS
    entry = Officer(
        id=person.id,
        key=make_record(keys.signer),
        roles=tuple(sorted(person.roles)),
        ceiling=person.ceiling,
        from_ms=start,
        until_ms=start + YEAR_MS,
    )
    parse_officer_entry(entry.encode(), ca.agency)  # what nobody would adopt is not made
    leaf = certificate.make_officer_leaf(ca, keys.tls_private.public_key(), now_ms, random_bytes)
    return MadeOfficer(keys=keys, entry=entry, tls_leaf=leaf, stored=stored)


def make_windows(
    agency: AgencyId, now_ms: int, days: int, random_bytes: Random, known: Collection[int] = ()
) -> dict[str, StoredKey]:
    """Make encryption keys for consecutive days, today's first, by their names in the store.

    Each window runs ten minutes into the next day, and the first begins ten minutes early, for clocks that differ.

    Args:
        agency: Whose.
        now_ms: Milliseconds UTC.
        days: How many, today's included.
        random_bytes: The source of all keys.
        known: The ends of windows that are there already; for their days none is made.
    """
    today = now_ms - now_ms % DAY_MS
    made = {}
    for day in range(days):
        begin = today + day * DAY_MS
        start = begin if day else begin - CLOCK_SKEW_MS
        end = begin + DAY_MS + CLOCK_SKEW_MS
        if end in known:
            continue
        made[f"encryption-{start}"] = new_window_key(agency, random_bytes, start, end)
    return made


def save_agency(
    home: Path,
    keys: AgencyKeys,
    passphrases: Callable[[str], bytes],
    random_bytes: Random,
    *,
    root_profile: Profile = ROOT,
    profile: Profile = INTERACTIVE,
) -> None:
    """Write an agency's keys into a home folder, one derivation for each holder.

    Args:
        home: Made, if it is not there; files that are there stay, and end the writing.
        passphrases: Gives the passphrase of a holder: ``root``, ``node`` or an officer's id.
        root_profile: What one guess at the root's passphrase costs.
        profile: The same for node and officers.

    Raises:
        FileExistsError: One of the files is there.
    """
    root = home / ROOT_FOLDER
    for folder in (home, root):
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    save_keystore(root / ROOT_FILE, passphrases("root"), keys.stored["root"], root_profile, random_bytes)
    node = save_keystore(home / NODE_FILE, passphrases("node"), keys.stored["node"], profile, random_bytes)
    save_sealing_keys(home, node.derived, keys.stored["sealing"], random_bytes)
    for folder in (home, root):  # the root's own copies go where it goes
        write_file(folder / CA_FILE, keys.authority.der, mode=PUBLIC)
        write_file(folder / APPLICATION_FILE, keys.application.encode(), mode=PUBLIC)
    write_file(home / TLS_FILE, keys.tls_leaf, mode=PUBLIC)
    if keys.issuing:
        write_file(home / ISSUING_FILE, keys.issuing, mode=PUBLIC)
    write_file(home / OPERATIONS_FILE, keys.operations.encode(), mode=PUBLIC)
    for each in keys.officers:
        save_officer(home, each, passphrases(each.entry.id), random_bytes, profile=profile)


def save_officer(
    home: Path, made: MadeOfficer, passphrase: bytes, random_bytes: Random, *, profile: Profile = INTERACTIVE
) -> None:
    """Write one officer's or system's keys into the home folder; FileExistsError if they are there."""
    folder = officer_folder(home, made.entry.id)
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    save_keystore(folder / OFFICER_FILE, passphrase, made.stored, profile, random_bytes)
    write_file(folder / ENTRY_FILE, made.entry.encode(), mode=PUBLIC)
    write_file(folder / TLS_FILE, made.tls_leaf, mode=PUBLIC)


def load_authority(home: Path, passphrase: Passphrase) -> tuple[RootKeys, Authority]:
    """Open an agency's root with its CA; errors as ``load_keystore`` and PEER_UNTRUSTED."""
    name = load_application(home).federation_name
    der = _beside_root(home, CA_FILE).read_bytes()
    root = load_root(home, passphrase)
    return root, certificate.load_authority(der, root.ca_private, root.agency, name)


def load_application(home: Path) -> Application:
    """Read the agency's own application to the roster; RefusedError MALFORMED."""
    return Application.decode(_beside_root(home, APPLICATION_FILE).read_bytes())


def _beside_root(home: Path, name: str) -> Path:
    """Return where a public file lies: in the home, or in the root's folder, which may have been carried away alone."""
    own = home / ROOT_FOLDER / name
    return own if not (home / name).exists() and own.exists() else home / name


def _application(root: RootKeys, node: NodeKeys, ca: Authority, now_ms: int) -> Application:
    member = Member(
        number=0,
        agency=root.agency,
        status=MemberStatus.ACTIVE,
        root=make_record(root.root),
        tls_ca=ca.der,
        log_name=f"{dns_label(root.agency)}.{ca.federation_name}/log",
        log_keys=(LogKey(key=make_record(node.log), first_epoch=1),),
        witness=make_record(node.witness),
        log_mldsa44_keys=(
            (LogKey(key=make_record(node.log_mldsa44), first_epoch=1),) if node.log_mldsa44 is not None else ()
        ),
        witness_mldsa44=make_record(node.witness_mldsa44) if node.witness_mldsa44 is not None else None,
        minimum_suites=(ED25519, HYBRID_KEM, COBBLESTONE),
        from_ms=now_ms - CLOCK_SKEW_MS,
    )
    return Application(
        federation_name=ca.federation_name,
        member=member,
        roster_root=make_record(root.roster_root) if root.roster_root is not None else None,
    )
