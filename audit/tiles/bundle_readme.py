"""The README inside a bundle: what lies there, how to check it with other people's tools, SHA-256 of everything.

It is computed from the checkpoint and the other members alone. Its first line names the version of the format; any
change of a word below is a new version, because readers compare it whole.
"""

import base64
from collections.abc import Mapping

from audit.note.checkpoint import Checkpoint

FIRST_LINE = "exchange audit bundle 1"

_TEXT = """{first_line}

The audit log {origin}
as its checkpoint commits to it: {size:,} entries, root {root}
{stored}
It holds no text of any bulletin and no person's name: numbers, digests, pseudonyms, kinds of events and times.

What lies here
  checkpoint        the C2SP signed note: the log's signature, and those of witnesses below it
  witnessed         the newest checkpoint that enough witnesses have signed, if it is an older one
  tile/             hashes and entries as C2SP tlog-tiles has them; entries in tile/entries/, two length bytes each
  log.vkey, keys    verifier keys: the log's, its peers'; with the first and last size that each holds for
  policy            whose signatures are enough, as C2SP tlog-policy; witnesses.vkeys says the same, a key a line
  peers/ORIGIN/     a peer's newest checkpoint, and C2SP tlog-proofs of the entries in ITS log that name this one
  receipts/         which of those answers which entry here
  roster/           the federation's rosters from the first on
  manifests/        of a log that is not an agency's first: what opened it, and where the one before ended
  timestamps/       RFC 3161 tokens over checkpoints, if there are any
  disclosures/      fields opened for you, if there are any
  schema/           how an entry's body reads (entry.proto), and the rule of each kind (kinds.tsv)
  check.py          sixty lines that check all this without any program of ours; read them first
What is not in the list at the end is not in this bundle.

How to check it, without a network. None of the keys here can be trusted because it lies here: get the log's key and
the roster from somebody you trust, and compare. Unpack this file first: mkdir B && tar -xf THIS -C B && cd B
1. That nothing was damaged on the way:
     grep -E '^[0-9a-f]{{64}}  ' README | sha256sum --check --quiet
2. With a Python that has PyNaCl; KEY is the log's key, one line as in log.vkey:
     python3 check.py . "$(cat KEY)" witnesses.vkeys
   It ends in 0 only if signature, every entry, every tile, the root and the witnesses' signatures are right.{whole}
3. With any verifier of C2SP tlog-tiles, as those built on golang.org/x/mod or the Python package aics-tlog: this
   folder is the log.{whole}
4. With the program that wrote the log, on the file as it came; it also reads the entries' bodies and the receipts:
     exchange-audit verify THIS --roster ROSTER
5. Tokens of time, with OpenSSL; AUTHORITY is the certificate of whoever made them, NOTE the checkpoint stamped:
     openssl ts -verify -in timestamps/NAME.tsr -data NOTE -CAfile AUTHORITY

"""
_WHOLE = "Here are all of them."
_PART = """Here are entries {first} to {last}; entries come in bundles of 256, so there may be more than was asked for.
Of all others only the hashes are here: enough to check that these stand in the log, and that it grew from any
checkpoint that you hold, but not what the others say."""
_NEEDS_ALL = "\n   Not for this bundle: it needs all entries, and these are only some."


def readme(checkpoint: Checkpoint, first: int, end: int, digests: Mapping[str, str]) -> str:
    """Return the text.

    Args:
        checkpoint: Of the log.
        first: The first entry that is in the bundle.
        end: After the last one.
        digests: SHA-256 in hex of every other member, by name, ascending.
    """
    whole = (first, end) == (0, checkpoint.size)
    text = _TEXT.format(
        first_line=FIRST_LINE,
        origin=checkpoint.origin,
        size=checkpoint.size,
        root=base64.b64encode(checkpoint.root).decode(),
        stored=_WHOLE if whole else _PART.format(first=first, last=end - 1),
        whole="" if whole else _NEEDS_ALL,
    )
    return text + "".join(f"{digest}  {name}\n" for name, digest in digests.items())
