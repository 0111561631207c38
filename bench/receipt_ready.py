"""How long an append takes until its receipt is ready: durable, read back, locked, signed, proven.

Beside it, in turn: one write of as many bytes to a file and ``fdatasync``. The product flushes twice, the log's database
and the lock, so its bound is two such flushes; the first row takes off one only.
"""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path
from statistics import median

from audit.entry.entry import Body, Kind
from audit.log.lock import Lock, check_start
from audit.log.lock_factory import open_lock
from audit.log.log import Log
from audit.note.checkpoint import sign_checkpoint
from bench.federation import SENDER
from bench.setting import Setting
from bench.table import LESS, Row, percentile
from exchange.node.garbage import collect_rarely
from exchange.node.node import now_us
from exchange.records.receipt import make_receipt
from exchange.store.factory import open_store
from exchange.store.home_paths import Paths
from exchange.store.store import NodeStore
from keys.signer import Signer

SINGLE, GROUPS, BATCH = 300, 12, 1000
ENTRY = 300  # bytes, roughly


def measure(setting: Setting) -> list[Row]:
    """Append to a stopped node's database and lock as its writer does."""
    made = setting.federation("ready")
    home = made.home(SENDER)
    origin = f"{SENDER.lower()}.bench.example/log/1"
    signer = made.keys[SENDER].node.log
    thresholds = gc.get_threshold()
    store, lock = open_store(Paths(home=home).store), open_lock(Paths(home=home).lock)
    try:
        log = Log.open(origin, store.reader())
        check_start(log, lock, store.reader(), store.name)
        collect_rarely()  # as a node does when it begins
        ones, flushes = [], []
        for _ in range(SINGLE):
            flushes.append(_flush(setting.folder / "flushed", ENTRY))
            ones.append(_append(log, store, lock, signer, 1))
        many = [_append(log, store, lock, signer, BATCH, receipts=False) for _ in range(GROUPS)]
        proven = [_append(log, store, lock, signer, BATCH) for _ in range(GROUPS // 3)]
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        store.close()
        lock.close()
    beyond = [(one - flush) * 1e3 for one, flush in zip(ones, flushes, strict=True)]
    p50, rate = median(beyond), BATCH / median(many)
    said = f"a flush takes {median(flushes) * 1e3:.2f} ms here; two are part of an append"
    return [
        Row(what="append ready to be receipted, beyond the disk's flush", unit="ms", product=median(ones) * 1e3,
            bound=median(flushes) * 1e3, share=p50, share_unit="ms", must=0.5, aim=0.3, better=LESS, p50_ms=p50,
            p99_ms=percentile(beyond, 0.99), note=said),
        Row(what=f"entries ready to be receipted, {BATCH:,} a group", product=rate, share=rate, share_unit="/s",
            must=100_000, aim=200_000, note=f"{BATCH / median(proven):,.0f}/s with each one's receipt made, too"),
    ]  # fmt: skip


def _append(log: Log, store: NodeStore, lock: Lock, signer: Signer, number: int, *, receipts: bool = True) -> float:
    """Run the writing order to where the answers go out; give the seconds."""
    bodies = [_body() for _ in range(number)]
    began = time.perf_counter()
    before, stage = log.size, log.begin(now_us())
    for body in bodies:
        stage.add(body)
    with store.transaction() as rows:
        stage.write(rows)
    stage.verify_read_back(store.reads())
    log.commit(stage)
    checkpoint = log.checkpoint()
    lock.compare_and_swap(checkpoint.origin, before, checkpoint)
    note = sign_checkpoint(checkpoint, signer)
    for index, entry, _ in stage.rows() if receipts else ():
        make_receipt(entry, index, log.inclusion(index, checkpoint.size), note)
    return time.perf_counter() - began


def _body() -> Body:
    noise = os.urandom(208)
    return Body(
        kind=Kind.RECEIVED,
        peer=2,
        bulletin_id=noise[:16],
        dispatch_digest=noise[16:48],
        delivery_digest=noise[48:80],
        opening=noise[80:112],
        key_id=noise[112:144],
        digest=noise[144:176],
    )


def _flush(path: Path, size: int) -> float:
    data = os.urandom(size)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        began = time.perf_counter()
        os.write(descriptor, data)
        os.fdatasync(descriptor)
        return time.perf_counter() - began
    finally:
        os.close(descriptor)
