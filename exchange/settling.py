"""Making a home into a node's: its records checked together, its database and log begun, its people enrolled.

What ``exchange node init`` does, as a function of values; the demo does the same eighteen times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from exchange import node
from exchange.config import CONFIG_FILE, NodeConfig, format_config
from exchange.enrolment import PIN_FILE, save_pin
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.files import PUBLIC, write_file
from keys.holders import OFFICER_FILE, OFFICERS_FOLDER
from keys.identity import short
from keys.roster import catalogue_digest, parse_roster, roster_digest


def settle(
    home: Path,
    config: NodeConfig,
    *,
    roster: SignedPayload,
    manifest: SignedPayload,
    key_sheet: SignedPayload,
    records: Sequence[SignedPayload],
    catalogue: Mapping[str, bytes],
    now_us: int,
    random_bytes: Callable[[int], bytes],
) -> list[str]:
    """Make a home's database, lock and log, write its settings, pin the roster for its officers.

    Args:
        home: With the agency's keys in it, and neither database, lock nor log.
        config: As ``node.toml`` will say.
        roster: Version 1, whose twelve words a person has compared.
        manifest: Our own.
        key_sheet: Our own.
        records: Other members' manifests and key sheets, each agency's manifest first.
        catalogue: The files that the roster's digest is of.
        now_us: Microseconds UTC, of the first entries.
        random_bytes: For the key of pseudonyms.

    Returns:
        Who was enrolled.

    Raises:
        RefusedError: ROSTER_UNKNOWN for another catalogue than the roster's; what the records' checks raise.
        IntegrityError: There is a node already.
        FileExistsError: There are settings already.
    """
    wanted = parse_roster(roster.payload).catalogue_digest
    if catalogue_digest(catalogue) != wanted:
        raise RefusedError("ROSTER_UNKNOWN", f"the roster names catalogue {short(wanted)}, which is not this program's")
    node.create(
        home,
        agency=config.agency,
        roster=roster,
        manifest=manifest,
        key_sheet=key_sheet,
        catalogue=catalogue,
        pseudonym_key=random_bytes(32),
        now_us=now_us,
        records=records,
    )
    if not (home / CONFIG_FILE).exists():
        write_file(home / CONFIG_FILE, format_config(config).encode(), mode=PUBLIC)
    return enrol_all(home, roster)


def enrol_all(home: Path, roster: SignedPayload) -> list[str]:
    """Pin a roster for every officer and system in a home who has none yet; returns who that was."""
    names = sorted(each.parent.name for each in (home / OFFICERS_FOLDER).glob(f"*/{OFFICER_FILE}"))
    fresh = [name for name in names if not (home / OFFICERS_FOLDER / name / PIN_FILE).exists()]
    for name in fresh:
        save_pin(home, name, roster_digest(roster))
    return fresh
