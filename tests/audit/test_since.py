"""A log verified from an older checkpoint on, and as far as a bundle's entries go: as much is refuted, less is read."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit.body import Body, parse_body
from audit.bundle_folder import BundleFolder
from audit.bundle_verify import check_bundle, refused, with_steps
from audit.checkpoint import Checkpoint, VerifierKey, sign_checkpoint
from audit.entry import leaf_hash, parse_entry
from audit.kinds import Kind
from audit.log import Log
from audit.outside import Outside
from audit.publisher import publish
from audit.since import verify_since
from audit.steps import Report
from audit.verify import verify_log
from keys.errors import RefusedError
from keys.signing import Ed25519Signer
from tests.audit.bundles import make, members_of, put, remake
from tests.audit.forge import read_log, rechain, root, sign, write_log
from tests.audit.store import ORIGIN, TableStore, grow

ROOT = Path(__file__).resolve().parents[2]
SIZE = 1100  # four full bundles and a partial one


@pytest.fixture(scope="module")
def big(make_folder: Callable[[Path, int], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("since") / "log", SIZE)


@pytest.fixture
def log(big: Path, tmp_path: Path) -> Path:
    shutil.copytree(big, tmp_path / "log")
    for path in (tmp_path / "log").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return tmp_path / "log"


@pytest.fixture(scope="module")
def entries(big: Path) -> list[bytes]:
    return read_log(big, SIZE)


@pytest.fixture(scope="module")
def old(entries: list[bytes], signer: Ed25519Signer) -> Callable[[int], Outside]:
    def made(size: int) -> Outside:
        return Outside(name=f"old-{size}", data=sign(entries[:size], signer).encode())

    return made


def step(report: Report, number: int) -> tuple[str, str]:
    found = next(each for each in report.steps if each.step == number)
    return found.result, found.detail


def flip(path: Path, place: int, bit: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= bit
    path.write_bytes(data)


@pytest.mark.parametrize("size", [1, 255, 256, 257, 511, 512, 700, 1024, 1025, 1099, 1100])
def test_from_any_older_checkpoint_on_an_honest_log_is_verified(
    size: int, big: Path, key: VerifierKey, old: Callable[[int], Outside]
) -> None:
    report = verify_since(big, old=old(size), key=key)
    assert (report.exit_code, report.verdict, report.anchored) == (0, "verified", size)
    assert f"those before {size:,} are the ones that the old checkpoint proves" in step(report, 3)[1]


def test_without_an_old_checkpoint_it_agrees_with_the_whole_verification(
    big: Path, key: VerifierKey, old: Callable[[int], Outside]
) -> None:
    whole, part = (each(big, key=key, outside=[old(900)]) for each in (verify_log, verify_since))
    assert (whole.verdict, whole.exit_code) == (part.verdict, part.exit_code) == ("verified", 0)
    assert verify_since(big, old=old(900)).exit_code == 7  # the key was the log's own
    assert verify_since(big, key=key).verdict == "verified, end not anchored"


def test_entries_before_are_not_read_and_what_is_new_is(
    log: Path, key: VerifierKey, old: Callable[[int], Outside]
) -> None:
    (log / "tile/entries/000").unlink()
    (log / "tile/entries/001").unlink()
    assert verify_since(log, old=old(800), key=key).exit_code == 0
    assert verify_log(log, key=key).exit_code == 6  # control
    (log / "tile/entries/003").unlink()
    report = verify_since(log, old=old(800), key=key)
    assert (report.exit_code, step(report, 3)[0]) == (6, "refuted")


@pytest.mark.parametrize(
    "name", ["tile/entries/003", "tile/entries/004.p/76", "tile/0/003", "tile/0/004.p/76", "tile/1/000.p/4"]
)
def test_a_changed_byte_in_what_is_new_is_refuted(
    name: str, log: Path, key: VerifierKey, old: Callable[[int], Outside]
) -> None:
    size = len((log / name).read_bytes())
    good = (log / name).read_bytes()
    for place in (0, 5, size // 2, size - 1):
        flip(log / name, place)
        assert verify_since(log, old=old(700), key=key).exit_code == 6, place
        (log / name).write_bytes(good)
    assert verify_since(log, old=old(700), key=key).exit_code == 0  # control


def test_another_history_is_refuted_though_its_own_key_signed_it(
    log: Path, key: VerifierKey, entries: list[bytes], signer: Ed25519Signer, old: Callable[[int], Outside]
) -> None:
    changed = list(entries)
    entry = parse_entry(changed[300])
    changed[300] = entry.encode().replace(entry.body[-4:], bytes(4))
    forged = rechain(changed)
    assert root(forged) != root(entries)
    write_log(log, forged, sign(forged, signer), key)
    report = verify_since(log, old=old(700), key=key)
    assert (report.exit_code, step(report, 7)[0]) == (6, "refuted")
    assert "another history" in step(report, 7)[1]
    assert step(report, 3)[0] == "not checked"  # nothing is built on a border that no root proves
    assert verify_since(log, old=old(300), key=key).exit_code in (0, 6)  # control: before the change it agrees
    assert "another history" not in verify_since(log, old=old(300), key=key).verdict


def test_a_log_that_is_shorter_than_the_old_checkpoint_is_refuted(
    log: Path, key: VerifierKey, entries: list[bytes], signer: Ed25519Signer, old: Callable[[int], Outside]
) -> None:
    write_log(log, entries[:600], sign(entries[:600], signer), key)
    report = verify_since(log, old=old(700), key=key)
    assert report.verdict == "refuted at entry 600: old-700: it commits to 700 entries; the log ends before entry 600"


def test_a_reference_to_an_old_entry_is_checked_against_the_entry_that_the_old_root_proves(
    log: Path, key: VerifierKey, entries: list[bytes], signer: Ed25519Signer, old: Callable[[int], Outside]
) -> None:
    first = next(i for i in range(701, SIZE) if parse_entry(entries[i]).body[1] == Kind.RECEIPT_RECORDED)
    body = parse_entry(entries[first]).body
    queued = next(i for i in range(10, 200) if parse_entry(entries[i]).body[1] == Kind.QUEUED)
    received = next(i for i in range(10, 200) if parse_entry(entries[i]).body[1] == Kind.RECEIVED)

    def referring(target: int) -> Report:
        entry = parse_entry(entries[first])
        changed = replace(entry, body=replace(parse_body(body), refers_to=target).encode()).encode()
        made = rechain([*entries[:first], changed, *entries[first + 1 :]])
        write_log(log, made, sign(made, signer), key)
        return verify_since(log, old=old(700), key=key)

    assert referring(queued).exit_code == 0
    report = referring(received)
    assert (report.exit_code, step(report, 6)[0]) == (6, "refuted")
    assert f"refers to entry {received}, which is RECEIVED" in report.verdict
    assert referring(queued).exit_code == 0
    data = (log / "tile/entries/000").read_bytes()
    (log / "tile/entries/000").write_bytes(data.replace(entries[queued], entries[queued][:-1] + b"\0"))
    assert referring_again(log, key, old).exit_code == 6
    # The tile altered with the entry: each fits the other, but not what the old root proves.
    tile = (log / "tile/0/000").read_bytes()
    other = leaf_hash(entries[queued][:-1] + b"\0")
    (log / "tile/0/000").write_bytes(tile.replace(leaf_hash(entries[queued]), other))
    assert referring_again(log, key, old).exit_code == 6
    (log / "tile/0/000").write_bytes(tile)
    (log / "tile/entries/000").unlink()
    report = referring_again(log, key, old)
    assert (report.exit_code, step(report, 6)[0]) == (7, "not checked")


def referring_again(log: Path, key: VerifierKey, old: Callable[[int], Outside]) -> Report:
    return verify_since(log, old=old(700), key=key)


def test_an_old_checkpoint_that_says_nothing_here_is_refused(
    big: Path, key: VerifierKey, signer: Ed25519Signer, entries: list[bytes]
) -> None:
    other = sign_checkpoint(Checkpoint(origin="bee.example/log/1", size=5, root=bytes(32)), signer)
    for data in (b"", b"nonsense", other.encode(), sign([], signer).encode(), b"\xff"):
        with pytest.raises(RefusedError, match=r"^(old|MALFORMED|checkpoint|neither|tlog)"):
            verify_since(big, old=Outside(name="old", data=data), key=key)


def test_what_is_answered_twice_in_the_new_part_is_refuted(
    log: Path, key: VerifierKey, entries: list[bytes], signer: Ed25519Signer, old: Callable[[int], Outside]
) -> None:
    index = next(i for i in range(900, SIZE) if parse_entry(entries[i]).body[1] == Kind.RECEIVED)
    again = replace(parse_entry(entries[index]), time_us=parse_entry(entries[-1]).time_us)
    made = rechain([*entries, again.encode()])
    write_log(log, made, sign(made, signer), key)
    report = verify_since(log, old=old(800), key=key)
    assert (report.exit_code, step(report, 8)[0]) == (6, "refuted")


def test_ten_thousand_new_entries_take_a_tenth_of_a_second(
    tmp_path: Path, key: VerifierKey, signer: Ed25519Signer
) -> None:
    store = TableStore()
    grown = Log.open(ORIGIN, store)
    grow(grown, store, 30_000)
    publish(tmp_path / "log", store, key, sign_checkpoint(grown.checkpoint(), signer))
    note = sign_checkpoint(Checkpoint(origin=ORIGIN, size=20_000, root=grown.root(20_000)), signer)
    times = []
    for _ in range(3):
        begun = time.process_time()
        report = verify_since(tmp_path / "log", old=Outside(name="old", data=note.encode()), key=key)
        times.append(time.process_time() - begun)
        assert report.exit_code == 0
    assert min(times) < 0.25, times  # 0.05 s on a quiet machine; bench prints the figure


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"previous": bytes(32)}, "its link is not the hash of the entry before"),
        ({"time_us": 1}, "its time is before that of the entry before"),
    ],
)
def test_the_first_new_entry_follows_the_last_old_one(
    fields: dict[str, Any],
    said: str,
    log: Path,
    key: VerifierKey,
    entries: list[bytes],
    signer: Ed25519Signer,
    old: Callable[[int], Outside],
) -> None:
    """The owner of the key signs a log whose new part begins anew; tiles, root and signature are right."""
    made = [*entries[:768], replace(parse_entry(entries[768]), **fields).encode()]
    for raw in entries[769:]:
        made.append(replace(parse_entry(raw), previous=leaf_hash(made[-1])).encode())
    write_log(log, made, sign(made, signer), key)
    report = verify_since(log, old=old(768), key=key)
    assert report.verdict == f"refuted at entry 768: {said}"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (Body(kind=Kind.EPOCH_CLOSED), "refuted at entry 901: entry 900 closed this epoch"),
        (Body(kind=Kind.GENESIS, digest=bytes(range(32))), "refuted at entry 900: GENESIS in the middle of a log"),
    ],
)
def test_what_may_stand_only_at_an_end_is_refuted_in_the_new_part(
    body: Body,
    said: str,
    log: Path,
    key: VerifierKey,
    entries: list[bytes],
    signer: Ed25519Signer,
    old: Callable[[int], Outside],
) -> None:
    heartbeat = Body(kind=Kind.HEARTBEAT).encode()
    made = [*entries[:900], replace(parse_entry(entries[900]), body=body.encode()).encode()]
    made += [replace(parse_entry(raw), body=heartbeat).encode() for raw in entries[901:]]
    made = rechain(made)
    write_log(log, made, sign(made, signer), key)
    assert verify_since(log, old=old(700), key=key).verdict == said


# ------------------------------------------------------------------ parts


def test_a_part_of_a_log_is_verified_as_a_part(
    big: Path, tmp_path: Path, key: VerifierKey, old: Callable[[int], Outside]
) -> None:
    part = make(big, tmp_path / "part.audit", 300, 600)
    folder = BundleFolder(part)
    assert folder.held(SIZE) == (256, 768)
    assert not folder.is_whole()
    report = verify_since(part, key=key, outside=[old(900)])
    assert (report.exit_code, report.verdict) == (7, "verified, of entries 256 to 767 alone")
    assert step(report, 3) == (
        "not checked",
        "512 entries, 256 to 767, each chained to the one before; 588 entries are not here, only their hashes",
    )
    assert [step(report, number)[0] for number in (4, 5, 7)] == ["ok"] * 3
    whole = make(big, tmp_path / "whole.audit")
    assert verify_since(whole, key=key, outside=[old(900)]).exit_code == 0  # control


def test_the_new_part_alone_is_all_that_is_needed_since_an_old_checkpoint(
    big: Path, tmp_path: Path, key: VerifierKey, old: Callable[[int], Outside]
) -> None:
    part = make(big, tmp_path / "part.audit", 600)
    report = verify_since(part, old=old(900), key=key)
    assert (report.exit_code, report.verdict) == (0, "verified")
    part = make(big, tmp_path / "tight.audit", 900)
    report = verify_since(part, old=old(900), key=key)
    assert (report.exit_code, step(report, 6)[0]) == (7, "not checked")
    assert "refer to entries that are not here" in step(report, 6)[1]
    report = verify_since(part, old=old(700), key=key)  # control: entries 700 to 767 are not in it
    assert (report.exit_code, report.verdict) == (7, "verified, of entries 768 to 1,099 alone")


@pytest.mark.parametrize("name", ["tile/0/000", "tile/0/004.p/76", "tile/1/000.p/4", "tile/entries/001"])
def test_each_tile_of_a_part_is_checked(name: str, big: Path, tmp_path: Path, key: VerifierKey) -> None:
    members = members_of(make(big, tmp_path / "part.audit", 300, 600))
    data = members[name]
    for place in (3, len(data) // 2, len(data) - 1):
        members[name] = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        report = verify_since(put(tmp_path / "x.audit", members), key=key)
        assert report.exit_code == 6, (name, place)


@pytest.mark.parametrize("missing", ["tile/0/000", "tile/1/000.p/4", "tile/entries/001", "checkpoint", "log.vkey"])
def test_a_bundle_without_what_it_must_hold_is_refuted(
    missing: str, big: Path, tmp_path: Path, key: VerifierKey
) -> None:
    members = members_of(make(big, tmp_path / "whole.audit"))
    del members[missing]
    write = put if missing == "checkpoint" else lambda path, rest: remake(path, rest, 0, SIZE)
    path = write(tmp_path / "x.audit", members)
    code, told = run(path, "--key", str(key))
    assert code == 6
    assert missing in json.dumps(told)


def run(path: Path, *words: str) -> tuple[int, dict[str, object]]:
    command = [sys.executable, "-m", "audit.cli", "verify", "--json", str(path), *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("evil", b""),
        ("tile/0/999", bytes(8192)),
        ("tile/7/000", bytes(8192)),
        ("tile/entries/009", b"x"),
        ("tile/0/000.p/9", bytes(9 * 32)),
        ("tile/0/003.p/3", bytes(3)),
        ("checkpoint2", b""),
        ("schema/other", b""),
        ("peers/x/checkpoint", b""),
        ("schema/kinds.tsv", b"x" * (2 << 20)),
        ("receipts/receipts.tsv", b"1\t2\ta/log/1\t3\n"),
    ],
)
def test_a_member_that_no_bundle_holds_is_named(
    name: str, data: bytes, big: Path, tmp_path: Path, key: VerifierKey
) -> None:
    members = members_of(make(big, tmp_path / "whole.audit"))
    path = remake(tmp_path / "x.audit", {**members, name: data}, 0, SIZE)
    code, told = run(path, "--key", str(key))
    assert code == 6
    assert name in str(told["verdict"])


def test_random_damage_never_ends_in_0_or_in_a_traceback(
    big: Path, tmp_path: Path, key: VerifierKey, old: Callable[[int], Outside]
) -> None:
    """One process a case is slow: the steps are called here as the command calls them, the command itself thrice."""
    good = make(big, tmp_path / "whole.audit").read_bytes()
    dice = random.Random(7)
    path = tmp_path / "x.audit"

    def judge(data: bytes) -> Report:
        path.write_bytes(data)
        try:
            folder = BundleFolder(path)
        except RefusedError as error:
            return refused(error)
        verify = verify_log if folder.is_whole() else verify_since
        return with_steps(verify(path, key=key, outside=[old(900)]), check_bundle(folder, None))

    assert judge(good).exit_code == 7  # control: keys and policy were compared with nobody's roster
    for case in range(60):
        place = dice.randrange(len(good))
        cut, flipped = good[:place], good[:place] + bytes([good[place] ^ 1 << dice.randrange(8)]) + good[place + 1 :]
        for data in (cut, flipped):
            report = judge(data)
            assert report.exit_code == 6, (case, place, report)
            assert "\n" not in report.verdict
    for data in (good[:9999], good[:100], good + b"x"):
        path.write_bytes(data)
        assert run(path)[0] == 6


def test_the_command_takes_an_older_checkpoint(
    big: Path, tmp_path: Path, key: VerifierKey, old: Callable[[int], Outside]
) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(old(1000).data)
    part = make(big, tmp_path / "part.audit", 1000)
    for path in (big, part):
        code, told = run(path, "--key", str(key), "--from-checkpoint", str(kept))
        assert str(told["verdict"]) == "verified"
        assert code == (0 if path == big else 7)  # of the bundle keys and policy were compared with nobody's roster
    kept.write_text("nonsense")
    assert run(big, "--key", str(key), "--from-checkpoint", str(kept))[0] == 6
    assert run(big, "--key", str(key), "--from-checkpoint", str(tmp_path / "none"))[0] == 5
