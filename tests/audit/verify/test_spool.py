"""What a verification remembers of every entry, in memory and in a temporary file, and answers beyond what one set holds."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from audit.entry.entry import Body, Kind
from audit.tiles.tiles import TileFolder
from audit.verify import answered
from audit.verify.answered import RECORD, Answers, answer_record
from audit.verify.kind_counts import KindCounts
from audit.verify.spool import Spool
from keys.signer import Ed25519Signer
from tests.audit.forge import chain, sign, write_log
from tests.audit.store import digest, first_bodies

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("limit", [0, 10, 1000, 1 << 20])
def test_what_was_appended_is_read_back_from_memory_and_from_a_file(limit: int) -> None:
    spool, whole = Spool(limit), b""
    for number in range(40):
        part = os.urandom(number * 7)
        spool.append(part)
        whole += part
        assert spool.size == len(whole)
    assert b"".join(spool.blocks(333)) == whole
    assert [spool.read(offset, 9) for offset in (0, 5, 1234)] == [whole[offset : offset + 9] for offset in (0, 5, 1234)]


def test_a_census_beyond_memory_says_the_same() -> None:
    dice = random.Random(3)
    kinds = bytes([1, 4, 5, 6, *(dice.choice((10, 11, 12, 14, 32)) for _ in range(50_000))])
    counted = KindCounts(in_memory=100)
    for offset in range(0, len(kinds), 999):
        counted.add(kinds[offset : offset + 999])
    assert [counted.at(i) for i in range(0, len(kinds), 97)] == list(kinds[::97])
    assert counted.each([49_000, 3, 3, 20_000]) == bytes(kinds[i] for i in (49_000, 3, 3, 20_000))
    assert counted.counts == Counter(kinds)
    assert counted.first == {kind: kinds.index(kind) for kind in set(kinds)}
    assert sum(counted.counts.values()) == counted.size == len(kinds)
    assert (counted.beginning, counted.after, counted.genesis_again) == (bytes([1, 4, 5]), (3, 6), None)


def test_of_many_parts_the_earliest_second_answer_is_found(tmp_path: Path, signer: Ed25519Signer) -> None:
    """Records are dealt out by digest; the control has the same many and no double."""
    bodies = [*first_bodies(), *(_answer(n) for n in range(400)), _answer(30), _answer(7)]
    entries = chain(bodies)
    folder = TileFolder(write_log(tmp_path / "log", entries, sign(entries, signer)))
    for last, found in ((404, None), (406, (34, 404))):
        answers = Answers(in_memory=1000)
        for index in range(4, last):
            answers.add(answer_record(bodies[index].delivery_digest, index))
        filling = b"".join(answer_record(digest(n, 99), 4) for n in range(3 * answered.PART))
        answers.add(filling)  # as many as need four parts; none of them twice
        assert answers.count == last - 4 + len(filling) // RECORD
        assert answers.doubles(folder, len(entries)) == found


def _answer(number: int) -> Body:
    return Body(
        kind=Kind.REFUSED, peer=4, dispatch_digest=digest(number, 1), delivery_digest=digest(number, 2), outcome=70
    )


def test_without_room_for_temporary_files_an_error_of_the_system_comes_back(tmp_path: Path) -> None:
    """In a process that may write no file of more than 64 bytes; the control stays in memory."""
    for memory, said in ((1 << 10, ""), (16, "OSError: 27")):
        script = (
            "from audit.verify.spool import Spool\n"
            f"spool = Spool({memory})\n"
            "try:\n    [spool.append(bytes(48)) for _ in range(9)]\n"
            "except OSError as error:\n    print('OSError:', error.errno)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))\n{script}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == said
