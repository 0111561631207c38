"""The program's own log: JSON in ASCII, one line an event, fields from a fixed list.

What a peer or an officer wrote never gets here: values are numbers, codes from closed sets, agencies, and names of
events that stand in this program. One line for a group of bulletins, never one for each. Source: rows 43 and 49.
"""

from __future__ import annotations

import re
import time
from typing import TextIO

import structlog

EVENTS = frozenset(
    {
        "listening",
        "answered",
        "started",
        "stopping",
        "stopped",
        "following",
        "follow-ended",
        "followed",
        "received",
        "receipts",
        "adopted",
        "renewed",
        "erased",
        "handed-back",
        "hand-back-refused",
        "stamped",
        "alarm",
        "fault",
        "refused",
    }
)
FIELDS = frozenset(
    {
        "agency",
        "peer",
        "code",
        "lane",
        "count",
        "size",
        "sequence",
        "version",
        "kind",
        "port",
        "desk_port",
        "admin_port",
        "seconds",
        "where",
        "what",
    }
)
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:/-]{0,63}")

Value = int | float | str


class ProgramLog:
    """Writes to a text stream, or nowhere."""

    def __init__(self, stream: TextIO | None, agency: str) -> None:
        self._agency = agency
        self._logger = (
            structlog.wrap_logger(structlog.PrintLogger(stream), processors=[structlog.processors.JSONRenderer()])
            if stream is not None
            else None
        )

    def write(self, event: str, **fields: Value) -> None:
        """Write one line.

        Raises:
            ValueError: An event or field that is not on the list; that is a fault of the caller.
        """
        self._write("info", event, fields)

    def alarm(self, what: str, **fields: Value) -> None:
        """Write what an operator must look at."""
        self._write("alarm", "alarm", {"what": what, **fields})

    def fault(self, where: str, error: BaseException) -> None:
        """Write down an error that should not be: its class and place, never its words."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        line = f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace is not None else "-"
        self._write("error", "fault", {"where": where, "kind": type(error).__name__, "what": line})

    def _write(self, level: str, event: str, fields: dict[str, Value]) -> None:
        if event not in EVENTS or not FIELDS.issuperset(fields):
            raise ValueError("an event or a field that is not on the list")
        if self._logger is None:
            return
        shown = {name: _safe(value) for name, value in fields.items()}
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._logger.msg(event, **{"time": at, "level": level, "agency": self._agency, **shown})


def _safe(value: Value) -> Value:
    if isinstance(value, str) and not _WORD.fullmatch(value):
        return "?"
    return value
