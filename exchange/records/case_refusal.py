"""A refusal that was found while a case was gathered, kept until whoever judges the case comes to its check."""

from __future__ import annotations

from typing import NamedTuple

from audit.record.wire import need_count
from exchange.v1 import judgement_pb2
from keys.errors import RefusedError

MAX_REFUSAL = 1000  # characters


class CaseRefusal(NamedTuple):
    """A refusal that is spoken only once the judge comes to it."""

    code: str
    message: str

    def to_message(self) -> judgement_pb2.CaseRefusal:
        """Return the generated message, to stand inside a case."""
        return judgement_pb2.CaseRefusal(code=self.code, message=self.message)


def refusal_of(error: RefusedError) -> CaseRefusal:
    """Keep a refusal until the judge comes to it."""
    return CaseRefusal(error.code, str(error)[:MAX_REFUSAL])


def parse_refusal(message: judgement_pb2.CaseRefusal) -> CaseRefusal:
    """Read a refusal; RefusedError MALFORMED out of its bounds."""
    need_count("case", "characters of a refusal's code", len(message.code), 1, MAX_REFUSAL)
    need_count("case", "characters of a refusal", len(message.message), 0, MAX_REFUSAL)
    return CaseRefusal(message.code, message.message)
