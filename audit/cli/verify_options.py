"""What may be typed after ``verify``, as one value: every kind of file takes its part of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """What was typed after ``verify``."""

    key_text: str | None
    roster_file: str | None
    against: tuple[str, ...]
    as_json: bool
    witnesses_file: str | None = None
    now_s: int | None = None  # seconds since 1970
    manifest_file: str | None = None  # of the log's agency: where the epoch before ended
    since_file: str | None = None  # an older checkpoint, up to which everything was verified before
    tsa_file: str | None = None  # certificates of a time-stamping authority
    stamps: str | None = None  # a folder of tokens that somebody kept elsewhere
    render: str | None = None  # module:function that words a bulletin, where the exchange is
