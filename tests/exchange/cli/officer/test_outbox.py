"""What officers are told of a bulletin that is still on its way."""

from __future__ import annotations

import time
from dataclasses import replace

from exchange.cli.officer import shown
from exchange.cli.officer.outbox import to_json, to_lines
from exchange.client.values import Sent, SentState
from keys.identity import AgencyId

NOON_MS = 1_800_014_400_000  # 2027-01-15, 12:00 UTC
DAY_MS = 86_400_000
WAITING = SentState(
    agency=AgencyId("TH-DSI"), state=1, reason="", sequence=1, since_ms=NOON_MS, log_index=None, receipt=None
)


def sent(state: SentState) -> Sent:
    return Sent(
        cursor=1,
        bulletin_id="00000000-0000-7000-8000-000000000001",
        statement_digest=bytes(32),
        kind="assistance_request",
        number="HK-IMMD/ARQ/2027/000001",
        tlp=3,
        classification=2,
        urgency=4,
        status=1,
        published_ms=NOON_MS,
        erased=False,
        recipients=(state,),
    )


def test_a_recipient_that_stays_away_is_told_of_in_plain_words() -> None:
    now_ms = time.time_ns() // 1_000_000
    away = sent(replace(WAITING, silent_since_ms=now_ms))
    clock = time.strftime("%H:%M", time.gmtime(now_ms // 1000))
    assert any(f"on its way: TH-DSI has not connected since {clock}" in line for line in to_lines([away]))
    assert to_json(away)["recipients"][0]["silent_since_ms"] == now_ms
    assert not any("not connected" in line for line in to_lines([sent(WAITING)]))


def test_an_instant_of_another_day_has_its_date() -> None:
    assert shown.clock_text(NOON_MS, NOON_MS + 60_000) == "12:00Z"
    assert shown.clock_text(NOON_MS, NOON_MS + DAY_MS) == "2027-01-15 12:00Z"
