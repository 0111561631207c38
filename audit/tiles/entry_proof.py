"""Make the proof that one entry is in a log, from the log's folder alone."""

from audit.note.checkpoint import VerifierKey, parse_note, parse_verifier_key
from audit.note.tlogproof import format_proof, parse_proof, verify_proof
from audit.tiles.tiles import TileFolder
from audit.tree.merkle import TILE_WIDTH


def prove_entry(folder: TileFolder, index: int) -> str:
    """Return the proof's text, with the entry as its extra line; it has been verified with the folder's own key.

    Raises:
        LookupError: The log has no such entry.
        RefusedError: The folder's files do not make a proof: a file is missing, broken, or contradicts another.
    """
    note = folder.note()
    checkpoint = parse_note(note).checkpoint
    if index >= checkpoint.size:
        raise LookupError(f"no entry {index}: the log holds entries 0 to {checkpoint.size - 1}")
    bundle, offset = divmod(index, TILE_WIDTH)
    entry = folder.entries(bundle, min(TILE_WIDTH, checkpoint.size - bundle * TILE_WIDTH))[offset]
    text = format_proof(index, folder.tree(checkpoint.size).inclusion(index, checkpoint.size), note, entry)
    key: VerifierKey = parse_verifier_key(folder.key_text())
    verify_proof(parse_proof(text), entry, key)
    return text
