"""An officer's YAML as a tree of text: no guesses about types, no references, nothing twice.

Whoever reads ``NO`` as false or ``0912`` as 912 changes what an officer said, and whoever lets a second key win
changes it silently; anchors can make a small file enormous. So the tree is built from PyYAML's events, every scalar
stays text, and what a bulletin never needs is refused at its first occurrence.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from exchange.rules.complaint import WHOLE, Complaint

MAX_FILE_BYTES = 262_144  # five times the 200-person bulletin
ONE_FILE = "one file is one bulletin: header, objects, one body"
MAX_DEPTH = 12  # twice what the deepest field needs; the root counts as one

_KEY = re.compile(r"[^\W\d][\w-]*")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(slots=True, kw_only=True)
class YamlNode:
    """One place in the file: text, a list, or a mapping of keys to nodes (with the line of each key)."""

    line: int  # from 1
    value: str | list[YamlNode] | dict[str, YamlNode]


class StopError(Exception):
    """Reading ends at its first complaint."""

    def __init__(self, code: str, path: str, message: str, line: int | None, hint: str | None = None) -> None:
        super().__init__(message)
        self.complaint = Complaint(code=code, path=path, message=message, line=line, hint=hint)


def read_tree(data: bytes) -> YamlNode:
    """Read a file into a tree whose root is a mapping; text is NFC from here on.

    Raises:
        StopError: With a complaint of Y-SIZE, Y-UTF8, Y-SYNTAX, Y-DOCS, Y-ALIAS, Y-TAG, Y-DEPTH, Y-KEY or Y-DUPKEY.
    """
    if len(data) > MAX_FILE_BYTES:
        raise StopError("Y-SIZE", WHOLE, f"the file has {len(data)} bytes, at most {MAX_FILE_BYTES} are read", None)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise StopError("Y-UTF8", WHOLE, f"byte {error.start + 1} is not UTF-8", line) from error
    try:
        return _Builder(yaml.parse(text, Loader=yaml.BaseLoader)).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise StopError("Y-SYNTAX", WHOLE, f"not YAML: {error.problem or error.context}", line) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"not YAML: the character U+{ord(text[error.position]):04X} may not stand in a file"
        raise StopError("Y-SYNTAX", WHOLE, message, line) from error
    except (ValueError, OverflowError) as error:  # an escape beyond U+10FFFF
        raise StopError("Y-SYNTAX", WHOLE, "not YAML: an escape that is no character", None) from error


class _Builder:
    """Builds the tree from a stream of events, one document, depth counted."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self.events = events

    def document(self) -> YamlNode:
        root: YamlNode | None = None
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise StopError(
                        "Y-DOCS", WHOLE, "a second document begins here; one file is one bulletin", _line(event)
                    )
                root = self.node(next(self.events), 1)
                if not isinstance(root.value, dict):
                    raise StopError(
                        "Y-DOCS", WHOLE, "the file must be one mapping: header, objects, one body", root.line
                    )
        if root is None:
            raise StopError("Y-DOCS", WHOLE, "the file is empty", 1, ONE_FILE)
        return root

    def node(self, event: yaml.Event, depth: int) -> YamlNode:
        line = _line(event)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise StopError("Y-ALIAS", WHOLE, "anchors (&) and aliases (*) are not read; write the text out", line)
        if getattr(event, "tag", None) is not None:
            raise StopError("Y-TAG", WHOLE, "tags (!) are not read; leave it out", line)
        if isinstance(event, yaml.ScalarEvent):
            return YamlNode(line=line, value=unicodedata.normalize("NFC", event.value))
        if depth > MAX_DEPTH:
            raise StopError("Y-DEPTH", WHOLE, f"nested more than {MAX_DEPTH} levels deep", line)
        if isinstance(event, yaml.SequenceStartEvent):
            return YamlNode(line=line, value=self.sequence(depth))
        return YamlNode(line=line, value=self.mapping(depth))

    def sequence(self, depth: int) -> list[YamlNode]:
        items = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self.node(event, depth + 1))
        return items

    def mapping(self, depth: int) -> dict[str, YamlNode]:
        fields: dict[str, YamlNode] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.node(event, depth + 1)
            if not isinstance(key.value, str) or not _KEY.fullmatch(key.value):
                raise StopError("Y-KEY", WHOLE, "a key must be one plain word", key.line)
            if key.value in fields:
                message = f"'{key.value}' stands twice, first in line {fields[key.value].line}"
                raise StopError("Y-DUPKEY", key.value, message, key.line, "keep one of the two")
            fields[key.value] = YamlNode(line=key.line, value=self.node(next(self.events), depth + 1).value)
        return fields


def lone_surrogate(text: str) -> bool:
    """Return whether an escape made half a character, which no UTF-8 can carry."""
    return _SURROGATE.search(text) is not None


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1
