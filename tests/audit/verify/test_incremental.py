"""A log verified from an older checkpoint on, and as far as a bundle's entries go: as much is refuted, less is read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit.entry.body import Body, parse_body
from audit.entry.entry import leaf_hash, parse_entry
from audit.entry.kinds import Kind
from audit.log.log import Log
from audit.log.publisher import publish
from audit.note.checkpoint import Checkpoint, VerifierKey, sign_checkpoint
from audit.verify.external_checkpoints import ExternalCheckpoint
from audit.verify.incremental import verify_incremental
from audit.verify.verdict import Report
from audit.verify.verify import verify_log
from keys.errors import RefusedError
from keys.signer import Ed25519Signer
from tests.audit.big_log import SIZE, step
from tests.audit.forge import rechain, root, sign, write_log
from tests.audit.store import ORIGIN, TableStore, grow
from tests.support.calls import counted


@pytest.fixture
def log(big: Path, tmp_path: Path) -> Path:
    shutil.copytree(big, tmp_path / "log")
    for path in (tmp_path / "log").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return tmp_path / "log"


def flip(path: Path, offset: int, bit: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= bit
    path.write_bytes(data)


@pytest.mark.parametrize("size", [1, 255, 256, 257, 511, 512, 700, 1024, 1025, 1099, 1100])
def test_from_any_older_checkpoint_on_an_honest_log_is_verified(
    size: int, big: Path, key: VerifierKey, old: Callable[[int], ExternalCheckpoint]
) -> None:
    report = verify_incremental(big, old=old(size), key=key)
    assert (report.exit_code, report.verdict, report.anchored) == (0, "verified", size)
    assert f"those before {size:,} are the ones that the old checkpoint proves" in step(report, 3)[1]


def test_without_an_old_checkpoint_it_agrees_with_the_whole_verification(
    big: Path, key: VerifierKey, old: Callable[[int], ExternalCheckpoint]
) -> None:
    whole, part = (each(big, key=key, external=[old(900)]) for each in (verify_log, verify_incremental))
    assert (whole.verdict, whole.exit_code) == (part.verdict, part.exit_code) == ("verified", 0)
    assert verify_incremental(big, old=old(900)).exit_code == 7  # the key was the log's own
    assert verify_incremental(big, key=key).verdict == "verified, end not anchored"


def test_entries_before_are_not_read_and_what_is_new_is(
    log: Path, key: VerifierKey, old: Callable[[int], ExternalCheckpoint]
) -> None:
    (log / "tile/entries/000").unlink()
    (log / "tile/entries/001").unlink()
    assert verify_incremental(log, old=old(800), key=key).exit_code == 0
    assert verify_log(log, key=key).exit_code == 6  # control
    (log / "tile/entries/003").unlink()
    report = verify_incremental(log, old=old(800), key=key)
    assert (report.exit_code, step(report, 3)[0]) == (6, "refuted")


@pytest.mark.parametrize(
    "name", ["tile/entries/003", "tile/entries/004.p/76", "tile/0/003", "tile/0/004.p/76", "tile/1/000.p/4"]
)
def test_a_changed_byte_in_what_is_new_is_refuted(
    name: str, log: Path, key: VerifierKey, old: Callable[[int], ExternalCheckpoint]
) -> None:
    size = len((log / name).read_bytes())
    good = (log / name).read_bytes()
    for offset in (0, 5, size // 2, size - 1):
        flip(log / name, offset)
        assert verify_incremental(log, old=old(700), key=key).exit_code == 6, offset
        (log / name).write_bytes(good)
    assert verify_incremental(log, old=old(700), key=key).exit_code == 0  # control


def test_another_history_is_refuted_though_its_own_key_signed_it(
    log: Path, key: VerifierKey, entries: list[bytes], signer: Ed25519Signer, old: Callable[[int], ExternalCheckpoint]
) -> None:
    changed = list(entries)
    entry = parse_entry(changed[300])
    changed[300] = entry.encode().replace(entry.body[-4:], bytes(4))
    forged = rechain(changed)
    assert root(forged) != root(entries)
    write_log(log, forged, sign(forged, signer), key)
    report = verify_incremental(log, old=old(700), key=key)
    assert (report.exit_code, step(report, 7)[0]) == (6, "refuted")
    assert "another history" in step(report, 7)[1]
    assert step(report, 3)[0] == "not checked"  # nothing is built on subtrees that no root proves
    assert verify_incremental(log, old=old(300), key=key).exit_code in (0, 6)  # control: before the change it agrees
    assert "another history" not in verify_incremental(log, old=old(300), key=key).verdict


def test_a_log_that_is_shorter_than_the_old_checkpoint_is_refuted(
    log: Path, key: VerifierKey, entries: list[bytes], signer: Ed25519Signer, old: Callable[[int], ExternalCheckpoint]
) -> None:
    write_log(log, entries[:600], sign(entries[:600], signer), key)
    report = verify_incremental(log, old=old(700), key=key)
    assert report.verdict == "refuted at entry 600: old-700: it commits to 700 entries; the log ends before entry 600"


def test_a_reference_to_an_old_entry_is_checked_against_the_entry_that_the_old_root_proves(
    log: Path, key: VerifierKey, entries: list[bytes], signer: Ed25519Signer, old: Callable[[int], ExternalCheckpoint]
) -> None:
    first = next(i for i in range(701, SIZE) if parse_entry(entries[i]).body[1] == Kind.RECEIPT_RECORDED)
    body = parse_entry(entries[first]).body
    queued = next(i for i in range(10, 200) if parse_entry(entries[i]).body[1] == Kind.QUEUED)
    received = next(i for i in range(10, 200) if parse_entry(entries[i]).body[1] == Kind.RECEIVED)

    def referring(target: int) -> Report:
        entry = parse_entry(entries[first])
        changed = replace(entry, body=parse_body(body)._replace(refers_to=target).encode()).encode()
        made = rechain([*entries[:first], changed, *entries[first + 1 :]])
        write_log(log, made, sign(made, signer), key)
        return verify_incremental(log, old=old(700), key=key)

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


def referring_again(log: Path, key: VerifierKey, old: Callable[[int], ExternalCheckpoint]) -> Report:
    return verify_incremental(log, old=old(700), key=key)


def test_an_old_checkpoint_that_says_nothing_here_is_refused(
    big: Path, key: VerifierKey, signer: Ed25519Signer, entries: list[bytes]
) -> None:
    other = sign_checkpoint(Checkpoint(origin="bee.example/log/1", size=5, root=bytes(32)), signer)
    for data in (b"", b"nonsense", other.encode(), sign([], signer).encode(), b"\xff"):
        with pytest.raises(RefusedError, match=r"^(old|MALFORMED|checkpoint|neither|tlog)"):
            verify_incremental(big, old=ExternalCheckpoint(name="old", data=data), key=key)


def test_what_is_answered_twice_in_the_new_part_is_refuted(
    log: Path, key: VerifierKey, entries: list[bytes], signer: Ed25519Signer, old: Callable[[int], ExternalCheckpoint]
) -> None:
    index = next(i for i in range(900, SIZE) if parse_entry(entries[i]).body[1] == Kind.RECEIVED)
    again = replace(parse_entry(entries[index]), time_us=parse_entry(entries[-1]).time_us)
    made = rechain([*entries, again.encode()])
    write_log(log, made, sign(made, signer), key)
    report = verify_incremental(log, old=old(800), key=key)
    assert (report.exit_code, step(report, 8)[0]) == (6, "refuted")


def test_ten_thousand_new_entries_cost_some_calls_each_and_the_old_ones_none(
    tmp_path: Path, key: VerifierKey, signer: Ed25519Signer
) -> None:
    store = TableStore()
    grown = Log.open(ORIGIN, store)
    grow(grown, store, 30_000)
    publish(tmp_path / "log", store, key, sign_checkpoint(grown.checkpoint(), signer))
    note = sign_checkpoint(Checkpoint(origin=ORIGIN, size=20_000, root=grown.root(20_000)), signer)
    with counted() as calls:
        report = verify_incremental(tmp_path / "log", old=ExternalCheckpoint(name="old", data=note.encode()), key=key)
    assert report.exit_code == 0
    print(f"{calls[0]} calls")
    assert calls[0] < 200_000  # a dozen for each new entry; with the old ones it were 360,000. bench takes the time


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
    old: Callable[[int], ExternalCheckpoint],
) -> None:
    """The owner of the key signs a log whose new part begins anew; tiles, root and signature are right."""
    made = [*entries[:768], replace(parse_entry(entries[768]), **fields).encode()]
    for raw in entries[769:]:
        made.append(replace(parse_entry(raw), previous=leaf_hash(made[-1])).encode())
    write_log(log, made, sign(made, signer), key)
    report = verify_incremental(log, old=old(768), key=key)
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
    old: Callable[[int], ExternalCheckpoint],
) -> None:
    heartbeat = Body(kind=Kind.HEARTBEAT).encode()
    made = [*entries[:900], replace(parse_entry(entries[900]), body=body.encode()).encode()]
    made += [replace(parse_entry(raw), body=heartbeat).encode() for raw in entries[901:]]
    made = rechain(made)
    write_log(log, made, sign(made, signer), key)
    assert verify_incremental(log, old=old(700), key=key).verdict == said
