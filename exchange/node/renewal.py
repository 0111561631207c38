"""What a node renews by itself: its encryption windows, and the key sheet that tells the others of them.

Windows are made 30 days ahead, a week's at once. Their keys lie durably in the node's second key file before a sheet
that names them is signed, so a crash anywhere leaves keys that the next run uses, never a sheet whose keys are lost. A
sheet follows also where the own manifest has changed, with the pins that hold under it, and where a sheet names keys
that this node does not have: senders would seal to what nobody opens (docs/decisions/0040-windows-that-renew.md).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from exchange.acts.directory import RecordKind
from exchange.acts.unit_of_work import RandomBytes
from exchange.store.store import Reads
from keys.agency import AHEAD_DAYS, TLS_FILE, WINDOWS, make_windows
from keys.ceremony import RecordHead, make_key_sheet
from keys.certificate import spki_sha256
from keys.dsse import SignedPayload
from keys.durations import DAY_MS
from keys.errors import RefusedError, UnavailableError
from keys.identity import AgencyId
from keys.key_files import WindowKey, officer_folder, open_sealing
from keys.key_sheet import MAX_ENCRYPTION_KEYS, KeySheet, PinKind, TlsPin
from keys.keystore import load_sealing_keys, save_sealing_keys
from keys.manifest import Manifest, Officer, parse_manifest
from keys.secret import Secret
from keys.timed_key import TimedKey

if TYPE_CHECKING:
    from exchange.node.node import Node


class Renewal:
    """The windows and key sheets of one node.

    Args:
        node: Begun.
        derived: Of its first key file; with it the second is written again.
        now_ms: The clock.
        random_bytes: For new keys.
    """

    def __init__(self, node: Node, derived: Secret, now_ms: Callable[[], int], random_bytes: RandomBytes) -> None:
        self._node, self._derived = node, derived
        self._now_ms, self._random = now_ms, random_bytes
        self._windows: tuple[WindowKey, ...] = ()  # as they lay in the file last
        self.hindrance: RefusedError | None = None  # why the last attempt at a sheet came to none

    def make_windows(self) -> int:
        """Make the windows that are missing where fewer than 30 days are ahead; they are durable when this returns.

        It writes the second key file, as the destruction of old keys does: never both at once.

        Returns:
            How many were made.

        Raises:
            UnavailableError: The clock is in doubt.
        """
        node, home = self._node, self._node.paths.home
        if node.writer.suspended:
            raise UnavailableError(f"no encryption keys are made now: {node.writer.suspended}", 5)
        now_ms, stored = self._now_ms(), load_sealing_keys(home, self._derived)
        ends = {key.until_ms for name, key in stored.items() if name.startswith("encryption-")}
        made = {}
        if max(ends, default=0) - now_ms < AHEAD_DAYS * DAY_MS:
            made = make_windows(node.view.agency, now_ms, WINDOWS, self._random, ends)
            stored = {**stored, **made}
            save_sealing_keys(home, self._derived, stored, self._random)
            # On disk before any sheet names them. A crash leaves keys that nobody knows; the next run names them.
        self._windows = open_sealing(stored)[0]
        if made:
            node.set_windows({each.key.public.key_id: each.key for each in self._windows})
        return len(made)

    def make_sheet(self) -> SignedPayload | None:
        """Make the key sheet that is due, signed and not adopted yet; None where none is due or none can be signed.

        Where none can be signed, ``hindrance`` says why.
        """
        node, now_ms = self._node, self._now_ms()
        view, self.hindrance = node.view, None
        known = view.federation.key_sheets.get(view.agency)
        sheet = known.record if known is not None else None
        usable = [each.timed() for each in self._windows if each.until_ms > now_ms][:MAX_ENCRYPTION_KEYS]
        newest = view.federation.manifests.get(view.agency)
        if sheet is not None and newest is not None and not is_due(sheet, newest.record, usable_ids(usable), now_ms):
            return None
        try:
            view.federation.check_traffic(now_ms)
            manifest = view.federation.manifest(view.agency, now_ms)
            manifest.operations_key(view.operations.key.key_id, now_ms)
        except RefusedError as refusal:
            self.hindrance = refusal
            return None
        before = manifest_of(node.reads, view.agency, sheet, manifest)
        same = sheet is not None and sheet.manifest_version == manifest.version
        return make_key_sheet(
            view.operations,
            RecordHead(
                agency=view.agency,
                federation=view.federation.federation_id,
                now_ms=now_ms,
                version=sheet.version + 1 if sheet is not None and same else 1,
                manifest_version=manifest.version,
            ),
            encryption=usable,
            pins=pins_of(node.paths.home, sheet, manifest, before),
        )


def usable_ids(usable: list[TimedKey]) -> frozenset[bytes]:
    """Return the key ids of windows."""
    return frozenset(each.public.key_id for each in usable)


def is_due(sheet: KeySheet, manifest: Manifest, usable: frozenset[bytes], now_ms: int) -> bool:
    """Return whether the newest own key sheet must be replaced.

    1 it has expired; 2 it was made under an earlier manifest; 3 it does not name a window that there is; 4 it names one,
    not yet over, whose key this node does not have.
    """
    named = frozenset(each.public.key_id for each in sheet.encryption_keys if each.until_ms > now_ms)
    return (
        now_ms >= sheet.expires_ms  # 1
        or sheet.manifest_version < manifest.version  # 2
        or named != usable  # 3, 4
    )


def manifest_of(reads: Reads, agency: AgencyId, sheet: KeySheet | None, present: Manifest) -> Manifest | None:
    """Return the own manifest under which a key sheet was made; None where that is not known."""
    if sheet is None:
        return None
    records = [each for each in reads.standing_records() if each.kind == RecordKind.MANIFEST and each.agency == agency]
    wanted = [each for each in records if each.version == (sheet.manifest_version or present.version - 1)]
    return parse_manifest(SignedPayload.decode(wanted[-1].signed).payload) if wanted else None


def pins_of(home: Path, sheet: KeySheet | None, manifest: Manifest, before: Manifest | None) -> list[TlsPin]:
    """Return the pins that hold under a manifest: the node's, and those of its people.

    A person whom the manifest names as before keeps the pins of the sheet, so that a pin once withdrawn stays so;
    whoever is new, or has another key, has the leaf that lies in the home; whoever is named no more has none.
    """
    known = sheet.pins if sheet is not None else ()
    pins = {each.spki_sha256: each for each in known if each.kind is PinKind.NODE}
    leaf = _leaf(home / TLS_FILE)
    if leaf:
        pins[leaf] = TlsPin(owner=manifest.agency, kind=PinKind.NODE, spki_sha256=leaf)
    for each in manifest.officers:
        kind, owner = PinKind.SYSTEM if each.is_system else PinKind.OFFICER, each.key.owner
        if sheet is not None and _unchanged(each, before):
            pins.update((pin.spki_sha256, pin) for pin in known if pin.owner == owner)
        elif leaf := _leaf(officer_folder(home, each.id) / TLS_FILE):
            pins[leaf] = TlsPin(owner=owner, kind=kind, spki_sha256=leaf)
    return list(pins.values())


def _unchanged(officer: Officer, before: Manifest | None) -> bool:
    if before is None:
        return True
    known = before.officers_by_id.get(officer.id)
    return known is not None and known.key.key_id == officer.key.key_id


def _leaf(path: Path) -> bytes:
    """Return the pin of a leaf; empty where there is none."""
    try:
        return spki_sha256(path.read_bytes())
    except FileNotFoundError:
        return b""
