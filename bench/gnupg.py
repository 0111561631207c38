"""The same errand with GnuPG: sign and encrypt a file to three, two of them decrypt and verify.

One ``gpg`` a step, as people and scripts use it; Ed25519 and Curve25519 keys without passphrases, made in a folder that
is thrown away. GnuPG keeps no log and gives no receipt. Compared is CPU, that of GnuPG's agent and key daemon included.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from bench.acts import Acts
from bench.federation import ABSENT, READERS, bulletins
from bench.machine import children_cpu
from bench.setting import Setting
from bench.spent import Rounds, cpu_of, spent
from bench.table import Row, not_measured
from exchange.records.bulletin import encode_bulletin
from exchange.v1.bulletin_pb2 import Bulletin

ASKED: dict[str, Any] = {"must": 15, "aim": 25}
ROUNDS, OURS, THEIRS = 3, 96, 6  # bulletins a round
PEOPLE = ("author", "reader-1", "reader-2", "reader-3")


def measure(setting: Setting) -> list[Row]:
    """Measure both sizes; the product and GnuPG take turns."""
    names = {name: f"whole job, acts, CPU against GnuPG, {name}" for name in setting.sizes}
    if shutil.which("gpg") is None:
        return [not_measured(name, "gpg is not installed (bench/install)", **ASKED) for name in names.values()]
    home = setting.scratch("gnupg")
    home.chmod(0o700)
    for person in PEOPLE:
        _gpg(home, "--quick-generate-key", person, "ed25519", "sign", "never")
        shown = _gpg(home, "--with-colons", "--list-keys", person).decode()
        fingerprint = next(line.split(":")[9] for line in shown.splitlines() if line.startswith("fpr"))
        _gpg(home, "--quick-add-key", fingerprint, "cv25519", "encr", "never")
    try:
        with ExitStack() as stack:
            acts = Acts(setting.federation(), stack)
            return [_row(setting, acts, home, names[name], size) for name, size in setting.sizes.items()]
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)


def _row(setting: Setting, acts: Acts, home: Path, what: str, size: int) -> Row:
    rounds, daemon = Rounds(OURS, THEIRS), int(_connect(home, "getinfo pid").split()[1])
    for _ in range(ROUNDS):
        fresh = bulletins(OURS, size, *READERS, ABSENT, first=setting.serials(OURS))
        ours = spent(partial(acts.whole_job, fresh), OURS)
        theirs = spent(partial(_errands, home, fresh[:THEIRS]), THEIRS, lambda: children_cpu() + cpu_of(daemon))
        rounds.add(ours, theirs)
    return Row(
        what=what,
        product=rounds.product,
        bound=rounds.rival,
        share=rounds.cpu_share,
        cpu_us=rounds.cpu_us,
        bound_cpu_us=rounds.rival_cpu_us,
        **ASKED,
    )


def _connect(home: Path, command: str) -> str:
    """Ask the agent, which "getinfo pid" answers with "D <pid>"."""
    asked = ["gpg-connect-agent", "--homedir", str(home), command, "/bye"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout


def _errands(home: Path, messages: list[Bulletin]) -> None:
    for message in messages:
        _errand(home, message)


def _errand(home: Path, message: Bulletin) -> None:
    plain, sealed = home / "plain", home / "sealed"
    plain.write_bytes(encode_bulletin(message))
    to = [word for person in PEOPLE[1:] for word in ("--recipient", person)]
    _gpg(home, "--local-user", PEOPLE[0], *to, "--sign", "--encrypt", "--output", str(sealed), str(plain))
    for person in PEOPLE[1:3]:
        opened = _gpg(home, "--try-secret-key", person, "--decrypt", str(sealed))
        assert opened == plain.read_bytes()
    sealed.unlink()


def _gpg(home: Path, *words: str) -> bytes:
    command = ["gpg", "--homedir", str(home), "--batch", "--yes", "--quiet", "--trust-model", "always"]
    command += ["--passphrase", "", "--pinentry-mode", "loopback", *words]
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(command, check=True, capture_output=True, env=environment).stdout
