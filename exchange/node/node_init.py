"""Making a home into a node's: its records checked together, its database and log begun, its people enrolled.

What ``exchange node init`` does, as a function of values; the demo does the same eighteen times.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from exchange.acts.directory import FirstRecords
from exchange.node import node
from exchange.node.config import CONFIG_FILE, NodeConfig, format_config
from exchange.node.enrolment import PIN_FILE, save_pin
from exchange.store.factory import store_exists
from exchange.store.home_paths import Paths
from keys import certificate
from keys.agency import TLS_FILE
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.files import PUBLIC, write_file
from keys.identity import short
from keys.key_files import OFFICER_FILE, OFFICERS_FOLDER
from keys.key_sheet import parse_key_sheet
from keys.keystore import NODE_FILE
from keys.manifest import parse_manifest
from keys.roster import Roster, catalogue_digest, parse_roster, roster_digest
from keys.uri import uri_place


def settle(
    home: Path, config: NodeConfig, first: FirstRecords, *, now_us: int, random_bytes: Callable[[int], bytes]
) -> list[str]:
    """Make a home's store, lock and log, write its settings, pin the roster for its officers.

    Args:
        home: With the agency's keys in it, and neither store, lock nor log.
        config: As ``node.toml`` will say.
        first: What the log begins with; a person has compared the roster's twelve words.
        now_us: Microseconds UTC, of the first entries.
        random_bytes: For the key of pseudonyms.

    Returns:
        Who was enrolled.

    Raises:
        RefusedError: MALFORMED where home, manifest and key sheet are not of one agency; ROSTER_UNKNOWN for another
            catalogue than the roster's; what the records' checks raise.
        FileNotFoundError: There are no keys in the home.
        FileExistsError: There is a node already.
    """
    parsed = parse_roster(first.roster.payload)
    check_own(home, config, parsed, first.manifest, first.key_sheet)
    wanted = parsed.catalogue_digest
    if catalogue_digest(first.catalogue) != wanted:
        raise RefusedError("ROSTER_UNKNOWN", f"the roster names catalogue {short(wanted)}, which is not this program's")
    make_state = node.state_at(Paths(home=home, engine=config.store))
    node.create(home, first, pseudonym_key=random_bytes(32), now_us=now_us, make_state=make_state)
    write_file(home / CONFIG_FILE, format_config(config).encode(), mode=PUBLIC)
    return enrol_all(home, first.roster)


def check_own(
    home: Path, config: NodeConfig, roster: Roster, manifest: SignedPayload, key_sheet: SignedPayload
) -> None:
    """Check before anything is made that keys, manifest and key sheet are this agency's; errors as ``settle``.

    1. keys are there; 2. no node is; 3. the leaf is this agency's; 4. so are the manifest and the key sheet; 5. the
    key sheet is the one made for this leaf. A node with another agency's keys would start, and nobody would talk to it.
    """
    for name in (NODE_FILE, TLS_FILE):  # 1
        if not (home / name).exists():
            raise FileNotFoundError(2, "no keys", str(home / name))
    store = Paths(home=home, engine=config.store).store
    for path, there in (
        (uri_place(store), store_exists(store)),
        (home / CONFIG_FILE, (home / CONFIG_FILE).exists()),
    ):  # 2
        if there:
            raise FileExistsError(17, "a node is made only in a home without one", str(path))
    leaf = (home / TLS_FILE).read_bytes()
    found, wanted = certificate.peer_agency_name(leaf), certificate.node_name(config.agency, roster.federation_name)
    if found != wanted:  # 3
        raise RefusedError("MALFORMED", f"{home / TLS_FILE} is the certificate of {found}, not of {wanted}")
    sheet = parse_key_sheet(key_sheet.payload)
    for what, agency in (("manifest", parse_manifest(manifest.payload).agency), ("key sheet", sheet.agency)):
        if agency != config.agency:  # 4
            raise RefusedError("MALFORMED", f"the {what} is {agency}'s, not {config.agency}'s")
    if certificate.spki_sha256(leaf) not in sheet.pins_by_spki:  # 5
        raise RefusedError("MALFORMED", f"the key sheet does not pin {home / TLS_FILE}; it was made for another one")


def enrol_all(home: Path, roster: SignedPayload) -> list[str]:
    """Pin a roster for every officer and system in a home who has none yet; returns who that was."""
    names = sorted(each.parent.name for each in (home / OFFICERS_FOLDER).glob(f"*/{OFFICER_FILE}"))
    fresh = [name for name in names if not (home / OFFICERS_FOLDER / name / PIN_FILE).exists()]
    for name in fresh:
        save_pin(home, name, roster_digest(roster))
    return fresh
