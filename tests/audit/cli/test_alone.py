"""Each of the auditor's commands in a process of its own: no network, nothing of the node, and the same words."""

from __future__ import annotations

import shutil
import socket
import threading
from pathlib import Path

import pytest

from audit.note.checkpoint import VerifierKey
from tests.audit.cli.typed import OFFLINE_THREADS, run, run_alone


@pytest.fixture
def kept(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(template / "checkpoint", tmp_path / "kept.txt"))


def test_control_a_socket_is_refused_while_a_line_is_typed() -> None:
    OFFLINE_THREADS.add(threading.get_ident())
    try:
        with pytest.raises(RuntimeError, match="the network was touched: socket"):
            socket.socket()
    finally:
        OFFLINE_THREADS.clear()
    socket.socket().close()


@pytest.mark.parametrize(
    "words",
    [
        ("verify", "--json", "{log}", "--key", "{key}", "--against", "{kept}"),
        ("show", "{log}", "--from", "0", "--to", "3"),
        ("prove", "{log}", "3", "-o", "{out}"),
        ("report", "{log}", "--key", "{key}", "-o", "{out}"),
        ("retention", "{log}", "--key", "{key}"),
        ("compare", "{log}", "--key", "{key}"),
        ("fork", "{kept}", "{kept}", "--key", "{key}", "-o", "{out}"),
        ("verify", "{log}", "--roster", "{log}"),
    ],
    ids=lambda words: words[0],
)
def test_each_command_alone_says_the_same_and_loads_nothing_of_the_node(
    words: tuple[str, ...], folder: Path, key: VerifierKey, kept: Path, tmp_path: Path
) -> None:
    results = []
    for number, way in enumerate((run, run_alone)):
        out = tmp_path / str(number) / "out"
        out.parent.mkdir()
        names = {"log": str(folder), "key": str(key), "kept": str(kept), "out": str(out)}
        done = way(*(word.format(**names) for word in words))
        assert "Traceback" not in done.stderr, done.stderr
        said = done.stdout.replace(str(out), "OUT"), done.stderr.replace(str(out), "OUT")
        results.append((done.returncode, *said, out.read_bytes() if out.exists() else None))
    assert results[0] == results[1]
