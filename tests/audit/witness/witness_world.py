"""A log that grows in memory, its notes and requests, and witnesses with real keys and real files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from audit.log.sqlite_witness import SqliteWitnessState
from audit.note.checkpoint import Checkpoint, VerifierKey, sign_checkpoint
from audit.note.cosignature import CosignerKey, add_lines, cosign, cosigner_key
from audit.note.policy import WitnessPolicy, default_quorum
from audit.tree.merkle import Tree
from audit.witness.request import format_request
from audit.witness.witness import Witness, WitnessRefusal
from keys.identity import Usage
from keys.signer import Ed25519Signer, MlDsa44Signer, Signer

ORIGIN = "hk-sb.exercise.example/log/1"
SECOND = ORIGIN[:-1] + "2"  # the log of the next epoch
TIME = 1_795_000_060


@dataclass(slots=True)
class GrowingLog:
    """A tree with a key; a *branch* of it is another with the same beginning, or none."""

    origin: str = ORIGIN
    signer: Signer = field(default_factory=lambda: Ed25519Signer.from_seed(Usage.LOG, "HK-SB", bytes(range(32))))
    tree: Tree = field(default_factory=lambda: Tree(0, lambda level, index: None, lambda first, count: []))

    @property
    def key(self) -> VerifierKey:
        return VerifierKey(name=self.origin, key=self.signer.key.public_key)

    def grow(self, count: int, salt: str = "") -> GrowingLog:
        for _ in range(count):
            self.tree.append(sha256(f"{salt}{self.tree.size}".encode()).digest())
        return self

    def checkpoint(self, size: int | None = None) -> Checkpoint:
        size = self.tree.size if size is None else size
        return Checkpoint(origin=self.origin, size=size, root=self.tree.root(size))

    def note(self, size: int | None = None) -> str:
        return sign_checkpoint(self.checkpoint(size), self.signer)

    def request(self, old: int, size: int | None = None) -> bytes:
        size = self.tree.size if size is None else size
        proof = self.tree.consistency(old, size) if 0 < old < size else []
        return format_request(old, proof, self.note(size))


def ed25519(number: int) -> Ed25519Signer:
    return Ed25519Signer.from_seed(Usage.WITNESS, "HK-IMMD", bytes([number]) * 32)


def mldsa44(number: int) -> MlDsa44Signer:
    return MlDsa44Signer.from_seed(Usage.WITNESS, "HK-IMMD", bytes([number, 1]) * 16)


def make_witness(
    path: Path,
    *keys: VerifierKey,
    number: int = 1,
    signers: Sequence[Signer] = (),
    clock_s: Callable[[], int] = lambda: TIME,
    **hooks: Callable[[str], object],
) -> Witness:
    """Return a witness of these logs; its file is made where there is none."""
    known = {key.name: key for key in keys}
    return Witness(
        name=f"w{number}.example/witness",
        signers=tuple(signers) or (ed25519(number),),
        state=SqliteWitnessState(path) if path.exists() else SqliteWitnessState.create(path),
        log_key_of=known.get,
        clock_s=clock_s,
        **hooks,  # type: ignore[arg-type]
    )


def policy(count: int, quorum: int | None = None, *, second: bool = False) -> WitnessPolicy:
    keys = tuple(key(number) for number in range(1, count + 1))
    others = tuple(key(number, second=True) for number in range(1, count + 1)) if second else ()
    return WitnessPolicy(quorum=default_quorum(count) if quorum is None else quorum, witnesses=keys, mldsa44=others)


def key(number: int, *, second: bool = False) -> CosignerKey:
    signer: Signer = mldsa44(number) if second else ed25519(number)
    return cosigner_key(f"w{number}.example/witness", signer.key.public_key)


def cosigned(note: str, checkpoint: Checkpoint, times: dict[int, int], *, second: bool = False) -> str:
    """Return the note with cosignatures by witnesses of these numbers at these times."""
    for number, time in times.items():
        for signer in (ed25519(number), mldsa44(number))[: 2 if second else 1]:
            note = add_lines(note, cosign(checkpoint, f"w{number}.example/witness", signer, time))
    return note


def refused(witness: Witness, body: bytes) -> WitnessRefusal:
    with pytest.raises(WitnessRefusal) as found:
        witness.add_checkpoint(body)
    return found.value


def branch(size: int, at: int) -> GrowingLog:
    """Return another log by the same key, equal up to entry *at*."""
    return GrowingLog().grow(at).grow(size - at, salt="branch")
