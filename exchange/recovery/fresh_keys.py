"""What opens content, made anew where it is lost: encryption windows, a storage key, and the key sheet that names them.

No backup holds these keys, so a node that comes back has none. A recovery makes them; the key sheet is signed by the
operations key, under the manifest that opens the new epoch. What the old ones opened comes back from other members.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from exchange.acts.node_view import NodeView
from keys.agency import make_windows
from keys.ceremony import RecordHead, make_key_sheet, read_pins, window_keys
from keys.identity import split_owner
from keys.key_files import NodeKeys, open_node, stored_storage
from keys.keystore import NODE_FILE, SEALING_FILE, load_keystore, load_sealing_keys, save_sealing_keys

WINDOW_DAYS = 37  # the node itself keeps 30 days ahead; the rest is time to start it


def keys_are_lost(home: Path) -> bool:
    """Return whether a home has nothing left that opens content."""
    return not (home / SEALING_FILE).exists()


def load_keys(
    home: Path, passphrase: bytes, now_ms: int, random_bytes: Callable[[int], bytes], *, keep: bool
) -> NodeKeys:
    """Open a node's keys; where those that open content are lost, make new ones.

    Args:
        home: The node's.
        passphrase: Of its first key file.
        now_ms: Milliseconds UTC; today's window is the first.
        random_bytes: The source of keys.
        keep: Write the new ones into the home, where the next call finds them; else they end with this process.

    Raises:
        RefusedError: As ``load_keystore``; KEY_GONE where of the two files that hold them only one is left.
    """
    store = load_keystore(home / NODE_FILE, passphrase)
    if not keys_are_lost(home):
        return open_node(store.keys, load_sealing_keys(home, store.derived), store.derived)
    agency = split_owner(store.signer("operations").key.owner)[0]
    sealing = {
        **make_windows(agency, now_ms, WINDOW_DAYS, random_bytes),
        f"storage-{now_ms}": stored_storage(random_bytes(32), agency, now_ms),
    }
    if keep:
        save_sealing_keys(home, store.derived, sealing, random_bytes)
        # Durable before any record names them. A crash from here on finds them again.
    return open_node(store.keys, sealing, store.derived)


def with_own_sheet(view: NodeView, keys: NodeKeys, home: Path, now_ms: int) -> NodeView:
    """Return our view with a key sheet that names a living encryption key of ours, made where none does.

    Args:
        view: Ours, with the manifest that opens the new epoch.
        keys: The node's.
        home: Where people's public files lie, for the pins, if no key sheet of before is known.
        now_ms: Milliseconds UTC.

    Raises:
        FileNotFoundError: No key sheet is known, and the files for one are not here.
        RefusedError: As ``verify_key_sheet``, SIGNER_UNKNOWN where the operations key is not in the manifest.
    """
    known, manifest = view.federation.key_sheets.get(view.agency), view.federation.manifests[view.agency]
    living = {each.key.public.key_id for each in keys.encryption if each.until_ms > now_ms}
    if known is not None and any(each.public.key_id in living for each in known.record.encryption_keys):
        return view
    signed = make_key_sheet(
        keys.operations,
        RecordHead(
            agency=view.agency,
            federation=view.federation.federation_id,
            now_ms=now_ms,
            version=known.record.version + 1 if known is not None else 1,
            manifest_version=manifest.record.version,
        ),
        encryption=window_keys(keys),
        pins=known.record.pins if known is not None else read_pins(home, view.agency),
    )
    return replace(view, federation=view.federation.with_key_sheet(signed, now_ms))
