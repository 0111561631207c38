"""What the schema states of one value, as conditions in Python, and the names that a walk gives to what they use."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from proto.cel import Part, Translator, UnknownRuleError
from proto.options import expect, only

_KINDS = ("string", "enum", "repeated", "timestamp", "uint32", "uint64", "double")
_NUMBERS = {
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
    FieldDescriptor.TYPE_DOUBLE: "double",
}
# What a pattern may be made of, so that Python's whole match and RE2's search for an anchored pattern are one.
_PATTERN = re.compile(
    r"\^(?:[A-Za-z0-9@:/<-]|\\\.|\((?!\?)|\)|\||\[[^\]\\^][^\]\\]*\]|\[\^[^\]]+\]|\{\d+(?:,\d+)?\}|[?+])+\$"
)

Condition = tuple[str, str, str]  # what is wrong where it is true, as Python; the rule's id; its words


class Made:
    """What stands above the functions of a walk: patterns, words, constants."""

    def __init__(self, tables: Any) -> None:
        self.tables = tables
        self._patterns: dict[str, str] = {}
        self._often: set[str] = set()  # patterns of few texts, each met again and again
        self._constants: dict[str, str] = {}
        self._words: dict[tuple[str, str], str] = {}

    def lines(self) -> list[str]:
        """Return the lines that define all of it."""
        patterns = [
            f"{name} = {'lru_cache(1024)' * (text in self._often)}(re.compile({text!r}, re.ASCII).fullmatch)"
            for text, name in self._patterns.items()
        ]
        words = [f"{name} = {words!r}" for words, name in self._words.items()]
        return [*patterns, *words, *(f"{name} = {value}" for name, value in self._constants.items())]

    def pattern(self, text: str, often: bool = False) -> str:
        """Name the function that matches a whole text; *often*: few texts, each met again and again."""
        if not _PATTERN.fullmatch(text) or _splits(text):
            raise UnknownRuleError(f"pattern {text}")
        if often:
            self._often.add(text)
        return self._patterns.setdefault(text, f"MATCH_{len(self._patterns) + 1}")

    def constant(self, name: str, value: str) -> str:
        """Name a value that many functions use."""
        if self._constants.setdefault(name, value) != value:
            raise UnknownRuleError(f"two values of {name}")
        return name

    def words(self, rule: str, words: str) -> str:
        """Name a rule with what there is to say where it is broken."""
        name = re.sub(r"\W", "_", rule).upper()
        if "." in rule and rule.split(".")[0] in _KINDS:
            plain = self._patterns.get(words[words.find("`") + 1 : -1], "").rpartition("_")[2]
            number = "_".join(re.findall(r"\d+", words)) if rule != "string.pattern" else plain
            name = f"{name}_{number}".rstrip("_") if len(number) < 10 else name
        return self._words.setdefault((rule, words), name)


def conditions_of(made: Made, field: FieldDescriptor, rules: Any, name: str) -> list[Condition]:
    """Turn what is stated of one value into conditions, each true where it is broken."""
    found = []
    for each in rules.cel if "cel" in rules.DESCRIPTOR.fields_by_name else ():
        code = Translator(each.expression, {"this": Part(name)}, made.pattern).condition()
        found.append((f"not {code}", each.id, each.message))
    if field.type == FieldDescriptor.TYPE_STRING:
        return found + text_conditions(made, field, rules, name)
    if field.enum_type is not None:
        return found + _of_enum(made, field, rules, name)
    if field.message_type is not None:
        expect(rules, "timestamp")
        return found + _of_range(rules.timestamp, "timestamp", name)
    number = _NUMBERS.get(field.type, "")
    expect(rules, number)
    return found + (_of_range(getattr(rules, number), number, name) if number else [])


def text_conditions(made: Made, field: FieldDescriptor, rules: Any, name: str) -> list[Condition]:
    expect(rules, "string")
    stated = rules.string
    only(stated, "min_len", "max_len", "pattern")
    found = []
    if stated.min_len:
        words = f"must be at least {stated.min_len} characters"
        found.append((f"len({name}) < {stated.min_len}", "string.min_len", words))
    if stated.HasField("max_len"):
        words = f"must be at most {stated.max_len} characters"
        found.append((f"len({name}) > {stated.max_len}", "string.max_len", words))
    if stated.HasField("pattern"):
        often = f"{field.containing_type.name}.{field.name}" in made.tables.LISTED
        match = made.pattern(stated.pattern, often)
        words = f"does not match regex pattern `{stated.pattern}`"
        found.append((f"{match}({name}) is None", "string.pattern", words))
    return found


def _of_enum(made: Made, field: FieldDescriptor, rules: Any, name: str) -> list[Condition]:
    expect(rules, "enum")
    if not rules.HasField("enum"):
        return []
    only(rules.enum, "defined_only", "not_in")
    if not rules.enum.defined_only:
        raise UnknownRuleError(field.full_name)
    enum = field.enum_type
    known = made.constant(
        re.sub("(?<!^)(?=[A-Z])", "_", enum.name).upper(),
        f"frozenset({tuple(value.number for value in enum.values)})",
    )
    found = [(f"{name} not in {known}", "enum.defined_only", "value must be one of the defined enum values")]
    if rules.enum.not_in:
        listed = ", ".join(map(str, rules.enum.not_in))
        among = f"== {listed}" if len(rules.enum.not_in) == 1 else f"in ({listed})"
        found.append((f"{name} {among}", "enum.not_in", f"must not be in list [{listed}]"))
    return found


def _of_range(stated: Any, kind: str, name: str) -> list[Condition]:
    """Turn bounds into one condition; what is not a number (NaN) is within none."""
    only(stated, "gt", "gte", "lt", "lte")
    low = next((each for each in ("gt", "gte") if stated.HasField(each)), "")
    high = next((each for each in ("lt", "lte") if stated.HasField(each)), "")
    if not low and not high:
        return []
    words = {"gt": "greater than", "gte": "greater than or equal to", "lt": "less than", "lte": "less than or equal to"}
    signs = {"gt": "<", "gte": "<=", "lt": "<", "lte": "<="}
    code = f"{_number(getattr(stated, low))} {signs[low]} {name}" if low else name
    code += f" {signs[high]} {_number(getattr(stated, high))}" if high else ""
    if low and high and not _number(getattr(stated, low)) < _number(getattr(stated, high)):
        raise UnknownRuleError(f"{kind} within no bounds")
    told = [f"{words[each]} {_shown(getattr(stated, each))}" for each in (low, high) if each]
    rule = f"{kind}.{'_'.join(each for each in (low, high) if each)}"
    return [(f"not {code}", rule, f"must be {' and '.join(told)}")]


def _number(bound: Any) -> int | float:
    """Return a bound as a number: an instant in nanoseconds, a double without a fraction as a whole number."""
    if isinstance(bound, Message):
        return int(bound.seconds * 1_000_000_000 + bound.nanos)
    return int(bound) if bound == int(bound) else float(bound)


def _shown(bound: Any) -> str:
    if not isinstance(bound, Message):
        return str(_number(bound))
    second = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=bound.seconds)
    return f"{second:%Y-%m-%dT%H:%M:%S}{f'.{bound.nanos:09}' if bound.nanos else ''}Z"


def _splits(pattern: str) -> bool:
    """Tell whether an alternative stands outside of brackets: ``^a|b$`` has an anchor on each side only."""
    depth = 0
    for char in re.sub(r"\[[^\]]+\]", "", pattern):
        depth += (char == "(") - (char == ")")
        if char == "|" and depth == 0:
            return True
    return False
