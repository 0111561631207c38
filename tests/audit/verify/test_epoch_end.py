"""EPOCH_CLOSED is judged: it is the last entry, and what it says was cosigned is the log's own past."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.entry.entry import Body, Kind
from audit.note.checkpoint import VerifierKey
from audit.verify.external_checkpoints import ExternalCheckpoint
from audit.verify.incremental import verify_incremental
from audit.verify.verify import verify_log
from keys.signer import Ed25519Signer
from tests.audit.forge import chain, root, sign, write_log
from tests.audit.store import first_bodies

BEAT = Body(kind=Kind.HEARTBEAT)


def closed(folder: Path, key: VerifierKey, signer: Ed25519Signer, last: Body) -> Path:
    entries = chain([*first_bodies(), BEAT, BEAT, last])
    write_log(folder, entries, sign(entries, signer), key)
    return folder


def seen(size: int) -> bytes:
    return root(chain([*first_bodies(), BEAT, BEAT])[:size])


def test_a_log_that_was_closed_in_order_says_so(tmp_path: Path, key: VerifierKey, signer: Ed25519Signer) -> None:
    size = len(first_bodies()) + 3
    last = Body(kind=Kind.EPOCH_CLOSED, count=size - 2, digest=seen(size - 2))
    report = verify_log(closed(tmp_path / "log", key, signer, last), key=key)
    assert report.exit_code == 7  # nobody outside has seen it
    told = f"closed in order by entry {size - 1}, {size - 2} entries of it cosigned by then"
    assert told in report.steps[7].detail
    entries = chain([*first_bodies(), BEAT, BEAT])
    kept = ExternalCheckpoint(name="kept", data=sign(entries, signer).encode())
    again = verify_incremental(tmp_path / "log", old=kept, key=key)
    assert told in again.steps[7].detail
    plain = verify_log(closed(tmp_path / "plain", key, signer, Body(kind=Kind.EPOCH_CLOSED)), key=key)
    assert f"closed in order by entry {size - 1}" in plain.steps[7].detail
    going_on = verify_log(closed(tmp_path / "on", key, signer, BEAT), key=key)  # control
    assert "closed" not in going_on.steps[7].detail


@pytest.mark.parametrize(
    ("back", "digest", "said"),
    [(2, bytes(32), "names another root than the log's at size"), (0, b"", "names size"), (-5, b"", "names size")],
)
def test_a_closing_that_names_what_the_log_never_was_refutes_it(
    back: int, digest: bytes, said: str, tmp_path: Path, key: VerifierKey, signer: Ed25519Signer
) -> None:
    size = len(first_bodies()) + 3
    last = Body(kind=Kind.EPOCH_CLOSED, count=size - back, digest=digest or seen(size - 1))
    report = verify_log(closed(tmp_path / "log", key, signer, last), key=key)
    assert report.verdict.startswith(f"refuted at entry {size - 1}: EPOCH_CLOSED {said}")
    entries = chain([*first_bodies(), BEAT, BEAT])
    kept = ExternalCheckpoint(name="kept", data=sign(entries, signer).encode())
    assert said in verify_incremental(tmp_path / "log", old=kept, key=key).verdict
