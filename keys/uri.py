"""URIs by which settings name what keeps a state or a key: ``SCHEME:PLACE``.

The path is taken as it stands, without escapes, and what it means is its scheme's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from keys.errors import RefusedError

T = TypeVar("T")


def resolve(uri: str, known: Mapping[str, T], what: str) -> tuple[T, str]:
    """Return what a URI's scheme stands for, and the path.

    Args:
        uri: As somebody wrote it.
        known: By scheme.
        what: What it names, for complaints: ``engine of a store``.

    Raises:
        RefusedError: MALFORMED, the scheme is not known.
    """
    scheme, colon, path = uri.partition(":")
    found = known.get(scheme)
    if found is None or not colon:
        schemes = ", ".join(f"{each}:" for each in known)
        raise RefusedError("MALFORMED", f"{uri!a} names no {what}; known: {schemes}")
    return found, path


def in_folder(folder: Path, named: str) -> str:
    """Return the URI of what lies in a folder under a plain name; RefusedError MALFORMED where it leads out of it."""
    scheme, _, name = named.partition(":")
    if name != Path(name).name or name in ("", ".", ".."):
        raise RefusedError("MALFORMED", f"{named!a} does not name a file in the home")
    return f"{scheme}:{folder.absolute() / name}"


def uri_place(uri: str) -> str:
    """Return the path: what to call it in messages."""
    return uri.partition(":")[2]
