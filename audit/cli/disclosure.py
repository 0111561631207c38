"""Verifying a file of disclosed fields: each is what the log committed to, the rest of the bulletin stays shut."""

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import click

from audit.cli.shared import judging, shown
from audit.cli.verify import given_key
from keys.cli.ending import print_json
from keys.refusals import Exit

if TYPE_CHECKING:
    from audit.cli.verify_options import VerifyOptions
    from audit.note.checkpoint import VerifierKey

_MAX_DEPTH = 8  # a bulletin is not nested deeper


def verify_file(path: Path, options: "VerifyOptions") -> int:
    """Verify a disclosure under the log's key; without one there is nothing to hold it against."""
    from audit.note.checkpoint import parse_note
    from audit.note.tlogproof import parse_proof
    from audit.record.commitments import SLOTS
    from audit.record.disclosure import MAX_FILE_BYTES, parse_disclosure, verify_disclosure

    if not options.key_text and not options.roster_file:
        raise click.UsageError("a disclosure needs the log's key: --key VKEY or --roster FILE")
    with judging(str(path)):
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        disclosure = parse_disclosure(data.decode("utf-8"))
        origin = parse_note(parse_proof(disclosure.proof).note).checkpoint.origin
    key = _key_of(origin, options)
    with judging(str(path)):
        found = verify_disclosure(disclosure, key)
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
                "fields": {each.field: texts_of(each.value) for each in found.fields},
                "steps": [],
            }
        )
        return Exit.DONE
    print(shown(f"{found.checkpoint.origin}, entry {found.index} of {found.checkpoint.size:,}: {kind}"))
    print(f"bulletin {UUID(bytes=found.body.bulletin_id)}")
    for each in found.fields:
        print(f"  {each.field:<11} {shown(' · '.join(_worded(each.field, texts_of(each.value))))}  ok")
    print(f"Verified: {len(found.fields)} of {len(SLOTS)} fields are what the log committed to; the others stay shut.")
    return Exit.DONE


def _key_of(origin: str, options: "VerifyOptions") -> "VerifierKey":
    """Return the log's key as the options name it; what is wrong with them is not the disclosure's fault."""
    from audit.verify.trust import key_of_origin

    if options.key_text:
        return given_key(options.key_text)
    name = options.roster_file or ""
    with judging(name):
        return key_of_origin(Path(name), origin)[0]


def _worded(field: str, texts: list[str]) -> list[str]:
    """Return a field's texts for people: of dates the seconds since 1970 are times, whose fractions are below 10^9."""
    from audit.entry.names import instant

    if field != "dates":
        return texts
    return [instant(int(each) * 1_000_000) if each.isdigit() and int(each) >= 10**9 else each for each in texts]


def texts_of(value: bytes) -> list[str]:
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
