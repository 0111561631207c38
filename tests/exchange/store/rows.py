"""Rows as a store keeps them, each different from the next, for tests of any engine."""

from __future__ import annotations

from dataclasses import replace

from exchange.store.rows import AdoptedRecord, Content, Facts, LaneState, OutboundRow, StoredBulletin

NASTY = ("'; DROP TABLE bulletins; --", 'x" OR 1=1', "%_\\?:a@b$c", "\x01\u202e\U0001f600", "")


def stored(index: int, sender: str = "HK-IMMD", **changes: object) -> StoredBulletin:
    facts = Facts(
        kind="advisory",
        number=f"{sender}/ADV/2025/{index:06d}",
        tlp=1,
        classification=1,
        urgency=4,
        status=3,
        reply_due_ms=0,
        expires_ms=0,
    )
    honest = StoredBulletin(
        entry_index=index,
        sender=sender,
        bulletin_id=index.to_bytes(16, "big"),
        statement_digest=bytes([index % 256]) * 32,
        facts=facts,
        at_ms=index,
    )
    return replace(honest, **changes)


def content(index: int, *, ours: bool = False) -> Content:
    mark = index.to_bytes(4, "big")
    return Content(dispatch=b"d" + mark, body=b"b" + mark, wrap=b"" if ours else b"w" + mark, stored_key=b"k" + mark)


def outbound(lane: LaneState, sequence: int, entry_index: int = 1) -> OutboundRow:
    mark = sequence.to_bytes(4, "big")
    return OutboundRow(
        lane=lane.row,
        sequence=sequence,
        entry_index=entry_index,
        queued_index=entry_index + 1,
        delivery=b"v" + mark,
        digest=mark * 8,
        wrap=b"w" + mark,
        opening=mark * 8,
        since_ms=7,
    )


def entries(first: int, count: int) -> list[tuple[int, bytes, bytes]]:
    return [
        (index, b"e" + index.to_bytes(4, "big"), index.to_bytes(32, "big")) for index in range(first, first + count)
    ]


def record_at(position: int, *, kind: int = 2, agency: str = "TH-DSI", version: int = 1) -> AdoptedRecord:
    return AdoptedRecord(
        kind=kind,
        agency=agency,
        version=version,
        rank=version,
        position=position,
        digest=bytes([position]) * 32,
        signed=b"s",
    )


LANE = {"peer": "TH-DSI", "lane_class": 2, "epoch": 1}
