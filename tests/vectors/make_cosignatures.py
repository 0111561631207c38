"""Make the vectors of cosignatures, once: ``python -m tests.vectors.make_cosignatures`` from the root.

They freeze the format, so an existing file is never overwritten. ML-DSA-44 signatures differ with each making; they
are for verifying only.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from audit.note.checkpoint import Checkpoint, sign_checkpoint
from audit.note.cosignature import add_lines, cosign, cosigner_key, signed_message
from keys.identity import Usage
from keys.signer import Ed25519Signer, MlDsa44Signer

FILE = Path(__file__).parent / "audit" / "cosignature.json"
ORIGIN, WITNESS, TIME = "hk-sb.exercise.example/log/1", "hk-immd.exercise.example/witness", 1_795_000_060


def main() -> None:
    checkpoint = Checkpoint(origin=ORIGIN, size=34, root=sha256(b"cosignature").digest())
    note = sign_checkpoint(checkpoint, Ed25519Signer.from_seed(Usage.LOG, "HK-SB", bytes(range(32))))
    signers = {
        WITNESS: (
            Ed25519Signer.from_seed(Usage.WITNESS, "HK-IMMD", bytes(range(1, 33))),
            MlDsa44Signer.from_seed(Usage.WITNESS, "HK-IMMD", bytes(range(2, 34))),
        ),
        ORIGIN: (MlDsa44Signer.from_seed(Usage.LOG, "HK-SB", bytes(range(3, 35))),),
    }
    rows = []
    for name, pair in signers.items():
        for signer in pair:
            key = cosigner_key(name, signer.key.public_key)
            line = cosign(checkpoint, name, signer, TIME)
            message = signed_message(checkpoint, key, TIME).hex()
            rows.append({"vkey": str(key), "type": key.type, "time": TIME, "message": message, "line": line})
            note = add_lines(note, line)
    with FILE.open("x", encoding="utf-8") as file:
        json.dump({"note": note, "cosignatures": rows}, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
