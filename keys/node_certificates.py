"""The node's own certificate and its people's: asked for, put in place, renewed by the issuing key.

A renewal keeps every key, so that no pin changes; a leaf in a file is therefore good before and after anything else of
the same renewal is. Officers' leaves wait in ``HOME/officers/<id>`` until their owners come to the desk.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from keys import certificate
from keys.agency import FOLDER_MODE, TLS_FILE, Random
from keys.dsse import SignedPayload
from keys.durations import DAY_MS
from keys.errors import IntegrityError, RefusedError
from keys.federation import Federation
from keys.files import PUBLIC, sync_folder, write_file
from keys.identity import AgencyId
from keys.issuing import issuing_authority
from keys.key_files import NodeKeys, officer_folder
from keys.key_sheet import PinKind
from keys.renewal import RenewalAnswer, make_request, verify_renewal

REQUEST_FILE = "renewal-request"  # in the home, once something is due
DUE_MS = 30 * DAY_MS  # before its end, a certificate or a manifest is to be renewed
_STAGED = ".renewed"  # behind a file's name until all of a renewal are written


class Standing(Protocol):
    """Whose node it is, and what it has adopted."""

    @property
    def agency(self) -> AgencyId:
        """Ours."""

    @property
    def federation(self) -> Federation:
        """Everything adopted."""


def own_leaf(home: Path) -> bytes:
    """Read the node's leaf; IntegrityError where the home has none."""
    try:
        return (home / TLS_FILE).read_bytes()
    except FileNotFoundError as error:
        raise IntegrityError(f"{home / TLS_FILE}: the node has no TLS leaf") from error


def own_chain(home: Path, view: Standing) -> bytes:
    """Return what the node shows when it shakes hands, PEM: its leaf, and the issuing key's certificate if that made it."""
    leaf, issuing = own_leaf(home), view.federation.issuing(view.agency)
    shown = certificate.to_pem(leaf)
    if issuing and certificate.load(leaf).issuer == certificate.load(issuing).subject:
        shown += certificate.to_pem(issuing)
    return shown


def leaf_ends_ms(home: Path) -> int:
    """Return until when peers take the node's leaf, milliseconds UTC; it never outlives its issuer."""
    return certificate.ends_ms(own_leaf(home))


def leaves_of(home: Path, view: Standing) -> dict[str, bytes]:
    """Read the leaves of the own officers and systems that lie in the home, DER by id."""
    people = view.federation.manifests[view.agency].record.officers_by_id
    files = {each: officer_folder(home, each) / TLS_FILE for each in people}
    return {each: path.read_bytes() for each, path in files.items() if path.exists()}


def own_request(home: Path, view: Standing, keys: NodeKeys, now_ms: int) -> SignedPayload:
    """Make what the node asks its root for; errors as ``make_request``."""
    manifest = view.federation.manifests[view.agency].signed
    return make_request(keys, manifest, view.federation.roster_digest, leaves_of(home, view), now_ms)


def put_request(home: Path, request: bytes) -> None:
    """Leave what the root is asked for in the home, for whoever carries it; nothing where nothing is due."""
    path = home / REQUEST_FILE
    if request:
        write_file(path, request, mode=PUBLIC, replace=True)
    else:
        path.unlink(missing_ok=True)


def note_leaf(home: Path, officer: str, leaf_pem: bytes) -> None:
    """Keep the leaf with which somebody came to the desk, where the home has none of theirs: a renewal needs it.

    A home that takes no file just now is no reason to turn anybody away; the next call notes it.
    """
    path = officer_folder(home, officer) / TLS_FILE
    if path.exists():
        return
    with suppress(OSError):
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        write_file(path, certificate.to_der(leaf_pem), mode=PUBLIC, replace=True)


def newer_leaf(home: Path, officer: str, leaf_pem: bytes) -> bytes:
    """Return the leaf that waits for somebody who came to the desk with an older one, DER; empty where none does."""
    path = officer_folder(home, officer) / TLS_FILE
    if not path.exists():
        return b""
    waiting = path.read_bytes()
    same = certificate.spki_sha256(waiting) == certificate.spki_sha256(leaf_pem)
    return waiting if same and certificate.ends_ms(waiting) > certificate.ends_ms(leaf_pem) else b""


def check_renewal(signed: SignedPayload, view: Standing, home: Path, now_ms: int) -> RenewalAnswer:
    """Judge a renewal as a whole, before any of it is kept.

    1. the renewal itself, 2. its leaf is for the key that this node has, 3. its manifest can be adopted.

    Raises:
        RefusedError: As ``verify_renewal`` and ``Federation.with_manifest``; PEER_UNTRUSTED for another node's key.
    """
    federation = view.federation
    member = federation.member(view.agency, now_ms)
    renewal = verify_renewal(signed, member, federation.federation_id, now_ms)  # 1
    if certificate.spki_sha256(renewal.node_leaf) != certificate.spki_sha256(own_leaf(home)):  # 2
        raise RefusedError(
            "PEER_UNTRUSTED", f"the renewal's certificate is not for the key of {view.agency}'s node here"
        )
    federation.with_manifest(renewal.manifest, now_ms)  # 3
    return renewal


def put_renewal(home: Path, view: Standing, renewal: RenewalAnswer) -> None:
    """Put a renewal's leaves in place: all are written before the first takes its place.

    An officer's whose key the key sheet does not pin stays out: nobody could come to the desk with it.
    """
    sheet = view.federation.key_sheets.get(view.agency)
    pins = sheet.record.pins_by_spki if sheet is not None else {}
    targets = {home / TLS_FILE: renewal.node_leaf}
    for officer, leaf in renewal.leaves.items():
        pin = pins.get(certificate.spki_sha256(leaf))
        if pin is not None and pin.kind is not PinKind.NODE and pin.owner == f"{view.agency}/{officer}":
            targets[officer_folder(home, officer) / TLS_FILE] = leaf
    replace_all(targets)


def replace_all(targets: Mapping[Path, bytes]) -> None:
    """Write files of which each is good beside the old others: first all aside, then each in its place."""
    staged = {path.with_name(path.name + _STAGED): path for path in targets}
    try:
        for aside, path in staged.items():
            path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            write_file(aside, targets[path], mode=PUBLIC, replace=True)
    except OSError:
        for aside in staged:
            aside.unlink(missing_ok=True)
        raise
    for aside, path in staged.items():
        aside.replace(path)
        sync_folder(path.parent)


def renew_leaf(home: Path, view: Standing, keys: NodeKeys, now_ms: int, random_bytes: Random) -> bool:
    """Renew the node's leaf by the issuing key, where there is one whose certificate lasts longer than the leaf.

    Returns:
        Whether there is a new leaf in the home.

    Raises:
        RefusedError: PEER_UNTRUSTED where the key is not the one that the manifest names.
    """
    issuing = view.federation.issuing(view.agency)
    if keys.issuing_private is None or not issuing or certificate.ends_ms(issuing) - now_ms < DUE_MS:
        return False
    authority = issuing_authority(issuing, keys.issuing_private, view.agency, view.federation.name)
    leaf = certificate.make_node_leaf(authority, keys.tls_private.public_key(), now_ms, random_bytes)
    ca = view.federation.member(view.agency, now_ms).tls_ca
    certificate.verify_node_leaf(leaf, ca, now_ms, issuing)
    replace_all({home / TLS_FILE: leaf})
    return True
