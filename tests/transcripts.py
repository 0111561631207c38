"""Commands as transcripts: the typed line, the exact output, the exit code.

Each ``tests/transcripts/*.txt`` holds typed lines (``$ …``), what they print and how they end. ``make transcripts``
types the lines of every file anew, in a small federation that runs, and writes what came; a test compares. What
differs from run to run (hours, ids, digests, ports) is written as its kind, ``<id>``. ``% until …`` lines wait.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir, contextmanager
from importlib import resources
from pathlib import Path

from audit.note.checkpoint import parse_note
from exchange.demo.world import load_examples
from exchange.store.sqlite import SqliteStore
from keys.roster import load_signed, roster_digest, words
from tests.support.home_files import DATABASE
from tests.support.running import Federation, note, running, type_line

FOLDER = Path(__file__).resolve().parent / "transcripts"
ORDER = ("check", "draft", "keys", "officer", "node", "audit")
NAMES = ("HK-IMMD", "HK-SB", "TH-DSI")
SECONDS = 240.0
_REDIRECTED = re.compile(r"([0-9])<(\S+)")
_PROMPT, _NOTE = "$ ", "% "
_WORDS = "<twelve words>"  # stands in typed lines, too: nobody can know them before


def files() -> dict[str, Path]:
    """List the transcripts by name, in the order in which they are typed."""
    return {name: FOLDER / f"{name}.txt" for name in ORDER}


@contextmanager
def stage(folder: Path) -> Iterator[Federation]:
    """Run a federation and stand in its folder, with an officer's files beside the homes."""
    with running(folder / "world", NAMES) as federation, chdir(folder / "world"):
        for name in NAMES:
            shutil.move(Path(name, "root"), f"{name}.root")  # as its makers were told
        lay_out(Path.cwd())
        yield federation


def lay_out(here: Path) -> None:
    """Put down what the typed lines name."""
    for each in load_examples():
        if each.name.startswith("14-"):
            (here / "referral.yaml").write_bytes(each.text)
    (here / "note.yaml").write_bytes(note("Meeting in Bangkok", "TH-DSI", "HK-IMMD"))
    (here / "stranger.yaml").write_bytes(note("To whom?", "TH-DSl"))
    (here / "wrong.yaml").write_bytes(note("Wrong", "TH-DSI").replace(b"exercise", b"exercize"))
    (here / "absent.yaml").write_bytes(note("Not a member here", "TH-RTP"))
    (here / "policy.yaml").write_bytes(_against_policy())
    (here / "passphrases").write_bytes(b"correct horse battery staple\n")
    (here / "passphrases").chmod(0o600)
    shutil.copytree(str(resources.files("exchange") / "catalogue"), here / "catalogue")


def _against_policy() -> bytes:
    """A referral of a possible victim to an oversight body, which may not receive one."""
    for each in load_examples():
        if each.name.startswith("14-"):
            return each.text.replace(b"agency: HK-IMMD", b"agency: HK-LEGCO")
    raise LookupError("the packaged referral")


def regenerate(path: Path, federation: Federation) -> str:
    """Type the lines of a transcript anew; give the transcript that comes of it."""
    typed = [line for line in path.read_text().splitlines() if line.startswith((_PROMPT, _NOTE))]
    clean = Normaliser(federation)
    lines: list[str] = []
    for line in typed:
        lines.append(line)
        if line.startswith(_NOTE):
            wait(line, federation)
            continue
        output, code = type_in(line.removeprefix(_PROMPT))
        lines += clean(output).splitlines()
        lines += [f"exit {code}", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def type_in(line: str) -> tuple[str, int]:
    """Type one line in this process; ``N<FILE`` opens FILE as descriptor N."""
    with ExitStack() as opened:
        numbers: dict[str, str] = {}

        def hand(found: re.Match[str]) -> str:
            handle = os.open(found[2], os.O_RDONLY)
            opened.callback(os.close, handle)
            numbers[found[1]] = str(handle)
            return ""

        words_typed = shlex.split(_REDIRECTED.sub(hand, line).replace(_WORDS, _words_of(Path("roster-1"))))
        for place, word in enumerate(words_typed):
            if word == "--passphrase-fd":
                words_typed[place + 1] = numbers[words_typed[place + 1]]
        typed = type_line(words_typed[1:])
    return typed.both, typed.code


def _words_of(roster: Path) -> str:
    return " ".join(words(roster_digest(load_signed(roster)))) if roster.exists() else _WORDS


def wait(line: str, federation: Federation) -> None:
    """Wait for what a ``% until`` line names; other comments are for readers."""
    until: dict[str, Callable[[Federation], bool]] = {"% until delivered": _delivered, "% until witnessed": _witnessed}
    deadline = time.monotonic() + SECONDS
    while line in until and not until[line](federation):
        if time.monotonic() > deadline:
            raise AssertionError(f"{line}: it did not come")
        time.sleep(0.1)


def _delivered(federation: Federation) -> bool:
    lanes = [lane for each in federation.world.agencies for lane in _reads(each.home, lambda reads: reads.lanes())]
    return all(lane.taken == lane.sequence for lane in lanes if lane.outgoing)


def _witnessed(federation: Federation) -> bool:
    """Return whether every log is published and cosigned by its quorum to its last entry."""
    for each in federation.world.agencies:
        size = _reads(each.home, lambda reads: reads.size())
        for name in ("checkpoint", "witnessed"):
            path = each.home / "log" / name
            if not path.exists() or parse_note(path.read_text()).checkpoint.size != size:
                return False
    return True


def _reads(home: Path, ask: Callable[..., object]):  # type: ignore[no-untyped-def] # its types are those of what it stands in for
    store = SqliteStore(home / DATABASE)
    try:
        return ask(store.reads())
    finally:
        store.close()


class Normaliser:
    """Writes what differs from run to run as its kind."""

    def __init__(self, federation: Federation) -> None:
        fixed = "|".join(each.bulletin_id for each in load_examples())
        today = dt.datetime.now(dt.UTC).date()
        spans = (0, 30, 90, 365, 5 * 365, 7 * 365, 10 * 365)  # of certificates, lookouts, retention
        days = [today + dt.timedelta(days=span + shift) for span in spans for shift in range(-2, 3)]
        near = "|".join(day.isoformat() for day in days)
        self._world = str(federation.world.folder)
        kinds = {
            rf"(?!{fixed})\b[0-9a-f]{{8}}-[0-9a-f]{{4}}-7[0-9a-f]{{3}}-[0-9a-f]{{4}}-[0-9a-f]{{12}}\b": "<id>",
            rf"(?:{near})(?:[T ][0-9:.]+(?:Z| UTC)?)?": "<time>",
            "|".join(f"/{today.year + shift}/" for shift in (0, 1)): "/<year>/",
            r"\b(?:[a-z]{3,8} ){11}[a-z]{3,8}(?=\n|$| \()": _WORDS,
            r"\b[0-9a-f]{64}\b": "<64 hex>",
            r"[A-Za-z0-9+/]{40,}={0,2}": "<base64>",
            r"(?<![0-9a-f-])[0-9a-f]{8}(?![0-9a-f-])": "<8 hex>",
            r"127\.0\.0\.1:[0-9]+": "127.0.0.1:<port>",
            r'(?<="[A-Z]{2}-[A-Z]{2}": )[0-9]+|(?<="[A-Z]{2}-[A-Z]{3}": )[0-9]+|(?<="[A-Z]{2}-[A-Z]{4}": )[0-9]+': "0",
            r'(?<=_ms": )[0-9]{13}|(?<=_index": )[0-9]+|(?<="cursor": )[0-9]+|(?<=_size": )[0-9]+': "0",
            r'(?<=process )[0-9]+|(?<="process": )[0-9]+|(?<=entry )[0-9]+|(?<=size )[0-9,]*[0-9]': "<n>",
            r"[0-9,]+(?= GiB)|-?[0-9]+(?= s after)|[0-9,]+(?= published)|(?<=SQLite )[0-9.]+": "<n>",
            r"[0-9][0-9,]*(?= entries[,.])|(?<=entries from )[0-9]+|^ *[0-9]+(?=  <time>)|^[0-9]+$": "<n>",
            r"; entries from <n> on against anybody outside": "",  # how fresh the peers' word is, is chance
            r"\b3[67](?= more days| days left|, \"roster_days)|(?<=windows )3[67](?= days)": "<n>",  # windows end ten minutes after midnight
            r"[0-9]{6}(?= +# your register)": "<serial>",
            r"(?<=retain_until_day=)[0-9]+": "<day>",
            r" +$": "",
        }
        self._patterns = [(re.compile(pattern, re.MULTILINE), kind) for pattern, kind in kinds.items()]

    def __call__(self, text: str) -> str:
        """Clean one output."""
        text = text.replace(self._world, "WORLD")
        for pattern, kind in self._patterns:
            text = pattern.sub(kind, text)
        return text


def main() -> int:
    """Write every transcript anew."""
    folder = Path(tempfile.mkdtemp(prefix="transcripts-"))
    try:
        with stage(folder) as federation:
            for name, path in files().items():
                path.write_text(regenerate(path, federation))
                print(f"written: {name}")
    finally:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
