"""Make the kept homes of a release: three agencies whose nodes have exchanged, by typed commands of that release.

Run it once for each release, with the Python of an environment in which that release is installed, and its commit:

    .venv/bin/python tests/kept/make.py COMMIT tests/kept/DATE.tar.xz

Then add a row to ``tests/kept/releases.py``. What is in the archive: ``HK-IMMD``, ``HK-SB`` and ``TH-DSI`` (homes that
were stopped), ``roots`` (what was carried away), ``roster``, ``story.json`` (which bulletin is which). Nothing here
imports the program, so that one script serves every release.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

AGENCIES = ("HK-IMMD", "HK-SB", "TH-DSI")
FEDERATION, OFFICER, PASSPHRASE = "exercise.example", "duty-1", "correct horse"
PORTS = {agency: 21_840 + 2 * number for number, agency in enumerate(AGENCIES)}
SECONDS = 120.0
DAY = 86_400


class Program:
    """What is typed instead of ``exchange``, and in which environment."""

    def __init__(self, command: tuple[str, ...], environment: dict[str, str]) -> None:
        self.command, self.environment = command, environment


INSTALLED = Program((str(Path(sys.executable).parent / "exchange"),), dict(os.environ))


class Maker:
    """A folder in which commands are typed; each agency may have another program."""

    def __init__(self, folder: Path, program: Program = INSTALLED, ports: Mapping[str, int] = PORTS) -> None:
        self.folder, self.ports = folder, ports
        self.programs = dict.fromkeys(AGENCIES, program)
        self.nodes: dict[str, subprocess.Popen[bytes]] = {}

    def of(self, words: tuple[str, ...]) -> Program:
        """Return the program of the agency whose home is named; of the first where none is."""
        named = [after for word, after in itertools.pairwise(words) if word == "--home"]
        return self.programs[named[0] if named else AGENCIES[0]]

    def run(self, *words: str, give: str = "", pass_fds: tuple[int, ...] = ()) -> str:
        """Run a command; what it prints."""
        program = self.of(words)
        done = subprocess.run(
            [*program.command, *words],
            cwd=self.folder,
            env=program.environment,
            input=give.encode(),
            capture_output=True,
            pass_fds=pass_fds,
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(words)}: {done.returncode}\n{(done.stdout + done.stderr).decode()}")
        return done.stdout.decode()

    def type(self, *words: str, give: str = "") -> str:
        """Type a command; every passphrase is the same one."""
        read, write = os.pipe()
        os.write(write, f"{PASSPHRASE}\n".encode())
        os.close(write)
        needs = () if "--words" in words else ("--passphrase-fd", str(read))
        try:
            return self.run(*words, *needs, give=give, pass_fds=(read,))
        finally:
            os.close(read)

    def ask(self, agency: str, *words: str) -> Any:
        """Type an officer's command and read its JSON."""
        return json.loads(self.type(*words, "--json", "--home", agency, "--as", OFFICER))

    def catalogue(self) -> str:
        """Return the folder of the catalogue that the first agency's program brings."""
        code = "import exchange.catalogue as found; print(list(found.__path__)[0])"
        environment = self.programs[AGENCIES[0]].environment
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=environment)
        return done.stdout.decode().strip()

    def found(self, *, introduced: bool = True) -> None:
        """Hold the ceremony, and carry the roots away; not *introduced*, nodes know each other's addresses alone."""
        for agency in AGENCIES:
            person = f"{OFFICER}:author,reader:3"
            names = ("--agency", agency, "--federation", FEDERATION, "--officer", person)
            self.type("keys", "make", "agency", *names, "--windows", "14", "-o", agency)
        applications = [f"{agency}/application" for agency in AGENCIES]
        roster = ("keys", "make", "roster", *applications, "--catalogue", self.catalogue(), "-o", "roster")
        words = json.loads(self.run(*roster, "--json"))["words"]
        for agency in AGENCIES:
            self.type("keys", "sign", "roster", "roster", "--home", agency, give="y\n")
        for agency in AGENCIES:
            common = ("--home", agency, "--roster", "roster")
            endpoint = ("--endpoint", f"127.0.0.1:{self.ports[agency]}")
            self.type("keys", "make", "manifest", *common, *endpoint, "-o", f"{agency}.manifest")
            self.type("keys", "make", "sheet", *common, "-o", f"{agency}.sheet")
        for agency in AGENCIES:
            others = [f"{each}.{what}" for what in ("manifest", "sheet") for each in AGENCIES if each != agency]
            own = ("--manifest", f"{agency}.manifest", "--key-sheet", f"{agency}.sheet")
            at = [f"127.0.0.1:{self.ports[agency] + more}" for more in (0, 1)]
            records = [word for each in others for word in ("--record", each)]
            if not introduced:
                where = [f"{each}=127.0.0.1:{self.ports[each]}" for each in AGENCIES if each != agency]
                records = [word for each in where for word in ("--peer", each)]
            common = ("--home", agency, "--agency", agency, "--roster", "roster", "--words", words)
            self.type("node", "init", *common, *own, *records, "--listen", at[0], "--desk", at[1])
            (self.folder / "roots" / agency).mkdir(parents=True)
            (self.folder / agency / "root").rename(self.folder / "roots" / agency / "root")

    def start(self, *agencies: str) -> None:
        """Start nodes and wait until they sign."""
        (self.folder / "passphrase").write_text(f"{PASSPHRASE}\n")
        for agency in agencies:
            with open(self.folder / "passphrase") as file, open(self.folder / f"{agency}.log", "ab") as log:
                program = self.programs[agency]
                words = ("node", "serve", "--home", agency, "--passphrase-fd", str(file.fileno()))
                self.nodes[agency] = subprocess.Popen(
                    [*program.command, *words],
                    cwd=self.folder,
                    env=program.environment,
                    pass_fds=(file.fileno(),),
                    stdout=log,
                    stderr=log,
                )
        self.until(lambda: all(self.status(each)["signs"] for each in agencies), "the nodes do not start")
        time.sleep(3)

    def stop(self, *agencies: str) -> None:
        """Stop them together."""
        for agency in agencies:
            self.nodes[agency].terminate()
        for agency in list(agencies):
            self.nodes.pop(agency).wait(SECONDS)

    def status(self, agency: str) -> Any:
        """Read what a node says of itself."""
        return json.loads(self.run("node", "status", "--home", agency, "--json"))

    def until(self, met: Any, what: str) -> None:
        """Wait for something."""
        end = time.monotonic() + SECONDS
        while not met():
            if time.monotonic() > end:
                raise SystemExit(what)
            time.sleep(0.3)

    def arrived(self) -> None:
        """Wait until nothing is on its way."""
        self.until(lambda: all(not self.status(each)["waiting"] for each in AGENCIES), "a bulletin does not arrive")

    def publish(self, agency: str, name: str, text: str) -> str:
        """Publish a bulletin; its id."""
        (self.folder / name).write_text(text)
        published = json.loads(
            self.type("publish", "-y", "--json", "--home", agency, "--as", OFFICER, name)
        )["published"]  # fmt: skip
        (self.folder / name).unlink()
        return str(published[0]["bulletin_id"])


def header(sender: str, to: tuple[str, ...], subject: str, more: str = "") -> str:
    """Write what every bulletin begins with."""
    return (
        f"header:\n  originator: {sender}\n  status: exercise\n  addressees:\n"
        + "".join(f"    - agency: {each}\n      role: action\n" for each in to)
        + f"  lang: en\n  subject:\n    - lang: en\n      text: {subject}\n{more}"
    )


def note(sender: str, *to: str, subject: str, more: str = "") -> str:
    """Write a cooperation note."""
    body = f"cooperation_note:\n  type: meeting\n  date: '2026-11-20'\n  participants:\n    - agency: {sender}\n"
    return header(sender, to, subject, more) + body


def question(sender: str, *to: str) -> str:
    """Write an information request."""
    asked = "  questions:\n    - id: Q1\n      text: How many came?\n"
    body = f"information_request:\n  purpose_text: A list is drawn up.\n  why_you: You keep it.\n{asked}"
    by = f"  reply_by: '{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(time.time() + 5 * DAY))}'\n"
    return header(sender, to, "A question", by) + body


def correction(sender: str, bulletin_id: str, *to: str) -> str:
    """Write a correction of a subject."""
    relation = f"  relations:\n    - type: corrects\n      bulletin_id: {bulletin_id}\n"
    change = "correction:\n  changes:\n    - path: header.subject[0].text\n      old: A metting\n      new: A meeting\n"
    return header(sender, to, "A letter", relation) + change + "      reason: a letter was missing\n"


def tell(maker: Maker) -> dict[str, str]:
    """Let the three exchange; returns which bulletin is which."""
    told: dict[str, str] = {}
    maker.start(*AGENCIES)
    told["asked"] = maker.publish("HK-IMMD", "asked", question("HK-IMMD", "HK-SB", "TH-DSI"))
    told["corrected"] = maker.publish("HK-SB", "corrected", note("HK-SB", "HK-IMMD", subject="A metting"))
    past = f"  retention:\n    review_by: '{time.strftime('%Y-%m-%d', time.gmtime(time.time() - 2 * DAY))}'\n"
    told["erased"] = maker.publish("TH-DSI", "erased", note("TH-DSI", *AGENCIES[:2], subject="Past its day", more=past))
    told["new"] = maker.publish("HK-IMMD", "new", note("HK-IMMD", "HK-SB", "TH-DSI", subject="Nobody has read this"))
    maker.arrived()
    why = ("--for", "C-1", "--because", "it is asked for")
    maker.ask("HK-SB", "read", told["asked"], *why)
    maker.ask("HK-IMMD", "read", told["corrected"], *why)
    maker.ask("HK-SB", "read", told["erased"], *why)
    maker.ask("HK-IMMD", "hold", told["erased"], "--because", "the court has asked for it")
    replied = maker.ask("TH-DSI", "reply", told["asked"], "-m", "Four came.", "-y")
    told["reply"] = replied["published"][0]["bulletin_id"]
    told["correction"] = maker.publish("HK-SB", "correction", correction("HK-SB", told["corrected"], "HK-IMMD"))
    maker.arrived()
    maker.ask("HK-IMMD", "read", told["reply"], *why)
    maker.stop(*AGENCIES)
    maker.start(*AGENCIES)  # a start erases what is past its day
    maker.stop("TH-DSI")
    told["waiting"] = maker.publish("HK-IMMD", "waiting", note("HK-IMMD", "TH-DSI", subject="It waits"))
    maker.stop("HK-IMMD", "HK-SB")
    return told


def main(commit: str, target: Path) -> None:
    """Make the archive."""
    with tempfile.TemporaryDirectory() as name:
        maker = Maker(Path(name))
        maker.found()
        try:
            told = tell(maker)
        finally:
            maker.stop(*maker.nodes)
        told |= {"commit": commit}
        (maker.folder / "story.json").write_text(json.dumps(told, indent=1))
        with tarfile.open(target, "w:xz", preset=9, format=tarfile.PAX_FORMAT) as archive:
            for each in (*AGENCIES, "roots", "roster", "story.json"):
                archive.add(maker.folder / each, each, filter=_nobody)
    print(f"made {target}: {target.stat().st_size:,} bytes")


def _nobody(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out who made it, and the note of a process."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return None if member.name.endswith(("/running", "-shm")) else member


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
