"""What a witness does in a second on one core, and what the post-quantum line adds."""

from __future__ import annotations

import time
from hashlib import sha256
from pathlib import Path
from statistics import median

from audit.log.lock_factory import create_witness_state
from audit.note.checkpoint import Checkpoint, VerifierKey, sign_checkpoint
from audit.tree.merkle import Tree
from audit.witness.request import format_request
from audit.witness.witness import Witness
from bench.log_files import SIGNER
from bench.setting import Setting
from bench.table import LESS, Row, percentile
from bench.verify_log import ORIGIN
from keys.identity import Usage
from keys.signer import Ed25519Signer, MlDsa44Signer, Signer

NUMBER, STEP, START = 2000, 13, 100_000  # requests, entries between them, size of the first


def measure(setting: Setting) -> list[Row]:
    """Ask one witness for cosignatures of a growing log, each durable before it is given."""
    requests = _requests()
    ed25519 = Ed25519Signer.from_seed(Usage.WITNESS, "BENCH", bytes(32))
    mldsa44 = MlDsa44Signer.from_seed(Usage.WITNESS, "BENCH", bytes(32))
    plain, took = _witness(setting.folder / "plain.db", (ed25519,), requests)
    both, _ = _witness(setting.folder / "both.db", (ed25519, mldsa44), requests[: NUMBER // 4])
    rate, p99 = 1 / plain, percentile(took, 0.99) * 1e3
    return [
        Row(what="witness, cosignatures a second and core", product=rate, share=rate, share_unit="/s", must=2000,
            aim=3000, p50_ms=median(took) * 1e3, p99_ms=p99, cpu_us=plain * 1e6,
            note="by CPU time; parse, verify signature and proof, SQLite FULL, sign"),
        Row(what="witness, p99", unit="ms", product=p99, share=p99, share_unit="ms", must=2, aim=1, better=LESS,
            note="wall time, flush included"),
        Row(what="witness with an ML-DSA-44 line / without, CPU", unit="µs", product=both * 1e6, bound=plain * 1e6,
            share=both / plain, must=5, aim=3, better=LESS),
    ]  # fmt: skip


def _requests() -> list[bytes]:
    tree = Tree(0, lambda *_: None, lambda *_: [])
    for number in range(START + NUMBER * STEP):
        tree.append(sha256(number.to_bytes(8, "big")).digest())
    sizes = range(START, START + NUMBER * STEP, STEP)
    requests, old = [], 0
    for size in sizes:
        proof = tree.consistency(old, size) if old else []
        note = sign_checkpoint(Checkpoint(origin=ORIGIN, size=size, root=tree.root(size)), SIGNER)
        requests.append(format_request(old, proof, note))
        old = size
    return requests


def _witness(path: Path, signers: tuple[Signer, ...], requests: list[bytes]) -> tuple[float, list[float]]:
    """Return CPU seconds a request, and the wall seconds of each."""
    path.unlink(missing_ok=True)
    key = VerifierKey(name=ORIGIN, key=SIGNER.key.public_key)
    state = create_witness_state(f"sqlite:{path}")
    witness = Witness(
        name="w.bench.example/witness",
        signers=signers,
        state=state,
        log_key_of=lambda origin: key if origin == ORIGIN else None,
        clock_s=lambda: int(time.time()),
    )
    took = []
    began = time.process_time()
    for request in requests:
        asked = time.perf_counter()
        witness.add_checkpoint(request)
        took.append(time.perf_counter() - asked)
    return (time.process_time() - began) / len(requests), took
