"""Step 12 of a verification: what a time-stamping authority says of this log, where the auditor names a trusted one.

A token over a checkpoint's note proves that every entry under it existed before the token's time, although all members
collude afterwards; and a cosignature in that note that states a later time is a lying clock.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from audit.note.checkpoint import VerifierKey, parse_note, verify_note
from audit.note.policy import WitnessPolicy
from audit.tiles.bundle_folder import BundleFolder
from audit.tiles.subtree_roots import SubtreeRoots
from audit.tiles.tiles import TileFolder
from audit.verify.rfc3161 import MAX_TOKEN_BYTES, STAMPS_FOLDER, Stamped, verify_token
from audit.verify.verdict import NOT_CHECKED, OK, REFUTED, Report, Step
from keys.bounds import MAX_NOTE_BYTES
from keys.errors import RefusedError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

STAMPS_STEP = 12
STAMPS_NAME = "stamps"
TOLERANCE_US = 600 * 1_000_000  # as of entries' times: more is no drift
_TOKEN = re.compile(r"([0-9]{1,20})\.tsr", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One token with the note that it is over, as read."""

    name: str
    token: bytes
    note: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Existed:
    """A checkpoint of this log that existed before a time."""

    size: int
    stamped: Stamped


class _FalseError(Exception):
    """A token contradicts the log, or a witness in its note."""


def read_tokens(folder: TileFolder, stamps: Path | None = None) -> list[Token]:
    """Read the tokens beside a log, in a bundle, or in the folder *stamps*, ascending by size.

    Raises:
        RefusedError: MALFORMED; a token without its note, or one of them is too large.
        OSError: A file cannot be read.
    """
    found = _in_bundle(folder) if stamps is None and isinstance(folder, BundleFolder) else None
    if found is None:
        found = _in_folder(stamps or folder.root.parent / STAMPS_FOLDER)
    return sorted(found, key=lambda each: (len(each.name), each.name))


def check_stamps(
    folder: TileFolder,
    key: VerifierKey,
    tokens: Sequence[Token],
    trusted: "Sequence[Certificate]",
    policy: WitnessPolicy | None,
) -> Step:
    """Judge every token: 1 its note is this log's; 2 the log holds what it commits to; 3 the token; 4 its cosigners.

    Args:
        folder: Verified; its checkpoint commits to all that it holds.
        key: The log's.
        tokens: From ``read_tokens``.
        trusted: Certificates of authorities that the auditor believes.
        policy: Whose cosignatures are compared with the tokens; None where nobody knows any.
    """
    if not tokens:
        return Step(step=STAMPS_STEP, name=STAMPS_NAME, result=NOT_CHECKED, detail="there are no tokens")
    own = parse_note(folder.note()).checkpoint
    subtrees, found = SubtreeRoots(folder, own.size), []
    try:
        for each in tokens:
            found.append(_existed(each, key, trusted, policy, subtrees, own.size))
    except (_FalseError, RefusedError, LookupError) as error:
        return Step(step=STAMPS_STEP, name=STAMPS_NAME, result=REFUTED, detail=str(error))
    last = found[-1]
    told = f"{len(found)} tokens; the first {last.size:,} entries existed before {_utc(last.stamped.time_us)}"
    return Step(step=STAMPS_STEP, name=STAMPS_NAME, result=OK, detail=f"{told}, says {last.stamped.authority}")


def with_stamps(report: Report, step: Step) -> Report:
    """Add the step to a report; a refuted one refutes the log."""
    steps = (*report.steps, step)
    if step.result == REFUTED and not report.is_refuted:
        return replace(report, steps=steps, verdict=f"refuted: {step.detail}")
    return replace(report, steps=steps)


def _existed(
    each: Token,
    key: VerifierKey,
    trusted: "Sequence[Certificate]",
    policy: WitnessPolicy | None,
    subtrees: SubtreeRoots,
    size: int,
) -> Existed:
    try:
        text = each.note.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RefusedError("MALFORMED", f"{each.name}: its note is not UTF-8") from error
    checkpoint = verify_note(text, key)  # 1
    stamped = verify_token(each.token, each.note, trusted, each.name)  # 3, before it is believed against the log
    if checkpoint.size > size:  # 2
        raise _FalseError(
            f"{each.name}: {checkpoint.size:,} entries existed before {_utc(stamped.time_us)}; the log ends at {size:,}"
        )
    if subtrees.root(checkpoint.size) != checkpoint.root:
        raise _FalseError(
            f"{each.name}: at size {checkpoint.size:,} the log was another before {_utc(stamped.time_us)}"
        )
    if policy is not None:
        witnessed = policy.judge(text)
        for name, time_s in zip(witnessed.names, witnessed.times, strict=True):  # 4
            if time_s * 1_000_000 > stamped.time_us + TOLERANCE_US:
                dated = f"{_utc(time_s * 1_000_000)}, but that existed before {_utc(stamped.time_us)}"
                raise _FalseError(f"{each.name}: {name} dated its cosignature {dated}")
    return Existed(size=checkpoint.size, stamped=stamped)


def _in_bundle(folder: BundleFolder) -> list[Token]:
    names = [name for name in folder.tar.members if name.startswith(f"{STAMPS_FOLDER}/") and name.endswith(".tsr")]
    return [
        Token(
            name=name,
            token=folder.read(name, MAX_TOKEN_BYTES),
            note=folder.read(f"{name.removesuffix('.tsr')}.note", MAX_NOTE_BYTES),
        )
        for name in names
    ]


def _in_folder(folder: Path) -> list[Token]:
    return list(_files(folder)) if folder.is_dir() else []


def _files(folder: Path) -> Iterator[Token]:
    for path in folder.iterdir():
        if not _TOKEN.fullmatch(path.name):
            continue
        note = path.with_suffix(".note")
        if not note.is_file():
            raise RefusedError("MALFORMED", f"{path}: the note that it is over, {note.name}, is missing")
        yield Token(name=path.name, token=_read(path, MAX_TOKEN_BYTES), note=_read(note, MAX_NOTE_BYTES))


def _read(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise RefusedError("MALFORMED", f"{path}: more than {limit} bytes")
    return data


def _utc(time_us: int) -> str:
    try:
        return datetime.fromtimestamp(time_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):  # a lying clock may say anything
        return f"{time_us} us after 1970"
