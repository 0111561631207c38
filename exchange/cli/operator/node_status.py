"""What a node holds, read from its files while it runs or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audit.note.checkpoint import parse_note
from exchange.acts.node_view import newest_epoch
from exchange.cli.officer import shown
from exchange.node.config import load_config, paths_of
from exchange.node.federation_store import restore_federation
from exchange.node.home import is_signing, running_process
from exchange.node.witness_status import load_pending
from exchange.store.factory import open_reading
from exchange.store.home_paths import Paths
from exchange.store.rows import LaneState
from exchange.store.store import Reads
from keys.durations import DAY_MS
from keys.federation import Federation
from keys.identity import AgencyId

PAGE = 1000


def read_status(home: Path, now_ms: int) -> dict[str, Any]:
    """Count what a home's database holds.

    Raises:
        FileNotFoundError: There is no such home.
        IntegrityError: It has no database, or one that is not ours.
    """
    config, paths = load_config(home), paths_of(home)
    store = open_reading(paths.store)
    try:
        reads = store.reads()
        federation, _ = restore_federation(reads, now_ms)
        members = [each.agency for each in federation.roster.members if each.agency != config.agency]
        received, unread, sent = _bulletins(reads)
        return {
            "agency": config.agency,
            "process": running_process(home),
            "signs": is_signing(home),
            "federation": federation.name,
            "roster": federation.roster.version,
            "roster_days_left": (federation.roster.expires_ms - now_ms) // DAY_MS,
            "listen": config.listen,
            "desk": config.desk,
            "desk_classical_tls": config.desk_classical_tls,
            "log_size": reads.size(),
            "published_size": _published(paths),
            **_witnessed(home, now_ms, _published(paths)),
            "received": received,
            "not_opened": unread,
            "sent": sent,
            "waiting": sum(each.sequence - each.taken for each in _running(reads, federation, config.agency)),
            "stopped_lanes": [each.peer for each in reads.lanes() if each.stopped],
            "peers": {
                peer: (reads.peer_checkpoint(peer, newest_epoch(federation, peer)) or (0, ""))[0] for peer in members
            },
        }
    finally:
        store.close()


def to_lines(told: dict[str, Any]) -> list[str]:
    """Write it for people."""
    process, starting = told["process"], "" if told["signs"] else ", signs nothing yet: it asks what others hold of it"
    seen = [peer for peer, size in told["peers"].items() if size]
    rows = [
        ("node", f"{told['agency']}, {f'running, process {process}{starting}' if process else 'not running'}"),
        ("addresses", f"peers {told['listen']}, officers {told['desk']}"),
        *([("TLS", "the desk takes connections without ML-KEM")] if told["desk_classical_tls"] else []),
        ("federation", f"{told['federation']}, roster {told['roster']}, {told['roster_days_left']} days left"),
        ("log", f"{told['log_size']:,} entries, {told['published_size']:,} published as files"),
        ("witnesses", _witness_words(told)),
        ("inbox", f"{told['received']} received, {told['not_opened']} not opened yet"),
        ("outbox", f"{told['sent']} sent, {told['waiting']} deliveries on their way"),
        ("peers", f"{len(seen)} of {len(told['peers'])} have shown us their log"),
    ]
    if told["stopped_lanes"]:
        rows.append(("ALARM", f"lanes stopped: {', '.join(told['stopped_lanes'])}"))
    if told["witness_alarm"]:
        rows.append(("ALARM", "the end of the log has waited more than 10 minutes for its witnesses"))
    return shown.columns(rows, indent="")


def _running(reads: Reads, federation: Federation, agency: AgencyId) -> list[LaneState]:
    """Return our lanes of the epoch in which our log is; what waited in an earlier one waits here again."""
    epoch = newest_epoch(federation, agency)
    return [each for each in reads.lanes() if each.outgoing and each.epoch == epoch]


def _bulletins(reads: Reads) -> tuple[int, int, int]:
    counts = {True: 0, False: 0}
    unread = 0
    for sent in counts:
        after = 0
        while page := reads.stored_since(after, PAGE, sent=sent):
            counts[sent] += len(page)
            unread += 0 if sent else sum(1 for each in page if not each.opened)
            after = page[-1].entry_index
    return counts[False], unread, counts[True]


def _witnessed(home: Path, now_ms: int, published: int) -> dict[str, Any]:
    """Return how far the log is witnessed, from the node's own file, and who has cosigned what is published."""
    state = load_pending(home)
    if state is None:
        nobody: dict[str, Any] = {"witnesses": {}, "cosigned": [], "missing": []}
        return {"witnessed_size": None, "quorum": None, **nobody, "pending_since": None, "witness_alarm": False}
    return {
        "witnessed_size": state.size,
        "quorum": state.quorum,
        "witnesses": dict(state.witnesses),
        "cosigned": sorted(name for name, size in state.witnesses.items() if size >= published),
        "missing": sorted(name for name, size in state.witnesses.items() if size < published),
        "pending_since": shown.time_text(state.since_ms) or None,
        "witness_alarm": state.is_alarming(now_ms),
    }


def _witness_words(told: dict[str, Any]) -> str:
    if not told["quorum"]:
        return "not asked yet" if told["quorum"] is None else "the roster names none"
    words = f"witnessed to {told['witnessed_size']:,} of {told['log_size']:,}, quorum {told['quorum']}"
    if not told["pending_since"]:
        return words
    so_far = f"of size {told['published_size']:,}: {len(told['cosigned'])} of the {told['quorum']} that are needed"
    by = f" ({', '.join(told['cosigned'])})" if told["cosigned"] else ""
    missing = f"; missing: {', '.join(told['missing'])}" if told["missing"] else ""
    return f"{words}, pending since {told['pending_since']}; {so_far}{by}{missing}"


def _published(paths: Paths) -> int:
    try:
        return parse_note((paths.log / "checkpoint").read_text()).checkpoint.size
    except FileNotFoundError:
        return 0
