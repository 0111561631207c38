"""Having a published checkpoint stamped by an RFC 3161 authority, and keeping its answer beside the note.

The authority learns a hash and that this node asks, nothing else. What it answers is verified before it is kept; kept
are the note as it was stamped, the answer as it came, and the certificate that it was verified by, so that
``openssl ts -verify`` needs nothing more.
"""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from audit.note.checkpoint import parse_note
from audit.verify.rfc3161 import (
    AUTHORITY_FILE,
    MAX_AUTHORITY_BYTES,
    MAX_TOKEN_BYTES,
    STAMPS_FOLDER,
    Stamped,
    load_authority,
    make_query,
    verify_token,
)
from keys.errors import RefusedError, UnavailableError
from keys.files import PUBLIC, write_file

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

DEADLINE_SECONDS = 10.0
QUERY_TYPE, REPLY_TYPE = "application/timestamp-query", "application/timestamp-reply"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimestampAuthority:
    """A time-stamping authority that this node asks."""

    url: str  # http:// or https://
    pem: bytes  # the certificates that it is trusted by
    trusted: tuple[Certificate, ...]


def load(url: str, path: Path) -> TimestampAuthority:
    """Read what an authority is trusted by.

    Raises:
        RefusedError: MALFORMED; the file is missing or holds no certificates.
    """
    try:
        pem = path.read_bytes()[:MAX_AUTHORITY_BYTES]
    except OSError as error:
        raise RefusedError(
            "MALFORMED", f"{path}: the authority's certificate cannot be read: {error.strerror}"
        ) from error
    return TimestampAuthority(url=url, pem=pem, trusted=load_authority(pem, str(path)))


def stamp(home: Path, note: str, authority: TimestampAuthority) -> tuple[Path, Stamped] | None:
    """Have a checkpoint's note stamped, unless its size has been, and keep note and answer in ``HOME/timestamps``.

    Returns:
        Where the answer lies, and what it says; None where a token for this size is there already.

    Raises:
        UnavailableError: The authority does not answer.
        RefusedError: Its answer does not verify; nothing is kept.
    """
    size = parse_note(note).checkpoint.size
    path = home / STAMPS_FOLDER / f"{size}.tsr"
    if path.exists():
        return None
    data, query = note.encode(), make_query(note.encode())
    answer = ask(authority.url, query.der)
    stamped = verify_token(answer, data, authority.trusted, authority.url, nonce=query.nonce)
    path.parent.mkdir(mode=0o755, exist_ok=True)
    write_file(path.with_suffix(".note"), data, mode=PUBLIC, replace=True)
    write_file(path.parent / AUTHORITY_FILE, authority.pem, mode=PUBLIC, replace=True)
    # The token last: where it is, its note is.
    write_file(path, answer, mode=PUBLIC, replace=True)
    return path, stamped


def ask(url: str, query: bytes, deadline_seconds: float = DEADLINE_SECONDS) -> bytes:
    """Send a query to an authority over HTTP; RFC 3161, section 3.4.

    Raises:
        UnavailableError: It does not answer, or with something else than a time stamp's reply.
    """
    import urllib.error
    import urllib.request

    request = urllib.request.Request(url, data=query, headers={"Content-Type": QUERY_TYPE})  # noqa: S310 - config checked
    try:
        with urllib.request.urlopen(request, timeout=deadline_seconds) as response:  # noqa: S310 - as above
            kind, answer = response.headers.get_content_type(), response.read(MAX_TOKEN_BYTES + 1)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise UnavailableError(f"{url}: the time-stamping authority does not answer", 60) from error
    if kind != REPLY_TYPE:
        raise UnavailableError(f"{url}: answered with another type than {REPLY_TYPE}", 60)
    return bytes(answer)


def is_url(text: str) -> bool:
    """Return whether a text names an authority: http or https, a host, nobody's password."""
    parts = urllib.parse.urlsplit(text)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
