"""A bundle that claims more than any file could hold is refused at once and in little memory (attack 25)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from audit.note.checkpoint import Checkpoint, VerifierKey, sign_checkpoint
from audit.tiles.tar import header
from keys.signer import Ed25519Signer
from tests.audit.bundles import make, members_of, put
from tests.audit.store import ORIGIN

ROOM = 1 << 30  # bytes of address space; a program alone needs a third of it
SECONDS = 900  # on a busy machine; what is refused at once takes none of them
JUDGE = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({ROOM}, {ROOM}))
from audit.cli.main import main
main(["verify", "--json", *sys.argv[1:]])
"""


def judged(path: Path, key: VerifierKey) -> tuple[int, str]:
    command = [sys.executable, "-c", JUDGE, str(path), "--key", str(key)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.stdout.count("\n") == 1, done.stderr
    return done.returncode, str(json.loads(done.stdout)["verdict"])


@pytest.mark.parametrize("size", [1 << 20, 1 << 40, (1 << 63) - 1])
def test_attack_25_a_checkpoint_of_any_size_asks_for_no_more_tiles_than_are_there(
    size: int, folder: Path, signer: Ed25519Signer, key: VerifierKey, tmp_path: Path
) -> None:
    good = make(folder, tmp_path / "good.audit")
    assert judged(good, key)[0] == 7  # control: no more than its end is unknown
    members = {name: data for name, data in members_of(good).items() if not name.startswith("tile/")}
    note = sign_checkpoint(Checkpoint(origin=ORIGIN, size=size, root=bytes(32)), signer)
    path = put(tmp_path / "huge.audit", {**members, "checkpoint": note.encode()})
    code, verdict = judged(path, key)
    assert (code, verdict.endswith(": missing")) == (6, True), verdict


@pytest.mark.parametrize("name", ["README", "receipts/receipts.tsv"])
def test_attack_25_a_list_is_no_longer_than_its_lines_can_be(
    name: str, folder: Path, key: VerifierKey, tmp_path: Path
) -> None:
    members = members_of(make(folder, tmp_path / "good.audit"))
    members["receipts/receipts.tsv"] = b""
    size = 1 << 30
    path = tmp_path / "long.audit"
    with path.open("wb") as file:
        for each in sorted(members):
            data = members[each]
            file.write(header(each, size if each == name else len(data)) + data)
            file.seek(-file.tell() % 512 if each != name else size - len(data), 1)  # a hole: no disk is used
        file.write(bytes(1024))
    code, verdict = judged(path, key)
    assert code == 6
    assert verdict.startswith(f"refuted: {name}: {size} bytes, at most ")
