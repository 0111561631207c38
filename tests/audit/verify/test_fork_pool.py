"""Work in copies of a process: in order, without losing an error, and without leaving a process behind.

Each test runs in a process of its own, for one that has threads, as a test's may, is not copied.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.cli.verify import PROCESSES
from audit.note.checkpoint import Checkpoint, VerifierKey, sign_checkpoint
from keys.signer import Ed25519Signer

ROOT = Path(__file__).resolve().parents[3]
BEGINNING = """
import os, sys, threading
from pathlib import Path
from audit.verify.fork_pool import in_copies
assert threading.active_count() == 1

def alone():
    "Say that this process has no child."
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return True
"""


def run(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", BEGINNING + code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("copies", [1, 2, 5])
def test_results_come_in_order_however_long_each_took_and_however_large_it_is(copies: int) -> None:
    code = """
def work(number):
    for _ in range(number * 7919 % 5 * 20_000):
        pass
    return bytes([number]) * (1 << number % 21), os.getpid()

found = list(in_copies(work, 100, COPIES))
assert [data for data, _ in found] == [bytes([number]) * (1 << number % 21) for number in range(100)]
assert os.getpid() not in {process for _, process in found}
assert list(in_copies(work, 0, COPIES)) == []
assert alone()
"""
    run(code.replace("COPIES", str(copies)))


def test_an_error_is_raised_in_its_turn_and_nobody_works_on() -> None:
    code = """
def work(number):
    if number == 5:
        raise ValueError("the fifth")
    return number

found = []
try:
    for each in in_copies(work, 1_000_000, 2):
        found.append(each)
except ChildProcessError as error:
    print(found, error, alone())
"""
    assert run(code) == "[0, 1, 2, 3, 4] ValueError: the fifth True\n"


def test_a_copy_that_is_killed_is_missed() -> None:
    code = """
def work(number):
    if number == 3:
        os.kill(os.getpid(), 9)
    return number

found = []
try:
    for each in in_copies(work, 50, 2):
        found.append(each)
except ChildProcessError as error:
    assert found == list(range(len(found))), found
    print(3 not in found, error, alone())
"""
    assert run(code) == "True a process that was given a part of the work ended before it True\n"


def test_an_interrupt_that_reaches_a_copy_is_the_original_s_to_answer() -> None:
    code = """
import signal

def work(number):
    os.kill(os.getpid(), signal.SIGINT if number % 2 else signal.SIGTERM)
    return number

before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
print(sum(in_copies(work, 50, 2)), alone(), signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before)
"""
    assert run(code) == "1225 True True\n"


def test_an_interrupted_process_leaves_no_copy_behind() -> None:
    code = """
import signal

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever began these tests may ignore it
found = []
try:
    for each in in_copies(lambda number: number, 1_000_000, 2):
        found.append(each)
        if each == 10:
            os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print(found == list(range(len(found))), alone())
"""
    assert run(code) == "True True\n"


def test_a_process_that_ignores_the_end_of_its_children_works_in_copies_too() -> None:
    code = """
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print(sum(in_copies(lambda number: number, 50, 2)), alone())
"""
    assert run(code) == "1225 True\n"


def test_where_no_process_can_be_made_the_work_is_done_in_this_one() -> None:
    code = """
import resource
if os.getuid() == 0:
    os.setuid(65534)  # root is not bound by the limit
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
def opened():  # who was root may not read /proc/self/fd
    return [number for number in range(256) if is_open(number)]
def is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
files = opened()
print(set(in_copies(lambda number: os.getpid(), 50, 2)) == {os.getpid()}, opened() == files)
"""
    assert run(code) == "True True\n"


@pytest.mark.skipif(PROCESSES < 2, reason="one core has no use for copies")
@pytest.mark.parametrize(
    "words", [["verify", "LOG"], ["verify", "LOG", "--json"], ["compare", "LOG", "LOG"]], ids=" ".join
)
def test_a_verification_whose_copies_are_killed_says_so_and_decides_nothing(
    words: list[str], tmp_path: Path, key: VerifierKey, signer: Ed25519Signer
) -> None:
    note = Checkpoint(origin=key.name, size=200_000, root=bytes(32))  # of a log that is worth two processes
    (tmp_path / "checkpoint").write_text(sign_checkpoint(note, signer))
    (tmp_path / "log.vkey").write_text(f"{key}\n")
    code = """
import signal
from audit.cli.main import main
os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGKILL))
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert end.code == 7 and alone(), end
"""
    done = subprocess.run(
        [sys.executable, "-c", BEGINNING + code, *(str(tmp_path) if word == "LOG" else word for word in words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    why = "nothing was decided: a process that was given a part of the work ended before it"
    [line] = (done.stdout + done.stderr).splitlines()
    assert why in line


def test_whoever_looks_no_further_leaves_no_copy_behind() -> None:
    code = """
for each in in_copies(lambda number: number, 1_000_000, 3):
    if each == 10:
        break
print(each, alone())
"""
    assert run(code) == "10 True\n"


def test_what_a_process_writes_at_its_end_is_written_once() -> None:
    code = """
import atexit
atexit.register(lambda: print("the end"))
sys.stdout.write("begun ")
print(sum(in_copies(lambda number: number, 10, 2)))
"""
    assert run(code) == "begun 45\nthe end\n"


def test_a_large_log_is_verified_by_two_copies_as_by_one_process(
    make_folder: Callable[[Path, int], Path], tmp_path: Path, key: VerifierKey
) -> None:
    log = make_folder(tmp_path / "log", 140_000)
    (tmp_path / "kept").write_bytes((log / "checkpoint").read_bytes())
    code = """
from audit.note.checkpoint import parse_verifier_key
from audit.verify.external_checkpoints import ExternalCheckpoint
from audit.verify.verify import verify_log
log, key, kept = Path(sys.argv[1]), parse_verifier_key(sys.argv[2]), Path(sys.argv[3]).read_bytes()
note = ExternalCheckpoint(name="kept", data=kept)
one, two = (verify_log(log, key=key, external=(note,), processes=count) for count in (1, 2))
assert one == two and alone()
print(two.verdict)
"""
    arguments = str(log), str(key), str(tmp_path / "kept")
    assert run(code, *arguments) == "verified\n"
    bundle = log / "tile/entries/300"
    bundle.chmod(0o644)
    data = bytearray(bundle.read_bytes())
    data[-1] ^= 1
    bundle.write_bytes(data)
    assert run(code, *arguments).startswith(f"refuted at entry {300 * 256 + 255}: ")
