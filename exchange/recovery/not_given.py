"""What nobody has any more: bulletins whose content the home has lost and no member that answered would give back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exchange.recovery.proven_answers import Recovered
from exchange.store.storage_key import ID_BYTES, StorageKeys
from exchange.store.store import Reads
from keys.files import PUBLIC, write_file
from keys.identity import AgencyId

LIST_FILE = "not-given"


@dataclass(frozen=True, slots=True, kw_only=True)
class LostBulletin:
    """A bulletin without content, as far as anybody can name it."""

    sender: str
    bulletin_id: bytes  # 16 bytes
    kind: str  # a recipient's word, as the number; empty where nobody told
    number: str


def not_given(
    recovered: Sequence[Recovered], agency: AgencyId, reads: Reads | None, storage: StorageKeys
) -> list[LostBulletin]:
    """List what no member would give, ascending by sender and id, by the words of those that answered.

    Args:
        recovered: Their answers, verified.
        agency: Ours.
        reads: Of the home's old database; None where it is lost.
        storage: Our storage keys; what lies under another one opens for nobody.
    """
    found: dict[tuple[str, bytes], LostBulletin] = {}
    given: set[tuple[str, bytes]] = set()
    for answer in recovered:
        sent = [
            (agency, each.proven.body.bulletin_id, each.kind, each.number, each.content) for each in answer.deliveries
        ]
        came = [(answer.peer, each.proven.body.bulletin_id, "", "", each.content) for each in answer.receipts]
        for sender, bulletin_id, kind, number, content in (*sent, *came):
            if not bulletin_id or _is_settled(reads, sender, bulletin_id, storage):
                continue
            key = sender, bulletin_id
            known = found.get(key)
            if known is None or not known.number:
                found[key] = LostBulletin(sender=sender, bulletin_id=bulletin_id, kind=kind, number=number)
            if content:
                given.add(key)
    return [found[key] for key in sorted(found) if key not in given]


def _is_settled(reads: Reads | None, sender: str, bulletin_id: bytes, storage: StorageKeys) -> bool:
    """Return whether the home still opens a bulletin, or it was erased."""
    stored = reads.find(sender, bulletin_id) if reads is not None else None
    if reads is None or stored is None:
        return False
    content = reads.content(stored.entry_index)
    return stored.erased or (content is not None and content.stored_key[:ID_BYTES] in storage.secrets)


def save_list(folder: Path, lost: Sequence[LostBulletin]) -> Path:
    """Write the list, a bulletin a line: sender, id, kind, number."""
    lines = [f"{each.sender} {each.bulletin_id.hex()} {each.kind or '-'} {each.number or '-'}\n" for each in lost]
    path = folder / LIST_FILE
    folder.mkdir(mode=0o700, exist_ok=True)
    write_file(path, "".join(lines).encode("ascii", "backslashreplace"), mode=PUBLIC, replace=True)
    return path
