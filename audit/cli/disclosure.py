"""Verifying a file of disclosed fields: each is what the log committed to, the rest of the bulletin stays shut."""

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import click

from audit.cli.shared import EXIT_NONE, EXIT_REFUTED, EXIT_USAGE, fail, print_json, safe, told

if TYPE_CHECKING:
    from audit.cli.verify_options import VerifyOptions
    from audit.note.checkpoint import VerifierKey

_MAX_DEPTH = 8  # a bulletin is not nested deeper


def verify_file(ctx: click.Context, path: Path, options: "VerifyOptions") -> None:
    """Verify a disclosure under the log's key; without one there is nothing to hold it against."""
    from audit.note.checkpoint import parse_note
    from audit.note.tlogproof import parse_proof
    from audit.record.commitments import SLOTS
    from audit.record.disclosure import MAX_FILE_BYTES, parse_disclosure, verify_disclosure
    from keys.errors import RefusedError

    if not options.key_text and not options.roster_file:
        fail(ctx, EXIT_USAGE, "a disclosure needs the log's key: --key VKEY or --roster FILE", options.as_json)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        disclosure = parse_disclosure(data.decode("utf-8"))
        origin = parse_note(parse_proof(disclosure.proof).note).checkpoint.origin
        key = _key_of(ctx, origin, options)
        found = verify_disclosure(disclosure, key)
    except UnicodeDecodeError:
        fail(ctx, EXIT_REFUTED, f"{path}: not UTF-8 text", options.as_json)
    except (RefusedError, OSError) as error:
        fail(ctx, EXIT_REFUTED, f"{path}: {error}", options.as_json)
    kind = getattr(found.body.kind, "name", str(found.body.kind))
    if options.as_json:
        print_json(
            {
                "verdict": "verified",
                "origin": found.checkpoint.origin,
                "size": found.checkpoint.size,
                "root": found.checkpoint.root.hex(),
                "entry": found.index,
                "kind": kind,
                "bulletin": str(UUID(bytes=found.body.bulletin_id)),
                "fields": {each.field: shown(each.value) for each in found.fields},
                "steps": [],
            }
        )
        return
    print(safe(f"{found.checkpoint.origin}, entry {found.index} of {found.checkpoint.size:,}: {kind}"))
    print(f"bulletin {UUID(bytes=found.body.bulletin_id)}")
    for each in found.fields:
        print(f"  {each.field:<11} {safe(' · '.join(shown(each.value)))}  ok")
    print(f"Verified: {len(found.fields)} of {len(SLOTS)} fields are what the log committed to; the others stay shut.")


def _key_of(ctx: click.Context, origin: str, options: "VerifyOptions") -> "VerifierKey":
    """Return the log's key as the options name it; what is wrong with them is not the disclosure's fault."""
    from audit.note.checkpoint import parse_verifier_key
    from audit.verify.trust import key_of_origin
    from keys.errors import RefusedError

    name = options.roster_file or ""
    try:
        return parse_verifier_key(options.key_text) if options.key_text else key_of_origin(Path(name), origin)[0]
    except FileNotFoundError:
        fail(ctx, EXIT_NONE, f"{name}: no such file", options.as_json)
    except (RefusedError, OSError) as error:
        if options.key_text:
            fail(ctx, EXIT_USAGE, f"--key: {str(error).removeprefix('checkpoint: ')}", options.as_json)
        fail(ctx, EXIT_REFUTED, told(name, error), options.as_json)


def shown(value: bytes) -> list[str]:
    """Return a field's texts and numbers in the order of its bytes; what is neither is given in hex.

    The bytes are what was signed and verified; this is only a way to look at them.
    """
    from keys.varint import VarintError

    try:
        return list(_walk(value)) or [value.hex()]
    except VarintError:
        return [value.hex()]


def _walk(data: bytes, depth: int = 0) -> list[str]:
    from keys.varint import read_varint

    told: list[str] = []
    at = 0 if depth < _MAX_DEPTH else len(data)
    while at < len(data):
        tag, at = read_varint(data, at, len(data))
        if tag & 7 == 2:
            length, at = read_varint(data, at, len(data))
            inside = data[at : at + length]
            if len(inside) != length:
                return []
            at += length
            told += [inside.decode()] if _is_text(inside) else _walk(inside, depth + 1) or [inside.hex()]
        elif tag & 7 == 0:
            number, at = read_varint(data, at, len(data))
            told.append(str(number))
        elif tag & 7 in (1, 5):
            width = 8 if tag & 7 == 1 else 4
            told.append(data[at : at + width].hex())
            at += width
        else:
            return []
    return told


def _is_text(data: bytes) -> bool:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return bool(text) and all(c.isprintable() or c == "\n" for c in text)
