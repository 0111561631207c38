"""All that one store in dictionaries keeps, in one value that can be copied."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field, fields

from exchange.store.rows import (
    AdoptedRecord,
    Content,
    InboundRow,
    LaneState,
    Notice,
    OutboundRow,
    StoredBulletin,
    Wanted,
)

LaneKey = tuple[bool, str, int, int]


@dataclass
class Tables:
    """All that one store keeps."""

    entries: list[tuple[bytes, bytes]] = field(default_factory=list)  # of one epoch
    tiles: dict[tuple[int, int], bytes] = field(default_factory=dict)
    meta: dict[str, bytes] = field(default_factory=dict)
    bulletins: dict[int, StoredBulletin] = field(default_factory=dict)
    ids: dict[tuple[str, bytes], int] = field(default_factory=dict)
    contents: dict[int, Content] = field(default_factory=dict)
    sent: set[int] = field(default_factory=set)
    lanes: dict[LaneKey, LaneState] = field(default_factory=dict)
    outbound: dict[tuple[int, int], OutboundRow] = field(default_factory=dict)
    inbound: dict[tuple[int, int], InboundRow] = field(default_factory=dict)
    attempts: dict[tuple[int, int], int] = field(default_factory=dict)
    records: dict[tuple[int, str, int], AdoptedRecord] = field(default_factory=dict)
    openings: dict[int, tuple[int, int]] = field(default_factory=dict)
    catalogues: dict[tuple[bytes, str], bytes] = field(default_factory=dict)
    checkpoints: dict[tuple[str, int], tuple[int, str]] = field(default_factory=dict)
    notices: dict[Notice, None] = field(default_factory=dict)
    nonces: set[bytes] = field(default_factory=set)
    readings: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)
    numbers: dict[tuple[str, int], int] = field(default_factory=dict)
    evidence: list[tuple[int, str, bytes]] = field(default_factory=list)
    wanted: dict[tuple[str, bytes], Wanted] = field(default_factory=dict)
    dispatches: dict[int, bytes] = field(default_factory=dict)
    holds: dict[int, tuple[int, int]] = field(default_factory=dict)

    def copy(self) -> Tables:
        return Tables(**{each.name: copy(getattr(self, each.name)) for each in fields(self)})
