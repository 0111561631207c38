"""What aics-tlog says: run by an interpreter that has that package, one JSON list of cases a line in, one of verdicts out.

A case is a list whose first item says what is judged. A verdict is true where aics-tlog accepts, else false; an exception
of any kind is a refusal.
"""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import aics_tlog as tlog  # type: ignore[import-not-found,unused-ignore]

_folders: dict[str, dict[str, bytes]] = {}


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)


def note(key: str, data: str) -> bool:
    """Judge a checkpoint under its log's key, which bears the origin."""
    log_key = tlog.parse_vkey(key)
    return bool(tlog.verify_checkpoint(tlog.parse_note(_bytes(data)), log_key, expected_origin=log_key.name).ok)


def cosigned(key: str, witnesses: list[str], quorum: int, data: str) -> bool:
    """Judge a checkpoint with its witnesses' cosignatures."""
    log_key = tlog.parse_vkey(key)
    policy = tlog.WitnessPolicy(quorum=quorum, witnesses=tuple(tlog.parse_vkey(text) for text in witnesses))
    verified = tlog.verify_checkpoint(
        tlog.parse_note(_bytes(data)), log_key, expected_origin=log_key.name, policy=policy
    )
    return bool(verified.ok)


def inclusion(leaf: str, index: int, size: int, proof: list[str], root: str) -> bool:
    """Judge an inclusion proof."""
    return bool(tlog.verify_inclusion(_bytes(leaf), index, size, [_bytes(value) for value in proof], _bytes(root)))


def consistency(old: int, new: int, old_root: str, new_root: str, proof: list[str]) -> bool:
    """Judge a consistency proof."""
    hashes = [_bytes(value) for value in proof]
    return bool(tlog.verify_consistency(old, new, _bytes(old_root), _bytes(new_root), hashes))


def folder(path: str) -> bool:
    """Judge a log folder on disk: its key, its checkpoint, every tile and bundle."""
    return _audit({str(f.relative_to(path)): f.read_bytes() for f in Path(path).rglob("*") if f.is_file()})


def altered(path: str, changes: dict[str, str | None]) -> bool:
    """Judge a log folder as it would be with some files replaced or, where the change is null, gone."""
    if path not in _folders:
        _folders[path] = {str(f.relative_to(path)): f.read_bytes() for f in Path(path).rglob("*") if f.is_file()}
    files = dict(_folders[path])
    for name, data in changes.items():
        if data is None:
            files.pop(name, None)
        else:
            files[name] = _bytes(data)
    return _audit(files)


def _audit(files: dict[str, bytes]) -> bool:
    log_key = tlog.parse_vkey(files["log.vkey"].decode().strip())
    read = tlog.parse_note(files["checkpoint"])
    if not tlog.verify_checkpoint(read, log_key, expected_origin=log_key.name).ok:
        return False
    checkpoint = tlog.parse_checkpoint(read.text)
    tlog.audit_tiles(tlog.MemoryTileReader(files), checkpoint.size, checkpoint.root)
    return True


JUDGES = {judge.__name__: judge for judge in (note, cosigned, inclusion, consistency, folder, altered)}


def judge(case: list[Any]) -> bool:
    """Return what aics-tlog makes of a case."""
    try:
        return JUDGES[case[0]](*case[1:])
    except Exception:  # noqa: BLE001 (whatever it raises, it did not accept)
        return False


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps([judge(case) for case in json.loads(line)]), flush=True)
