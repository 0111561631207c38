"""What the schema states in CEL, as Python: the small part of the language that ``bulletin.proto`` uses.

An expression becomes the source of one condition over the variables of a walk (``walk``). A word, a function or a
type that is not listed here raises ``UnknownRuleError``: nothing is passed over. Tests compare the conditions with
protovalidate, which runs the expressions themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

INSTANT = "google.protobuf.Timestamp"
_TOKEN = re.compile(r"\s*(?:(\d+)|'([^'\\]*)'|([A-Za-z_][A-Za-z_0-9]*)|(\|\||&&|[=!<>]=|[-+!<>.,()\[\]]))", re.ASCII)
_COMPARISONS = ("==", "!=", "<=", ">=", "<", ">", "in")


class UnknownRuleError(Exception):
    """The schema states something that the generator does not know."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of Python and what it gives: a message, an instant, a list of a field's values, or a plain value."""

    code: str
    message: Descriptor | None = None
    listed: FieldDescriptor | None = None
    fields: Mapping[str, str] | None = None  # of ``this``: the variables that hold its fields already
    compared: tuple[str, str, str] | None = None  # left, sign, right


_OPPOSITE = {"==": "!=", "!=": "==", "in": "not in", "is not": "is"}


class Translator:
    """One expression, read from left to right."""

    def __init__(self, expression: str, names: Mapping[str, Part], pattern: Callable[[str], str]) -> None:
        """Take an expression.

        Args:
            expression: In CEL.
            names: What may be named in it, first of all ``this``.
            pattern: Makes the name of a function that matches a whole text.
        """
        self._names, self._pattern = dict(names), pattern
        self._tokens = list(_tokens(expression))
        self._next = 0

    def condition(self) -> str:
        """Return the condition as Python; UnknownRuleError where there is none."""
        part = self._any_of()
        if self._next != len(self._tokens):
            raise UnknownRuleError(f"unexpected {self._tokens[self._next][1]}")
        return part.code

    def _peek(self) -> str:
        return self._tokens[self._next][1] if self._next < len(self._tokens) else ""

    def _take(self, *words: str) -> str:
        kind, word = self._tokens[self._next] if self._next < len(self._tokens) else ("end", "")
        if kind == "text" or word not in words:
            raise UnknownRuleError(f"'{word}' where one of {words} stands usually")
        self._next += 1
        return word

    def _any_of(self) -> Part:
        return self._joined("||", "or", self._all_of)

    def _all_of(self) -> Part:
        return self._joined("&&", "and", self._comparison)

    def _joined(self, sign: str, word: str, inner: Callable[[], Part]) -> Part:
        parts = [inner()]
        while self._peek() == sign:
            self._take(sign)
            parts.append(inner())
        return parts[0] if len(parts) == 1 else Part("(" + f" {word} ".join(each.code for each in parts) + ")")

    def _comparison(self) -> Part:
        left = self._sum()
        if self._peek() not in _COMPARISONS:
            return left
        return _compare(left.code, self._take(*_COMPARISONS), self._sum().code)

    def _sum(self) -> Part:
        parts = [self._negated()]
        while self._peek() == "+":
            self._take("+")
            parts.append(self._negated())
        return parts[0] if len(parts) == 1 else Part(" + ".join(each.code for each in parts))

    def _negated(self) -> Part:
        if self._peek() == "!":
            self._take("!")
            part = self._negated()
            if part.compared and part.compared[1] in _OPPOSITE:
                left, sign, right = part.compared
                return _compare(left, _OPPOSITE[sign], right)
            return Part(f"(not {part.code})")
        return self._selected()

    def _selected(self) -> Part:
        part = self._plain()
        while self._peek() == ".":
            self._take(".")
            name = self._word()
            part = self._called(part, name) if self._peek() == "(" else self._field(part, name)
        return part

    def _plain(self) -> Part:
        if self._peek() == "(":
            self._take("(")
            part = self._any_of()
            self._take(")")
            return part if part.code.startswith("(") and " + " not in part.code else Part(f"({part.code})")
        if self._peek() == "[":
            return self._list()
        kind, word = self._tokens[self._next] if self._next < len(self._tokens) else ("end", "")
        self._next += 1
        if kind == "number":
            return Part(word)
        if kind == "text":
            return Part(repr(word))
        if word == "has" and self._peek() == "(":
            return self._has()
        if kind != "word" or word not in self._names:
            raise UnknownRuleError(f"'{word}' is not known")
        return self._names[word]

    def _list(self) -> Part:
        self._take("[")
        items = [self._any_of().code]
        while self._peek() == ",":
            self._take(",")
            items.append(self._any_of().code)
        self._take("]")
        return Part(f"({', '.join(items)}{',' * (len(items) == 1)})")

    def _word(self) -> str:
        kind, word = self._tokens[self._next] if self._next < len(self._tokens) else ("end", "")
        if kind != "word":
            raise UnknownRuleError(f"'{word}' where a name stands usually")
        self._next += 1
        return word

    def _has(self) -> Part:
        """Tell whether a message stands in a field; of one value alone there is no saying."""
        self._take("(")
        part, name = self._plain(), ""
        while self._peek() == ".":
            part = self._field(part, name) if name else part
            self._take(".")
            name = self._word()
        self._take(")")
        field = _known(part, name)
        if field.message_type is None or field.is_repeated:
            raise UnknownRuleError(f"has({name})")
        if part.fields is not None and name in part.fields:
            return _compare(part.fields[name], "is not", "None")
        if part.fields is not None and field.containing_oneof is not None:
            return _compare(part.fields[field.containing_oneof.name], "==", repr(name))
        return Part(f"{part.code}.HasField({name!r})")

    def _field(self, part: Part, name: str) -> Part:
        field = _known(part, name)
        code = f"{part.code}.{name}"
        if part.fields is not None and name in part.fields:
            code = part.fields[name]
        if field.is_repeated:
            return Part(code, listed=field)
        if field.message_type is None:
            return Part(code)
        if field.message_type.full_name != INSTANT:
            return Part(code, field.message_type)
        if part.fields is None:
            raise UnknownRuleError(f"the instant {name} of another message")
        return Part(f"({code} or 0)")  # one that is absent is 1970

    def _called(self, part: Part, name: str) -> Part:
        if name in ("exists", "filter", "map"):
            return self._over(part, name)
        self._take("(")
        if name in ("size", "unique"):
            self._take(")")
            return Part(f"len({part.code})" if name == "size" else f"found.each_once({part.code})")
        if name == "matches":
            kind, word = self._tokens[self._next]
            self._next += 1
            self._take(")")
            if kind != "text":
                raise UnknownRuleError("matches() of another thing than a text")
            return Part(f"({self._pattern(word)}({part.code}) is not None)")
        if name != "startsWith":
            raise UnknownRuleError(f"{name}()")
        begins = self._any_of().code
        self._take(")")
        return Part(f"{part.code}.startswith({begins})")

    def _over(self, part: Part, name: str) -> Part:
        """Look at each value of a list: ``exists``, ``filter`` and ``map``."""
        if part.listed is None:
            raise UnknownRuleError(f"{name}() of no list")
        self._take("(")
        each = self._word()
        self._take(",")
        before = self._names.get(each)
        self._names[each] = Part(each, part.listed.message_type)
        value = self._any_of()
        inner = value.code
        if before is None:
            del self._names[each]
        else:
            self._names[each] = before
        self._take(")")
        if name == "exists" and value.compared and value.compared[:2] == (each, "==") and value.compared[2].isdigit():
            return _compare(value.compared[2], "in", part.code)
        if name == "exists":
            return Part(f"any({inner} for {each} in {part.code})")
        if name == "filter":
            return Part(f"[{each} for {each} in {part.code} if {inner}]")
        return Part(f"[{inner} for {each} in {part.code}]")


def _compare(left: str, sign: str, right: str) -> Part:
    return Part(f"({left} {sign} {right})", compared=(left, sign, right))


def _known(part: Part, name: str) -> FieldDescriptor:
    field = part.message.fields_by_name.get(name) if part.message is not None else None
    if field is None:
        raise UnknownRuleError(f"no field {name}")
    return field


def _tokens(expression: str) -> Any:
    place = 0
    while place < len(expression.rstrip()):
        found = _TOKEN.match(expression, place)
        if found is None:
            raise UnknownRuleError(f"cannot read {expression[place:]!r}")
        place = found.end()
        for kind, word in zip(("number", "text", "word", "sign"), found.groups(), strict=True):
            if word is not None:
                yield kind, word
