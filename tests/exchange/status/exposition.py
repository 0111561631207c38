"""A strict reader of Prometheus' text format, version 0.0.4: what a scraper would refuse, this refuses.

Source: prometheus.io/docs/instrumenting/exposition_formats, "Text-based format".
"""

from __future__ import annotations

import re

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\\\|\\"|\\n)*"'
_HELP = re.compile(rf"# HELP ({_NAME}) (\S.*)")
_TYPE = re.compile(rf"# TYPE ({_NAME}) (counter|gauge|histogram|summary|untyped)")
_SAMPLE = re.compile(rf"({_NAME})(?:\{{({_LABEL}(?:,{_LABEL})*)\}})? (-?[0-9]+(?:\.[0-9]+)?)")

Samples = dict[tuple[str, str], float]  # by name and labels as they stand


def read_exposition(text: str) -> Samples:
    """Read a text whole: every family has one HELP, then one TYPE, then its samples, each once."""
    assert text.endswith("\n"), "the last line does not end"
    found: Samples = {}
    families: list[str] = []
    helped = ""
    for line in text[:-1].split("\n"):
        if match := _HELP.fullmatch(line):
            assert match[1] not in families, f"{match[1]} is explained twice"
            helped = match[1]
        elif match := _TYPE.fullmatch(line):
            assert match[1] == helped, f"{match[1]} has no HELP before it"
            families.append(match[1])
        else:
            match = _SAMPLE.fullmatch(line)
            assert match is not None, f"no line of the format: {line!r}"
            assert families[-1] == match[1], f"{match[1]} stands outside its family"
            key = (match[1], match[2] or "")
            assert key not in found, f"{key} is told twice"
            found[key] = float(match[3])
    return found
