"""The bulletins that tests share: the 25 real ones, the wrong ones, the odd but right ones."""

from __future__ import annotations

import re
from pathlib import Path

from exchange.authoring.draft import Draft, read_draft
from exchange.v1.bulletin_pb2 import Bulletin

ROOT = Path(__file__).resolve().parents[2]
VALID = sorted((ROOT / "exchange/examples").glob("*.yaml"))
INVALID = sorted((ROOT / "tests/bulletins/invalid").glob("*.yaml"))
NASTY = sorted((ROOT / "tests/bulletins/nasty").glob("*.yaml"))


def draft(path: Path) -> Draft:
    return read_draft(path.read_bytes())


def bulletin(start: str) -> Bulletin:
    """The real bulletin whose file name begins with *start*, as "19"."""
    (path,) = [path for path in VALID if path.name.startswith(start)]
    message = draft(path).message
    assert message is not None
    return message


def expected(path: Path) -> tuple[str, str]:
    """Code and path, from the second line of an invalid file."""
    found = re.search(rb"^# expect: (\S+) (\S+)$", path.read_bytes(), re.MULTILINE)
    assert found is not None
    return found[1].decode(), found[2].decode()
