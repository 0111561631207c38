"""Every file that an auditor's command reads, cut, grown, garbled or replaced: one line that names it, 6 or 7 (or 2, 5).

The commands run in this process; an exception that is not the end of a program fails the test.
"""

from __future__ import annotations

import io
import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from audit.cli.main import main
from audit.note.checkpoint import Checkpoint, VerifierKey, sign_checkpoint
from audit.note.fork import format_fork, pair
from audit.note.policy import format_vkeys
from audit.note.tlogproof import format_proof
from audit.tiles.tile_names import WITNESSED
from exchange.evidence.gather_evidence import evidence_file
from keys.signer import Ed25519Signer
from tests.audit.bundles import make
from tests.audit.forge import read_log
from tests.audit.store import ORIGIN
from tests.audit.witness.witness_world import cosigned, policy
from tests.exchange.evidence import evidence_maker
from tests.support.scale import SCALE

SIZE = 300
CUTS = 6 * SCALE  # for each file
HUGE = b"A" * (3 << 20)
TIME_S = 1_795_000_300


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """How a command ended."""

    code: int
    out: str
    err: str


def typed(*words: str | Path) -> Typed:
    """Run ``exchange-audit`` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
        main(list(map(str, words)))
    assert isinstance(end.value.code, int)
    return Typed(code=end.value.code, out=out.getvalue(), err=err.getvalue())


@pytest.fixture
def world(folder: Path, key: VerifierKey, signer: Ed25519Signer, tmp_path: Path) -> Path:
    """Return a folder with one good file of each kind that an auditor may be handed."""
    root = tmp_path / "given"
    root.mkdir()
    note = (folder / "checkpoint").read_text()
    tree = _tree(folder)
    checkpoint = Checkpoint(origin=ORIGIN, size=SIZE, root=tree.root())
    note = cosigned(note, checkpoint, {1: TIME_S, 2: TIME_S, 3: TIME_S})
    (folder / "checkpoint").write_text(note)
    shutil.copytree(folder, root / "log")
    (root / "log" / WITNESSED).write_text(note)
    make(folder, root / "log.audit")
    (root / "kept").write_text(note)
    old = Checkpoint(origin=ORIGIN, size=200, root=tree.root(200))
    (root / "old").write_text(sign_checkpoint(old, signer))
    [entry] = [e for i, e in enumerate(read_log(folder, SIZE)) if i == 7]
    (root / "receipt").write_text(format_proof(7, tree.inclusion(7, SIZE), note, entry))
    (root / "witnesses.vkeys").write_text(format_vkeys(policy(3)))
    other = sign_checkpoint(Checkpoint(origin=ORIGIN, size=SIZE, root=bytes(32)), signer)
    (root / "fork").write_text(format_fork(pair(note, other)))
    case = evidence_maker.make()
    (root / "case.evidence").write_bytes(evidence_file(case.core))
    return root


def _tree(folder: Path):  # type: ignore[no-untyped-def] # audit.tree.merkle.Tree
    from audit.tiles.tiles import TileFolder

    return TileFolder(folder).tree(SIZE)


def commands(root: Path, key: VerifierKey) -> dict[str, tuple[list[str | Path], int]]:
    """Return for each good file the command that reads it, and how that ends while the file is good."""
    log, given = root / "log", ["--key", str(key)]
    verify: list[str | Path] = ["verify", "--json"]
    anchored: list[str | Path] = [*verify, log, *given, "--against", root / "kept"]
    return {
        "log/checkpoint": (anchored, 0),
        "log/log.vkey": (anchored, 0),
        "log/tile/0/000": (anchored, 0),
        "log/tile/0/001.p/44": (anchored, 0),
        "log/tile/1/000.p/1": (anchored, 0),
        "log/tile/entries/000": (anchored, 0),
        "log/tile/entries/001.p/44": (anchored, 0),
        "log/witnessed": ([*anchored, "--witnesses", root / "witnesses.vkeys"], 0),
        "kept": (anchored, 0),
        "receipt": ([*verify, log, *given, "--against", root / "receipt"], 0),
        "witnesses.vkeys": ([*anchored, "--witnesses", root / "witnesses.vkeys"], 0),
        "old": ([*verify, log, *given, "--from-checkpoint", root / "old"], 0),
        "log.audit": ([*verify, root / "log.audit", *given, "--against", root / "kept"], 7),
        "fork": ([*verify, root / "fork", *given], 6),
        "case.evidence": ([*verify, root / "case.evidence"], 7),
    }


FILES = (
    "log/checkpoint",
    "log/log.vkey",
    "log/tile/0/000",
    "log/tile/0/001.p/44",
    "log/tile/1/000.p/1",
    "log/tile/entries/000",
    "log/tile/entries/001.p/44",
    "log/witnessed",
    "kept",
    "receipt",
    "witnesses.vkeys",
    "old",
    "log.audit",
    "fork",
    "case.evidence",
)

ARGUMENTS = ("log.audit", "fork", "case.evidence")


def mutants(good: bytes, dice: random.Random) -> Iterator[tuple[str, bytes | None]]:
    """Yield (what was done, bytes); None stands for a folder in the file's place."""
    yield "empty", b""
    yield "oversized", good + HUGE
    yield "huge alone", HUGE
    yield "zeros", bytes(len(good))
    yield "not UTF-8", b"\xff\xfe" + good
    yield "lines of another system", good.replace(b"\n", b"\r\n") + b"\r"
    yield "a folder", None
    yield "twice", good + good
    for _ in range(CUTS):
        at = dice.randrange(len(good) - 1)
        yield f"cut at {at}", good[:at]
        yield f"{at} bytes missing in front", good[at + 1 :]


@pytest.mark.parametrize("name", FILES)
def test_attack_25_no_malformed_file_ends_in_0_or_in_a_traceback(name: str, world: Path, key: VerifierKey) -> None:
    words, good_code = commands(world, key)[name]
    good = (world / name).read_bytes()
    control = typed(*words)
    assert control.code == good_code, control
    for what, bad in mutants(good, random.Random(25)):
        (world / name).unlink()
        if bad is None:
            (world / name).mkdir()
        else:
            (world / name).write_bytes(bad)
        ended = typed(*words)
        assert ended.code in (2, 5, 6, 7), (name, what, ended)
        assert ended.out.count("\n") == 1, (name, what, ended)
        told = json.loads(ended.out)
        assert _names(name, told, ended.err), (name, what, ended)
        assert len(ended.err.splitlines()) <= 2, (name, what, ended)
        if bad is None:
            (world / name).rmdir()
            (world / name).touch()
    (world / name).write_bytes(good)
    assert typed(*words) == control


def _names(name: str, told: dict[str, object], err: str) -> bool:
    """Return whether what was printed names the file, as it lies in its folder; the argument need not be named."""
    said = json.dumps(told) + err
    return name in ARGUMENTS or name.removeprefix("log/") in said or Path(name).name in said


@pytest.mark.parametrize(
    "words",
    [
        ["show", "log"],
        ["prove", "log", "5"],
        ["compare", "--json", "log", "log"],
        ["retention", "--json", "log"],
    ],
    ids=lambda words: str(words[0]),
)
def test_attack_25_other_commands_on_a_broken_log_end_in_one_line(words: list[str], world: Path) -> None:
    for name in ("checkpoint", "tile/entries/000", "tile/0/000"):
        good = (world / "log" / name).read_bytes()
        for bad in (b"", good[:40], HUGE, b"\xff" * 70):
            (world / "log" / name).write_bytes(bad)
            ended = typed(*(world / word if word == "log" else word for word in words))
            if name == "checkpoint" or words[0] in ("compare", "retention"):
                assert ended.code in (2, 5, 6, 7), (words, name, ended)
            assert len(ended.err.splitlines()) <= 2, (words, name, ended)
            (world / "log" / name).write_bytes(good)


def test_a_command_that_raises_is_seen_by_this_harness() -> None:
    """Control: what is no proper end fails the test that meets it."""

    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        _run(broken)


def _run(act: Callable[[], None]) -> None:
    with redirect_stdout(io.StringIO()), pytest.raises(SystemExit):
        act()
