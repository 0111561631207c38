"""A new epoch of an agency's log, opened by the agency's root alone.

After a loss the log cannot go on where it stood. The node, with its peers' help, says which checkpoint of it was seen
last; whoever keeps the root reads size and root, and signs the next manifest: the one before, word for word, with one
epoch more that names where the log ended.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator
from dataclasses import replace

from keys.bounds import MAX_NOTE_BYTES
from keys.dsse import SignedPayload, sign, verify
from keys.durations import YEAR_MS
from keys.errors import RefusedError
from keys.manifest import LogEpoch, Manifest, parse_manifest
from keys.member import Member
from keys.signer import PublicKey, Signer

_DASH = "— "


def read_end(text: str, member: Member) -> LogEpoch:
    """Read the checkpoint at which a log ended, signed by the log's own key, as what opens the epoch after it.

    Args:
        text: A C2SP signed note.
        member: Whose log it must be, as the roster lists it.

    Raises:
        RefusedError: MALFORMED, not such a note; WRONG_MAKER, of another log; SIGNER_UNKNOWN, SIGNATURE_INVALID.
    """
    lines = text.split("\n")
    if len(text.encode("utf-8", "replace")) > MAX_NOTE_BYTES or len(lines) < 6 or lines[3] or lines[-1]:
        raise RefusedError("MALFORMED", "checkpoint: expected three lines, a blank one and signature lines")
    origin, size, root = lines[0], _number(lines[1], "line 2"), _base64(lines[2], "line 3")
    if len(root) != 32:
        raise RefusedError("MALFORMED", f"checkpoint: line 3: a root of {len(root)} bytes instead of 32")
    name, _, last = origin.rpartition("/")
    if name != member.log_name:
        raise RefusedError("WRONG_MAKER", f"checkpoint: of {origin!a}, not of {member.log_name}")
    epoch = _number(last, "line 1")
    key = member.log_key(epoch)
    if key is None:
        raise RefusedError("SIGNER_UNKNOWN", f"checkpoint: the roster names no log key of epoch {epoch}")
    _check_signed("\n".join(lines[:3]) + "\n", lines[4:-1], origin, key)
    return LogEpoch(epoch=epoch + 1, previous_origin=origin, previous_size=size, previous_root=root)


def open_epoch(root: Signer, before: SignedPayload, opening: LogEpoch, now_ms: int) -> SignedPayload:
    """Make and sign the manifest that opens an epoch: the one before, one version higher, with this epoch.

    Args:
        root: The agency's.
        before: The newest manifest, signed by the same root.
        opening: From ``read_end``.
        now_ms: Milliseconds UTC.

    Raises:
        RefusedError: The manifest before is not this root's; MALFORMED, the checkpoint is not of its newest epoch.
    """
    verify(before, "manifest", {root.key.key_id: root.key}.get)
    known: Manifest = parse_manifest(before.payload)
    newest = max(each.epoch for each in known.log_epochs)
    if opening.epoch != newest + 1:
        raise RefusedError(
            "MALFORMED",
            f"manifest {known.version} is in epoch {newest}, the checkpoint is of epoch {opening.epoch - 1}",
        )
    made = replace(
        known,
        version=known.version + 1,
        issued_ms=max(now_ms, known.issued_ms),
        expires_ms=now_ms + YEAR_MS,
        log_epochs=(*known.log_epochs, opening),
    )
    payload = made.encode()
    parse_manifest(payload)
    return sign(payload, ("manifest", root))


def _check_signed(body: str, lines: list[str], origin: str, key: PublicKey) -> None:
    """Verify the log's own line; others are ignored."""
    wanted = hashlib.sha256(origin.encode() + b"\n\x01" + key.public_key).digest()[:4]
    found = [raw for raw in _raws(lines, origin) if raw[:4] == wanted]
    if len(found) != 1:
        raise RefusedError("SIGNER_UNKNOWN", f"checkpoint: {len(found)} signatures of {origin}'s own key, 1 expected")
    key.verify(body.encode(), found[0][4:])


def _raws(lines: list[str], origin: str) -> Iterator[bytes]:
    for number, line in enumerate(lines, 5):
        name, _, text = line.removeprefix(_DASH).partition(" ")
        if line.startswith(_DASH) and name == origin:
            yield _base64(text, f"line {number}")


def _number(text: str, where: str) -> int:
    if not text.isascii() or not text.isdecimal() or (text.startswith("0") and text != "0") or len(text) > 19:
        raise RefusedError("MALFORMED", f"checkpoint: {where}: a number in plain decimal digits was expected")
    return int(text)


def _base64(text: str, where: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RefusedError("MALFORMED", f"checkpoint: {where}: base64 was expected") from error
    if base64.b64encode(raw).decode() != text:
        raise RefusedError("MALFORMED", f"checkpoint: {where}: base64 in its one form was expected")
    return raw
