"""How many bytes a receipt has in a log of a million entries, with the checkpoint that three witnesses cosigned."""

from __future__ import annotations

from hashlib import sha256

from audit.note.checkpoint import Checkpoint, sign_checkpoint
from audit.note.cosignature import add_lines, cosign
from audit.note.tlogproof import format_proof
from audit.tree.merkle import Tree
from bench.log_files import SIGNER
from bench.setting import Setting
from bench.table import LESS, Row
from bench.verify_log import ORIGIN
from keys.identity import Usage
from keys.signer import Ed25519Signer, MlDsa44Signer

SIZE, INDEX, WITNESSES, NOW_S = 1_000_037, 700_001, 3, 1_795_000_000
ENTRY = 300  # bytes


def measure(_: Setting) -> list[Row]:
    """Make one, with and without the post-quantum lines."""
    tree = Tree(0, lambda *_: None, lambda *_: [])
    for number in range(SIZE):
        tree.append(sha256(number.to_bytes(8, "big")).digest())
    checkpoint = Checkpoint(origin=ORIGIN, size=SIZE, root=tree.root())
    note = sign_checkpoint(checkpoint, SIGNER)
    heavy = note
    for number in range(WITNESSES):
        name = f"agency-{number}.bench.example/witness"
        line = cosign(checkpoint, name, Ed25519Signer.from_seed(Usage.WITNESS, "BENCH", bytes([number]) * 32), NOW_S)
        post = cosign(checkpoint, name, MlDsa44Signer.from_seed(Usage.WITNESS, "BENCH", bytes([number]) * 32), NOW_S)
        note, heavy = add_lines(note, line), add_lines(heavy, line + post)
    hashes = tree.inclusion(INDEX, SIZE)
    light, full = (len(format_proof(INDEX, hashes, each, bytes(ENTRY)).encode()) for each in (note, heavy))
    return [
        Row(what=f"receipt at {SIZE:,} entries, {WITNESSES} cosignatures", unit="B", product=light, share=light,
            share_unit="B", must=2500, aim=2200, better=LESS,
            note=f"its entry of {ENTRY} bytes included; {full:,} B where all add an ML-DSA-44 line"),
    ]  # fmt: skip
