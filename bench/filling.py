"""A large log quickly: entries as a sender's node writes them, chained, hashed and stored, without the acts."""

from __future__ import annotations

import os
from pathlib import Path

from audit.entry.entry import Body, Kind, Role
from audit.log.lock import check_start
from audit.log.lock_factory import open_lock
from audit.log.log import Log, Stage
from exchange.node.node import now_us
from exchange.store.factory import open_store
from exchange.store.home_paths import Paths

GROUP = 7 * 1000  # entries a transaction: a thousand bulletins to three, each receipted


def fill(home: Path, origin: str, size: int) -> int:
    """Append until the log of a stopped node has *size* entries, and move its lock there; give the size."""
    store, lock = open_store(Paths(home=home).store), open_lock(Paths(home=home).lock)
    try:
        log = Log.open(origin, store.reader())
        check_start(log, lock, store.reader(), store.name)
        before = log.size
        while log.size < size:
            stage = log.begin(now_us())
            for _ in range(min(GROUP, size - log.size + 6) // 7):
                _bulletin(stage)
            with store.transaction() as rows:
                stage.write(rows)
            log.commit(stage)
        lock.compare_and_swap(origin, before, log.checkpoint())
        return log.size
    finally:
        store.close()
        lock.close()


def _bulletin(stage: Stage) -> None:
    """PUBLISHED, three times QUEUED, three times RECEIPT_RECORDED."""
    noise = os.urandom(224)
    one, two, three, four = noise[:32], noise[32:64], noise[64:96], noise[96:128]
    index = stage.add(
        Body(
            kind=Kind.PUBLISHED,
            actor=noise[128:144],
            actor_epoch=1,
            role=Role.AUTHOR,
            bulletin_id=noise[144:160],
            dispatch_digest=one,
            statement_digest=two,
            retain_until_day=21_000,
            retention_rule=1,
            key_id=three,
        )
    )
    queued = [
        stage.add(
            Body(
                kind=Kind.QUEUED,
                peer=peer,
                bulletin_id=noise[144:160],
                dispatch_digest=one,
                delivery_digest=_lane(four, peer),
                refers_to=index,
            )
        )
        for peer in (2, 3, 4)
    ]
    for peer, place in zip((2, 3, 4), queued, strict=True):
        stage.add(
            Body(
                kind=Kind.RECEIPT_RECORDED,
                peer=peer,
                bulletin_id=noise[144:160],
                dispatch_digest=one,
                delivery_digest=_lane(four, peer),
                peer_index=index,
                peer_leaf_hash=noise[160:192],
                peer_size=index + 8,
                peer_root=noise[192:224],
                refers_to=place,
            )
        )


def _lane(digest: bytes, peer: int) -> bytes:
    return digest[:-1] + bytes((peer,))
