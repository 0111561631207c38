"""Layers S and R said once more, in other ways: the schema by protovalidate, the registry field by field.

The walk is generated from schema and tables. Here protovalidate reads the options by itself and runs their CEL, and
every text that is set is looked up in the tables; the two must always come to the same complaints.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from protovalidate import Validator

from exchange.rules.catalogue import Catalogue
from exchange.rules.complaint import MOST, Complaint
from exchange.rules.findings import Findings
from exchange.rules.registry import CHECKS, LINES, LISTED, OBJECTS, PROSE, line_fault, lines_fault, prose_fault
from exchange.rules.schema import silenced, worded
from exchange.v1.bulletin_pb2 import Bulletin


def check_schema(bulletin: Bulletin) -> tuple[Complaint, ...]:
    """Run the schema's rules by protovalidate."""
    return silenced(_read(violation.proto) for violation in _validator().collect_violations(bulletin)[:MOST])


@cache
def _validator() -> Validator:
    return Validator()


def _read(violation: Any) -> Complaint:
    elements = violation.field.elements if violation.field else ()
    path = ""
    for element in elements:
        path += f".{element.field_name}" if path else element.field_name
        if element.subscript is not None and element.subscript.field == "index":
            path += f"[{element.subscript.value}]"
    return worded(violation.rule_id, violation.message, path, [element.field_name for element in elements])


def check_registry(bulletin: Bulletin, catalogue: Catalogue) -> tuple[Complaint, ...]:
    """Run layer R over a bulletin that passed layer S."""
    findings = Findings(catalogue)
    pools = (
        getattr(bulletin, f"{name}s") for name in ("person", "vehicle", "place", "contact", "account", "organisation")
    )
    findings.each_once([one.id for pool in pools for one in pool])
    return tuple(_walk(bulletin, "", findings))[:MOST]


def _walk(message: Message, before: str, findings: Findings) -> Iterator[Complaint]:
    for field, value in message.ListFields():
        for index, item in enumerate(value) if field.is_repeated else ((None, value),):
            path = before + field.name + (f"[{index}]" if index is not None else "")
            if field.message_type is not None:
                yield from _walk(item, f"{path}.", findings)
            elif field.type == FieldDescriptor.TYPE_STRING:
                yield from _text(item, f"{message.DESCRIPTOR.name}.{field.name}", path, findings)
    if message.DESCRIPTOR.name in OBJECTS:
        for name, (code, sentence, hint) in OBJECTS[message.DESCRIPTOR.name](message, findings):
            yield Complaint(code=code, path=before + name, message=sentence, hint=hint)


def _text(text: str, known: str, path: str, findings: Findings) -> Iterator[Complaint]:
    fault = (prose_fault if known in PROSE else lines_fault if known in LINES else line_fault)(text)
    if fault is None and text and known in LISTED and text not in getattr(findings, LISTED[known].words):
        fault = LISTED[known].fault(text, findings)
    elif fault is None and text and known in CHECKS:
        fault = CHECKS[known](text, findings)
    if fault is not None:
        yield Complaint(code=fault[0], path=path, message=fault[1], hint=fault[2])
