"""What is verified by column is what is verified entry by entry: the same run, whatever is in the files."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from audit.entry.entry import MAGIC, Body, Kind, Outcome, genesis_previous, leaf_hash
from audit.tiles.tile_names import ENTRIES, encode_bundle, tile_name
from audit.tiles.tiles import TileFolder
from audit.verify.body_layout import learn
from audit.verify.entry_run import BODIES_STEP, ENTRIES_STEP, EntryRun, verify_run
from audit.verify.entry_run_fast import FEW, verify_bulk
from keys.signer import Ed25519Signer
from keys.varint import write_varint
from tests.audit.forge import chain, read_log, rechain, sign, write_log
from tests.audit.store import ORIGIN, START_US, digest, exchange_bodies, first_bodies
from tests.support.scale import SCALE

SIZE = 700  # two full bundles and a partial one
MUTANTS = 250 * SCALE


@pytest.fixture
def log(make_folder: Callable[[Path, int], Path], tmp_path: Path) -> Path:
    folder = make_folder(tmp_path / "log", SIZE)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def found(run: EntryRun) -> dict[str, Any]:
    """Return what a run says, in one order."""
    told = asdict(run)
    records = bytes(told.pop("answers"))
    told["answers"] = sorted(records[i : i + 16] for i in range(0, len(records), 16))
    return told


def both(folder: Path, size: int = SIZE) -> tuple[dict[str, Any], dict[str, Any]]:
    bundles = -(-size // 256)
    return found(verify_run(folder, size, 0, bundles)), found(verify_run(folder, size, 0, bundles, at_once=0))


def test_a_good_log_is_verified_by_column_and_the_walk_says_the_same(log: Path) -> None:
    assert verify_bulk(TileFolder(log), [(0, 256), (1, 256), (2, SIZE - 512)], None) is not None
    fast, slow = both(log)
    assert not fast["findings"]
    assert fast == slow


def test_whatever_is_changed_in_the_files_both_say_the_same(log: Path) -> None:
    dice = random.Random(7)
    names = [name for name in TileFolder(log).names() if name.startswith(("tile/entries/", "tile/0/"))]
    refuted = 0
    for _ in range(MUTANTS):
        path = log / dice.choice(names)
        good = path.read_bytes()
        at = dice.randrange(len(good))
        flip = good[:at] + bytes((good[at] ^ 1 << dice.randrange(8),)) + good[at + 1 :]
        path.write_bytes(dice.choice((flip, flip, good[:at], good + b"\0", good[:at] + good[at + 1 :], good[32:])))
        fast, slow = both(log)
        assert fast == slow
        refuted += bool(fast["findings"])
        path.write_bytes(good)
    assert refuted == MUTANTS


def test_whatever_is_changed_in_a_body_and_hashed_anew_both_say_the_same(log: Path, signer: Ed25519Signer) -> None:
    """The tiles fit, so that nothing but the rule of a body's kind, or a reference, can refuse it."""
    dice = random.Random(8)
    entries = read_log(log, SIZE)
    refuted = 0
    for _ in range(MUTANTS // 2):
        changed, at = list(entries), dice.randrange(SIZE)
        entry = bytearray(changed[at])
        offset = dice.randrange(52, len(entry))
        entry[offset] = dice.choice((entry[offset] ^ 1 << dice.randrange(8), 0, 0x80, 0xFF, 1))
        if dice.random() < 0.3:
            del entry[offset]
        changed[at] = bytes(entry)
        changed = rechain(changed) if len(entry) > 53 else changed
        write_log(log, changed, sign(changed, signer))
        fast, slow = both(log)
        assert fast == slow
        refuted += bool(fast["findings"]) or fast["stranger_count"] > 0
    assert refuted > MUTANTS // 20


@pytest.mark.parametrize(
    "edit",
    [
        lambda body: body[:-33] + b"\xba\x01\x21" + body[-31:],
        lambda body: body[:2] + b"\x28\x00" + body[4:],
        lambda body: body[:2] + b"\x28\x80" + body[4:],
        lambda body: b"\x08\x0b" + body[2:],
    ],
    ids=["length", "zero", "not-minimal", "other-kind"],
)
def test_one_odd_body_among_many_of_one_shape_is_found(
    edit: Callable[[bytes], bytes], tmp_path: Path, signer: Ed25519Signer
) -> None:
    """The layout was learned from the good ones of the same length, and admits none that is not as they are."""
    start = [body.encode() for body in first_bodies()]
    good = [
        Body(kind=Kind.CORRECTED, peer=3, bulletin_id=bytes([n] * 16), digest=digest(n)).encode() for n in range(1, 200)
    ]
    entries = chain([*start, *good])
    assert both(write_log(tmp_path / "log", entries, sign(entries, signer)), len(entries))[0]["findings"] == []
    bad = [*good[:150], edit(good[150]), *good[151:]]
    entries = chain([*start, *bad])
    fast, slow = both(write_log(tmp_path / "log", entries, sign(entries, signer)), len(entries))
    assert fast == slow
    assert [(step, entry) for step, entry, _ in fast["findings"]] == [(BODIES_STEP, 154)]


def test_a_reference_by_column_to_the_wrong_kind_is_found(tmp_path: Path, signer: Ed25519Signer) -> None:
    bodies = first_bodies()
    while len(bodies) < 500:
        bodies += exchange_bodies(len(bodies), len(bodies))
    entries = chain(bodies)
    assert not both(write_log(tmp_path / "log", entries, sign(entries, signer)), len(entries))[0]["findings"]
    queued = max(i for i, body in enumerate(bodies) if body.kind == Kind.QUEUED)
    for target in (queued - 2, queued, queued + 1):  # a heartbeat, itself, one that comes after
        changed = list(bodies)
        raw = bodies[queued].encode()
        old = b"\xa0\x01" + bytes((queued - 1 & 0x7F | 0x80, queued - 1 >> 7))
        assert raw.count(old) == 1
        new = b"\xa0\x01" + bytes((target & 0x7F | 0x80, target >> 7))
        entries = chain([*changed[:queued], raw.replace(old, new), *changed[queued + 1 :]])
        fast, slow = both(write_log(tmp_path / "log", entries, sign(entries, signer)), len(entries))
        assert fast == slow
        assert [(step, entry) for step, entry, _ in fast["findings"]] == [(BODIES_STEP, queued)]


def test_many_failed_readings_are_verified_by_column_and_name_what_was_opened(
    tmp_path: Path, signer: Ed25519Signer
) -> None:
    bodies = first_bodies()
    while len(bodies) < 500:
        bodies += exchange_bodies(len(bodies), len(bodies))
    opened = [i for i, body in enumerate(bodies) if body.kind == Kind.OPENED]
    failed = [
        bodies[i]._replace(kind=Kind.READ_FAILED, outcome=Outcome.SIGNER_UNKNOWN, records=b"", refers_to=i)
        for i in opened
    ]
    again = [bodies[i]._replace(refers_to=i) for i in opened]
    entries = chain([*bodies, *failed, *again])
    fast, slow = both(write_log(tmp_path / "good", entries, sign(entries, signer)), len(entries))
    assert fast == slow
    assert fast["findings"] == []
    failed[5] = failed[5]._replace(refers_to=opened[5] - 1)
    entries = chain([*bodies, *failed, *again])
    fast, slow = both(write_log(tmp_path / "bad", entries, sign(entries, signer)), len(entries))
    assert fast == slow
    message = f"READ_FAILED refers to entry {opened[5] - 1}, which is RECEIVED"
    assert fast["findings"] == [(BODIES_STEP, len(bodies) + 5, message)]


def spoil(entries: list[bytes], at: int, offset: int, data: bytes) -> list[bytes]:
    """Overwrite bytes of one entry, and chain what follows to it."""
    out = [*entries[:at], entries[at][:offset] + data + entries[at][offset + len(data) :]]
    for entry in entries[at + 1 :]:
        out.append(entry[:20] + leaf_hash(out[-1]) + entry[52:])
    return out


@pytest.mark.parametrize("kind", ["many of one kind", "few"])
@pytest.mark.parametrize(
    ("offset", "data", "words"),
    [
        (0, b"exl2", "begins with"),
        (4, (151).to_bytes(8, "big"), "its index is"),
        (12, bytes(8), "its time is before"),
        (20, bytes(32), "its link is not"),
    ],
    ids=["magic", "index", "time", "link"],
)
def test_one_odd_head_among_many_good_ones_is_found(
    offset: int, data: bytes, words: str, kind: str, tmp_path: Path, signer: Ed25519Signer
) -> None:
    """Everything else fits: tiles, root and signature are made for what is there."""
    beats = [Body(kind=Kind.HEARTBEAT)] * 200 if kind != "few" else []
    bodies = [*first_bodies(), *beats, *exchange_bodies(1, 4 + len(beats)), *beats]
    while len(bodies) < 80:
        bodies += exchange_bodies(len(bodies), len(bodies))
    entries = chain(bodies)
    at = 150 if beats else 7
    bad = spoil(entries, at, offset, data if offset != 4 else (at + 1).to_bytes(8, "big"))
    assert both(write_log(tmp_path / "good", entries, sign(entries, signer)), len(entries))[0]["findings"] == []
    fast, slow = both(write_log(tmp_path / "log", bad, sign(bad, signer)), len(bad))
    assert fast == slow
    assert [(step, entry) for step, entry, _ in fast["findings"]] == [(ENTRIES_STEP, at)]
    assert words in fast["findings"][0][2]


def test_an_entry_beyond_the_limit_is_found_though_its_body_is_canonical(tmp_path: Path, signer: Ed25519Signer) -> None:
    """No rule admits so long a body: it must be the limit that is told, not a body that is not understood."""
    bodies = [body.encode() for body in [*first_bodies(), *[Body(kind=Kind.HEARTBEAT)] * 100]]
    bodies[50] = b"\x08\x20\xda\x01" + write_varint(4096) + bytes(4096)
    link, entries = genesis_previous(ORIGIN), list[bytes]()
    for index, body in enumerate(bodies):
        entries.append(struct.pack(">4sQQ32s", MAGIC, index, START_US, link) + body)
        link = leaf_hash(entries[-1])
    fast, slow = both(write_log(tmp_path / "log", entries, sign(entries, signer)), len(entries))
    assert fast == slow
    assert "length of 4154 does not fit" in fast["findings"][0][2]


def test_a_reference_by_column_to_a_later_entry_of_the_right_kind_is_found(
    tmp_path: Path, signer: Ed25519Signer
) -> None:
    bodies = first_bodies()
    while len(bodies) < 500:
        bodies += exchange_bodies(len(bodies), len(bodies))
    queued = [i for i, body in enumerate(bodies) if body.kind == Kind.QUEUED][-3]
    bodies[queued] = bodies[queued]._replace(refers_to=queued + 7)
    assert bodies[queued + 7].kind == Kind.PUBLISHED
    entries = chain(bodies)
    fast, slow = both(write_log(tmp_path / "log", entries, sign(entries, signer)), len(entries))
    assert fast == slow
    assert [(step, entry) for step, entry, _ in fast["findings"]] == [(BODIES_STEP, queued)]


def test_a_layout_admits_what_it_was_learned_from_and_nothing_with_another_byte_in_a_fixed_place() -> None:
    entries = [
        bytes(52) + Body(kind=Kind.QUEUED, refers_to=300 + n, count=1 << 63 | n, **_lane(n)).encode()
        for n in range(FEW)
    ]
    layout = learn(entries[0], 52)
    assert layout.admits(b"".join(entries))
    assert layout.targets(b"".join(entries)).tolist() == [300 + n for n in range(FEW)]
    for offset, _ in layout.fixed:
        other = bytearray(entries[3])
        other[offset] ^= 0x41
        assert not layout.admits(b"".join((*entries[:3], bytes(other), *entries[4:])))
    for offset, allowed in layout.numbers:
        for byte in range(256):
            other = bytearray(entries[3])
            other[offset] = byte
            assert layout.admits(b"".join((*entries[:3], bytes(other)))) == (byte in allowed)


def _lane(number: int) -> dict[str, Any]:
    return {
        "peer": 1 << 31 | number,
        "bulletin_id": bytes(15) + b"\1",
        "dispatch_digest": digest(number, 1),
        "delivery_digest": digest(number, 2),
    }


@pytest.mark.parametrize("change", ["last entry longer", "first entry longer", "last entry twice", "one byte more"])
def test_what_frames_the_entries_is_checked_though_no_hash_covers_it(change: str, log: Path) -> None:
    path = log / tile_name(ENTRIES, 1, 256)
    good, last = path.read_bytes(), TileFolder(log).entries(1, 256)[-1]
    framed = len(last).to_bytes(2, "big")
    changed = {
        "last entry longer": good[: -len(last) - 2] + (len(last) + 1).to_bytes(2, "big") + last,
        "first entry longer": bytes((good[0], good[1] + 1)) + good[2:],
        "last entry twice": good + framed + last,
        "one byte more": good + b"\0",
    }
    assert good.endswith(framed + last)
    path.write_bytes(changed[change])
    fast, slow = both(log)
    assert fast == slow
    assert fast["findings"]


def test_a_bundle_of_another_width_is_left_to_the_walk(log: Path) -> None:
    """A log that grew while it was read has wider files; the walk takes what it needs of them."""
    tiles = TileFolder(log)
    entries = tiles.entries(2, SIZE - 512)
    shorter = SIZE - 10
    assert verify_bulk(tiles, [(2, shorter - 512)], None) is None
    assert not verify_run(log, shorter, 0, 3).findings
    (log / tile_name(ENTRIES, 2, SIZE - 512)).write_bytes(encode_bundle(entries) + b"\0")
    assert not verify_run(log, shorter, 0, 3).findings  # nothing of it was needed
    assert verify_run(log, SIZE, 0, 3).findings
