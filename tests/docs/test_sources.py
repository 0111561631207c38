"""Whatever a comment, a docstring or a page cites is here, or public.

Cited are sections of our pages by number or by heading, rows of the threat model, attacks on a log, decisions, files,
folders and modules. A section that stands without a page is one of the same page, or of a public specification that
is named right before it.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = ("keys", "audit", "exchange", "tests", "bench", "proto", "examples")
PAGES = ("*.md", "docs/**/*.md", "audit/*.md", "proto/**/*.md", "proto/**/*.proto", "exchange/**/*.sql")
DATA = ("exchange/catalogue/*.yaml", "exchange/templates/*.yaml", "audit/templates/*", "Makefile", ".ci/run")

PAGE = r"[\w./-]*\w\.md"
NUMBERS = r"(\d+(?:(?:,| and|, and) (?:sections? |rows? |decisions? |attacks? )?\d+)*)\b"
SECTION = re.compile(r"\bsections? (\d+)(?:\.\d+)*")
HEADING = re.compile(rf'({PAGE})[`)\]]*(?: \([^)]*\))?,? "([^"]+)"')
FILE = re.compile(
    r"(?<![\w/.:-])((?:keys|audit|exchange|tests|proto|docs|bench|examples|requirements|\.\.?)/[\w./-]*\w"
    r"\.(?:py|pyi|md|proto|yaml|sql|toml|txt|js|css|html|json|sh|binpb))\b"
)
FOLDER = re.compile(r"(?<=`)((?:keys|audit|exchange|tests|proto|docs|bench)/(?:[\w-]+/)*)(?=`)")
MODULE = re.compile(r"(?<=``)((?:keys|audit|exchange)(?:\.[a-z_0-9]+)+)(?=[`.(])")
PUBLIC = re.compile(r"\b(RFC|RFCs|FIPS|ICAO|X-Wing|APPNOTE|POSIX|PAdES|ISO)\b")
PRIVATE = re.compile(
    r"\b(?:design|security|audit|domain|house|style|experience)(?:\.md)?, (?:sections? |rows? )?\d"
    r"|\b(?:security|experience|domain|house|style)\.md\b|\baudit\.md\b|\bgoals? \d|^(?!.*HTCDS).*\bissue \d"
)


class Text(NamedTuple):
    """Words of one file that speak to a reader."""

    path: Path
    line: int
    words: str


def comments(path: Path) -> Iterator[Text]:
    """Yield the docstrings and the comments of a Python file, neighbouring comments as one."""
    source = path.read_text("utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield Text(path, node.lineno, " ".join(node.value.value.split()))
    block: list[str] = []
    first = last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if block and token.start[0] != last + 1:
                yield Text(path, first, " ".join(block))
                block = []
            first = first if block else token.start[0]
            last = token.start[0]
            block.append(token.string.lstrip("#").strip())
    if block:
        yield Text(path, first, " ".join(block))


@cache
def texts() -> tuple[Text, ...]:
    """Return all that is read by people: code's comments, pages, schemas, the comments of data."""
    found: list[Text] = []
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "v1" not in path.parts:
                found.extend(comments(path))
    for pattern in PAGES:
        for path in sorted(ROOT.glob(pattern)):
            found.extend(Text(path, 1, words) for words in re.split(r"\n\s*\n|\n(?=[|#-])", path.read_text("utf-8")))
    for pattern in DATA:
        for path in sorted(ROOT.glob(pattern)):
            said = re.findall(r"(?:^|\s)(?:#|//)\s(.*)", path.read_text("utf-8"))
            found.extend(Text(path, 1, words) for words in said)
    return tuple(found)


@cache
def headings(page: Path) -> frozenset[str]:
    """Return the headings of a page, with and without their number."""
    found = re.findall(r"^##+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return frozenset(found) | {re.sub(r"^\d+\. ", "", each) for each in found}


def page_of(name: str, text: Text) -> Path | None:
    """Find a page by its name, seen from the root or from the file that cites it."""
    places = (ROOT / name, text.path.parent / name)
    return next((place.resolve() for place in places if place.is_file()), None)


def rows_of(page: str, heading: str) -> frozenset[int]:
    """Return the numbers of the table under a heading."""
    part = (ROOT / page).read_text("utf-8").split(f"## {heading}")[1].split("\n## ")[0]
    return frozenset(int(number) for number in re.findall(r"^\| (\d+) \|", part, re.MULTILINE))


ROWS = rows_of("docs/threat-model.md", "Attack → defence → test")
ATTACKS = rows_of("docs/log.md", "Attacks")
DECISIONS = frozenset(int(path.name[:4]) for path in (ROOT / "docs/decisions").glob("[0-9]*.md"))


def numbers(word: str, words: str) -> list[int]:
    """Return the numbers that follow a word: ``rows 1, 31 and 52``."""
    cited = re.findall(rf"\b{word}s? {NUMBERS}", words, re.IGNORECASE)
    return [int(number) for group in cited for number in re.findall(r"\d+", group)]


def lacking(text: Text) -> Iterator[str]:
    """Yield what one text cites and nobody finds."""
    if private := PRIVATE.search(text.words):
        yield f"a paper that is not here: {private[0]}"
    for cited in SECTION.finditer(text.words):
        before = text.words[max(0, cited.start() - 90) : cited.start()]
        pages = re.findall(PAGE, before)
        page = page_of(pages[-1], text) if pages else text.path if text.path.suffix == ".md" else None
        named = page is not None and any(each.startswith(f"{cited[1]}. ") for each in headings(page))
        if not named and not PUBLIC.search(before):
            yield f"{cited[0]} of nothing that is named"
    for name, heading in HEADING.findall(text.words):
        page = page_of(name, text)
        if page is None or heading.replace("\n", " ") not in headings(page):
            yield f"{name} has no heading {heading!r}"
    for word, known in (("row", ROWS), ("attack", ATTACKS), ("decision", DECISIONS)):
        yield from (f"{word} {number}" for number in numbers(word, text.words) if number not in known)
    for name in FILE.findall(text.words) + FOLDER.findall(text.words):
        if "NNNN" not in name and not any(
            (place / name).exists() for place in (ROOT, text.path.parent, ROOT / "proto")
        ):
            yield f"no file {name}"
    for name in MODULE.findall(text.words):
        if not is_module(name) and not is_module(name.rpartition(".")[0]):
            yield f"no module {name}"


def is_module(name: str) -> bool:
    """Return whether that is a module or a package of ours."""
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def test_every_source_that_is_cited_is_here_or_public() -> None:
    wrong = [f"{text.path.relative_to(ROOT)}:{text.line}: {what}" for text in texts() for what in lacking(text)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "words",
    [
        "as in section 4",
        "docs/log.md, section 4",
        'docs/log.md, "Whatever"',
        "rows 1, 2 and 999",
        "Attack 99",
        "decision 9999",
        "see `exchange/nowhere.py`",
        "lies in `tests/nowhere/`",
        "``exchange.nowhere.thing``",
        "design, section 4",
        "security.md says so",
    ],
)
def test_control_what_is_nowhere_is_seen(words: str) -> None:
    assert list(lacking(Text(ROOT / "keys/scan.py", 1, words)))


def test_what_a_test_is_named_for_stands_in_its_table() -> None:
    known = {"row": ROWS, "attack": ATTACKS}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name in re.findall(r"def (test_\w+)", path.read_text("utf-8")):
            for word, number in re.findall(r"_(row|attack)_(\d+)(?=_|$)", name):
                assert int(number) in known[word], name


def test_each_row_has_its_test_or_says_what_is_not_built() -> None:
    names = " ".join(
        re.findall(r"def (test_\w+)", "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py")))
    )
    table = (ROOT / "docs/threat-model.md").read_text("utf-8")
    for number, said in re.findall(r"^\| (\d+) \|[^|]+\|[^|]+\|([^|]*)\|$", table, re.MULTILINE):
        tests = re.findall(r"test_\w+", said)
        if said.strip() and not tests:
            assert said.strip().startswith(("not built: ", "in part: ")), number
        for test in tests:
            assert test in names.split(), test
        assert said.strip() or re.search(rf"_row_0?{number}(_|\b)", names), f"row {number} has no test"


def test_a_decision_has_a_number_of_its_own_and_says_it() -> None:
    pages = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        head, _, text = page.read_text("utf-8").partition("\n")
        assert re.fullmatch(rf"# {page.name[:4]}: \S.*[^.]", head), page.name
        assert "**Decided" in text, page.name
