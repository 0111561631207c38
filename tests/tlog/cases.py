"""Notes, proofs and logs, good ones and mutants of them, from a seed: what both verifiers are asked about."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from audit.note.checkpoint import Checkpoint, VerifierKey, verify_note
from audit.note.cosignature import CosignerKey, cosign, cosigner_key
from audit.note.policy import WitnessPolicy
from audit.tree.merkle import EMPTY_ROOT, Tree
from audit.tree.proof import verify_consistency, verify_inclusion
from audit.verify.verify import verify_log
from keys.errors import RefusedError
from keys.identity import Usage
from keys.signer import Ed25519Signer
from tests.audit import forge
from tests.audit.store import ORIGIN, first_bodies

NOW_S = 1_795_000_000
LOG = Ed25519Signer.from_seed(Usage.LOG, "HK-SB", bytes(range(32)))
KEY = VerifierKey(name=ORIGIN, key=LOG.key.public_key)
_SIGNERS = [Ed25519Signer.from_seed(Usage.WITNESS, f"W-{number}", bytes([number]) * 32) for number in range(1, 4)]
_NAMES = [f"w-{number}.exercise.example/witness" for number in range(1, 4)]
WITNESSES: tuple[CosignerKey, ...] = tuple(
    cosigner_key(name, signer.key.public_key) for name, signer in zip(_NAMES, _SIGNERS, strict=True)
)
POLICY = WitnessPolicy(quorum=2, witnesses=WITNESSES)
LEAVES = [sha256(number.to_bytes(4, "big")).digest() for number in range(700)]


@dataclass(slots=True, kw_only=True)
class Case:
    """One question."""

    kind: str
    request: list[Any]  # as tests/tlog/judge.py takes it
    ours: bool
    data: bytes = b""  # of a note, where that is what was altered
    odd_lengths: bool = False  # a hash has not 32 bytes
    change: str = ""  # what was done to a log
    step: int = 0  # that refuted it


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


# ---- notes


def notes(dice: random.Random, number: int) -> Iterator[Case]:
    """Yield checkpoints, most of them mutants, some of these signed anew."""
    for _ in range(number):
        size = dice.choice((0, 1, 7, 256, 1_000_037, (1 << 63) - 1, 1 << 63))
        body = f"{ORIGIN}\n{size}\n{text(dice.randbytes(32))}\n"
        if dice.random() < 0.4:
            body = _body_mutant(dice, body)
        note = f"{body}\n{_signature(body)}"
        for place in dice.sample(range(3), dice.randrange(4)):
            note += _cosignature(body, place)
        if dice.random() < 0.7:
            note = _note_mutant(dice, note)
        data = note.encode("utf-8", "surrogatepass")
        if dice.random() < 0.3:
            data = _bytes_mutant(dice, data)
        if dice.random() < 0.5:
            yield Case(kind="note", request=["note", str(KEY), text(data)], ours=_note_accepted(data), data=data)
        else:
            keys = [str(key) for key in WITNESSES]
            request = ["cosigned", str(KEY), keys, POLICY.quorum, text(data)]
            yield Case(kind="cosigned", request=request, ours=_note_accepted(data, POLICY), data=data)


def _note_accepted(data: bytes, policy: WitnessPolicy | None = None) -> bool:
    try:
        note = data.decode()
        verify_note(note, KEY)
        return policy is None or policy.judge(note).reached
    except (RefusedError, UnicodeDecodeError):
        return False


def _signature(body: str) -> str:
    raw = KEY.key_hash + LOG.sign(body.encode("utf-8", "surrogatepass"))
    return f"— {ORIGIN} {text(raw)}\n"


def _cosignature(body: str, place: int) -> str:
    """Cosign the body as it was meant, where it can be read at all."""
    lines = body.split("\n")
    try:
        checkpoint = Checkpoint(origin=lines[0], size=int(lines[1]), root=base64.b64decode(lines[2]))
        return cosign(checkpoint, _NAMES[place], _SIGNERS[place], NOW_S + place)
    except (ValueError, IndexError, RefusedError):
        return f"— {_NAMES[place]} {text(WITNESSES[place].key_hash + bytes(72))}\n"


def _body_mutant(dice: random.Random, body: str) -> str:
    origin, size, root, _ = body.split("\n")
    sizes = [f"0{size}", f"+{size}", f" {size}", f"{size} ", "-1", "", "1e3", "٣", "²", f"{size}0" * 3, hex(7)]
    roots = [root[:-1], root.rstrip("="), root.replace("+", "-").replace("/", "_"), root[:-2] + "B=", text(bytes(31))]
    return dice.choice(
        (
            f"{origin}\n{dice.choice(sizes)}\n{root}\n",
            f"{origin}\n{size}\n{dice.choice(roots)}\n",
            f"{origin}\n{size}\n{root}\nan extension line\n",
            f"{origin} \n{size}\n{root}\n",
            f"{origin}x\n{size}\n{root}\n",
            f"\n{origin}\n{size}\n{root}\n",
            f"{origin}\n{size}\n{root}\n\n",
            f"{origin}\r\n{size}\r\n{root}\r\n",
        )
    )


def _note_mutant(dice: random.Random, note: str) -> str:
    lines = note.split("\n")
    at, other = dice.randrange(len(lines)), dice.randrange(len(lines))
    last = lines[at]
    return dice.choice(
        (
            lambda: "\n".join(lines[:at] + lines[at + 1 :]),
            lambda: "\n".join([*lines[: at + 1], *lines[at:]]),
            lambda: "\n".join([*lines[:at], "", *lines[at:]]),
            lambda: "\n".join([*lines[:at], lines[other], *lines[at + 1 :]]),
            lambda: note + f"— {dice.choice(('a', 'x' * 300, _NAMES[0], 'b+c'))} {text(dice.randbytes(76))}\n",
            lambda: note + f"— unknown {text(dice.randbytes(dice.choice((3, 4, 5))))}\n",
            lambda: note + f"— unknown {text(bytes(68))}\n" * dice.choice((12, 30, 40)),
            lambda: note.removesuffix("\n"),
            lambda: "\n".join([*lines[:at], f"{last} ", *lines[at + 1 :]]),
            lambda: "\n".join([*lines[:at], last.replace("—", "-"), *lines[at + 1 :]]),
            lambda: "\n".join([*lines[:at], last[:-1] + "B", *lines[at + 1 :]]),
            lambda: note.replace("\n", "\r\n"),
            lambda: note + "x" * (64 << 10),
        )
    )()


def _bytes_mutant(dice: random.Random, data: bytes) -> bytes:
    at = dice.randrange(len(data))
    return dice.choice(
        (
            data[:at] + bytes((data[at] ^ 1 << dice.randrange(8),)) + data[at + 1 :],
            data[:at] + data[at + 1 :],
            data[:at] + dice.randbytes(1) + data[at:],
            data[:at],
            data[at:],
        )
    )


# ---- proofs


def proofs(dice: random.Random, number: int) -> Iterator[Case]:
    """Yield inclusion and consistency proofs, most of them mutants."""
    tree = _tree()
    for _ in range(number):
        size = dice.randrange(1, len(LEAVES) + 1)
        if dice.random() < 0.01:
            short = dice.randbytes(31)
            yield _inclusion(dice, LEAVES[0], 0, 2, sha256(b"\1" + LEAVES[0] + short).digest(), [short])
        elif dice.random() < 0.01:
            yield _consistency(dice, 0, size, EMPTY_ROOT, tree.root(size), [])
        elif dice.random() < 0.5:
            index = dice.randrange(size)
            yield _inclusion(dice, LEAVES[index], index, size, tree.root(size), tree.inclusion(index, size))
        else:
            old = dice.randrange(1, size + 1)
            yield _consistency(dice, old, size, tree.root(old), tree.root(size), tree.consistency(old, size))


def _tree() -> Tree:
    tree = Tree(0, lambda *_: None, lambda *_: [])
    for leaf in LEAVES:
        tree.append(leaf)
    return tree


def _hashes_mutant(dice: random.Random, hashes: Sequence[bytes]) -> list[bytes]:
    out = list(hashes)
    at = dice.randrange(len(out) + 1)
    ways: list[Callable[[], object]] = [
        lambda: out.insert(at, dice.randbytes(32)),
        lambda: out.insert(at, dice.choice(LEAVES)),
        lambda: out.extend([bytes(32)] * dice.choice((1, 60, 70))),
    ]
    if out:
        ways += [
            lambda: out.pop(min(at, len(out) - 1)),
            lambda: out.reverse(),
            lambda: out.append(out[-1]),
            lambda: out.insert(0, out.pop()),
            lambda: out.__setitem__(-1, out[-1][: dice.choice((0, 31))]),
        ]
    if out and out[0]:  # an earlier mutation may have left a hash of no bytes
        ways.append(lambda: out.__setitem__(0, bytes((out[0][0] ^ 1,)) + out[0][1:]))
    dice.choice(ways)()
    return out


def _near(dice: random.Random, value: int) -> int:
    return dice.choice((value - 1, value + 1, value * 2, value ^ 1, 0, -1, 1 << 63, value >> 1))


def _inclusion(dice: random.Random, leaf: bytes, index: int, size: int, root: bytes, hashes: list[bytes]) -> Case:
    for _ in range(dice.randrange(3)):
        way = dice.randrange(5)
        leaf = dice.choice((dice.choice(LEAVES), leaf[:31], dice.randbytes(32))) if way == 0 else leaf
        index = _near(dice, index) if way == 1 else index
        size = _near(dice, size) if way == 2 else size
        hashes = _hashes_mutant(dice, hashes) if way == 3 else hashes
        root = dice.choice((EMPTY_ROOT, dice.randbytes(32), leaf, root[:-1])) if way == 4 else root
    try:
        verify_inclusion(leaf, index, hashes, Checkpoint(origin=ORIGIN, size=size, root=root))
        ours = True
    except RefusedError:
        ours = False
    request = ["inclusion", text(leaf), index, size, [text(value) for value in hashes], text(root)]
    odd = any(len(value) != 32 for value in (leaf, root, *hashes))
    return Case(kind="inclusion", request=request, ours=ours, odd_lengths=odd)


def _consistency(dice: random.Random, old: int, new: int, before: bytes, after: bytes, hashes: list[bytes]) -> Case:
    for _ in range(dice.randrange(3)):
        way = dice.randrange(5)
        old = _near(dice, old) if way == 0 else old
        new = _near(dice, new) if way == 1 else new
        hashes = _hashes_mutant(dice, hashes) if way == 2 else hashes
        before = dice.choice((EMPTY_ROOT, after, dice.randbytes(32), before[:-1])) if way == 3 else before
        after = dice.choice((EMPTY_ROOT, before, dice.randbytes(32))) if way == 4 else after
    try:
        one = Checkpoint(origin=ORIGIN, size=old, root=before)
        verify_consistency(one, Checkpoint(origin=ORIGIN, size=new, root=after), hashes)
        ours = True
    except RefusedError:
        ours = False
    request = ["consistency", old, new, text(before), text(after), [text(value) for value in hashes]]
    return Case(kind="consistency", request=request, ours=ours)


# ---- logs


def logs(dice: random.Random, number: int, base: Path, scratch: Path) -> Iterator[Case]:
    """Yield a log with one file changed, and logs written and signed anew around damaged entries.

    Args:
        dice: Random, seeded.
        number: How many.
        base: A good log, which nobody else changes.
        scratch: A copy of it, which is changed and put right again for each case.
    """
    files = sorted(path.relative_to(base) for path in base.rglob("*") if path.is_file() and path.name != "log.vkey")
    for turn in range(number):
        if turn % 10 == 9:
            yield _resigned(dice, scratch.with_name("resigned"))
            continue
        name = dice.choice(files)
        good = (base / name).read_bytes()
        change, bad = _file_mutant(dice, good, (base / dice.choice(files)).read_bytes())
        place = scratch / name
        place.unlink()
        if bad is not None:
            place.write_bytes(bad)
        request = ["altered", str(base), {str(name): None if bad is None else text(bad)}]
        accepted, step = _log_accepted(scratch)
        note = bad or b"" if name.name == "checkpoint" else b""
        yield Case(kind="altered", request=request, ours=accepted, data=note, change=change, step=step)
        place.unlink(missing_ok=True)
        place.write_bytes(good)


def _file_mutant(dice: random.Random, good: bytes, other: bytes) -> tuple[str, bytes | None]:
    at = dice.randrange(len(good))
    flipped = good[:at] + bytes((good[at] ^ 1 << dice.randrange(8),)) + good[at + 1 :]
    ways: list[tuple[str, bytes | None]] = [("flip", flipped)] * 8
    ways += [
        ("nothing", good),
        ("gone", None),
        ("shorter", good[:at]),
        ("longer", good + other[:at]),
        ("longer", good + bytes(32)),
        ("another", other),
        ("byte out", good[:at] + good[at + 1 :]),
        ("byte in", good[:at] + dice.randbytes(1) + good[at:]),
        ("hashes swapped", good[32:64] + good[:32] + good[64:]),
        ("zeros", bytes(len(good))),
    ]
    return dice.choice(ways)


def _resigned(dice: random.Random, folder: Path) -> Case:
    """Sign a log anew around one damaged entry, with the real key."""
    bodies = [body.encode() for body in first_bodies()] + [b"\x08\x20"] * dice.randrange(3, 12)
    entries = forge.chain(bodies)
    at = dice.randrange(len(entries))
    ways: list[Callable[[], list[bytes]]] = [
        lambda: entries,
        lambda: [*entries[:at], entries[at][:-1], *entries[at + 1 :]],
        lambda: [*entries[:at], dice.randbytes(dice.randrange(1, 200)), *entries[at + 1 :]],
        lambda: entries[:at] + entries[at + 1 :] or entries,
        lambda: [*entries[: at + 1], *entries[at:]],
        lambda: forge.chain([*bodies[:at], dice.randbytes(dice.randrange(2, 60)), *bodies[at + 1 :]]),
        lambda: forge.chain([*bodies[:at], *bodies[at + 1 :]]),
    ]
    made = dice.choice(ways)()
    forge.write_log(folder, made, forge.sign(made, LOG), KEY)
    accepted, step = _log_accepted(folder)
    return Case(kind="resigned", request=["folder", str(folder)], ours=accepted, step=step)


def _log_accepted(folder: Path) -> tuple[bool, int]:
    """Return whether nothing refutes a log, and the step that does."""
    report = verify_log(folder, key=KEY)
    refuting = [step.step for step in report.steps if step.result == "refuted"]
    return report.exit_code != 6, refuting[0] if refuting else 0


def altered_case(base: Path, changes: dict[str, bytes]) -> Case:
    """Ask about a log folder with some files replaced; ours is refused."""
    request = ["altered", str(base), {name: text(data) for name, data in changes.items()}]
    return Case(kind="altered", request=request, ours=False)
