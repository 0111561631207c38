"""One small real log, signed and published, copied afresh for each test that alters it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.log.log import Log
from audit.log.publisher import publish
from audit.note.checkpoint import VerifierKey, sign_checkpoint
from audit.verify.external_checkpoints import ExternalCheckpoint
from keys.identity import Usage
from keys.signer import Ed25519Signer
from tests.audit.big_log import SIZE
from tests.audit.forge import read_log, sign
from tests.audit.store import ORIGIN, TableStore, grow

SEED = bytes(range(32))


@pytest.fixture(scope="session")
def signer() -> Ed25519Signer:
    return Ed25519Signer.from_seed(Usage.LOG, "HK-SB", SEED)


@pytest.fixture(scope="session")
def key(signer: Ed25519Signer) -> VerifierKey:
    return VerifierKey(name=ORIGIN, key=signer.key.public_key)


@pytest.fixture(scope="session")
def make_folder(signer: Ed25519Signer, key: VerifierKey) -> Callable[[Path, int], Path]:
    """Return a function that makes a log folder of a given size."""

    def make(folder: Path, size: int) -> Path:
        store = TableStore()
        log = Log.open(ORIGIN, store)
        grow(log, store, size)
        publish(folder, store, key, sign_checkpoint(log.checkpoint(), signer))
        return folder

    return make


@pytest.fixture(scope="session")
def template(make_folder: Callable[[Path, int], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("log") / "log", 300)


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    """Return a writable copy of a log of 300 entries: one full bundle and a partial one."""
    copy = tmp_path / "log"
    shutil.copytree(template, copy)
    for path in copy.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return copy


@pytest.fixture(scope="module")
def big(make_folder: Callable[[Path, int], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("since") / "log", SIZE)


@pytest.fixture(scope="module")
def entries(big: Path) -> list[bytes]:
    return read_log(big, SIZE)


@pytest.fixture(scope="module")
def old(entries: list[bytes], signer: Ed25519Signer) -> Callable[[int], ExternalCheckpoint]:
    def made(size: int) -> ExternalCheckpoint:
        return ExternalCheckpoint(name=f"old-{size}", data=sign(entries[:size], signer).encode())

    return made
