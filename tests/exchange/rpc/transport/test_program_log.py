"""The program's log: one event, one line, plain ASCII, no words of strangers (rows 43 and 49)."""

from __future__ import annotations

import io
import json

import pytest

from exchange.rpc.transport.program_log import ProgramLog


def lines(log: io.StringIO) -> list[str]:
    return log.getvalue().splitlines()


def test_one_event_is_one_line_of_json_with_fixed_keys() -> None:
    out = io.StringIO()
    ProgramLog(out, "HK-SB").write("received", peer="TH-DSI", lane="urgent", count=3)
    (line,) = lines(out)
    made = json.loads(line)
    assert made.pop("time").endswith("Z")
    assert made == {
        "level": "info",
        "agency": "HK-SB",
        "event": "received",
        "peer": "TH-DSI",
        "lane": "urgent",
        "count": 3,
    }


def test_row_43_every_byte_and_many_special_characters_stay_on_one_line() -> None:
    specials = [*map(chr, range(256)), *map(chr, range(0x2000, 0x2100)), *map(chr, range(0xFE00, 0xFF00)), "\U000e0001"]
    for special in specials:
        out = io.StringIO()
        ProgramLog(out, "HK-SB").write("refused", peer=f"A{special}B", code="MALFORMED")
        (line,) = lines(out)
        assert line.isascii()
        assert json.loads(line)["peer"] in ("?", f"A{special}B")


@pytest.mark.parametrize("field", ["text", "level", "time", "event"])
def test_a_field_that_is_not_on_the_list_is_a_fault_of_the_caller(field: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        ProgramLog(io.StringIO(), "HK-SB").write("refused", **{field: "x"})


def test_an_unknown_event_is_a_fault_of_the_caller() -> None:
    with pytest.raises(ValueError, match="list"):
        ProgramLog(None, "HK-SB").write("something")


def test_row_49_a_fault_shows_its_class_and_place_never_its_words() -> None:
    out = io.StringIO()
    try:
        raise KeyError("the canary of the passphrase")
    except KeyError as error:
        ProgramLog(out, "HK-SB").fault("call", error)
    assert "canary" not in out.getvalue()
    assert json.loads(out.getvalue())["kind"] == "KeyError"


def test_without_a_stream_nothing_is_written() -> None:
    ProgramLog(None, "HK-SB").write("stopped")
