"""What goes into an agency's next manifest: its present one, its folder, and what was typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keys.cli.options import now_ms
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
