"""What a node tells of itself, in numbers: countdowns, what waits for whom, how far its log is witnessed.

The same for a node that runs and for one that does not, for people and for programs; never content, names of officers
or ids of bulletins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from audit.note.checkpoint import parse_note
from exchange.acts.node_view import newest_epoch
from exchange.node.home import is_signing, running_process
from exchange.node.witness_status import load_pending
from exchange.store.home_paths import Paths
from exchange.store.rows import LaneState
from exchange.store.store import Reads
from keys.agency import TLS_FILE
from keys.certificate import ends_ms
from keys.countdown import Deadline, deadlines, warned
from keys.durations import DAY_MS
from keys.federation import Federation
from keys.identity import AgencyId

Follows = Mapping[str, int]  # by agency: since when its stream to us is open, milliseconds UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerReport:
    """Where one other member stands with us."""

    agency: AgencyId
    follows_since_ms: int  # its stream to us is open since; 0 where it is not, or nobody runs here
    waiting: int  # deliveries without an answer
    oldest_waiting_seconds: int  # how long the oldest of them has waited; 0 where none does
    checkpoint_size: int  # of the newest checkpoint of its log that it has shown us


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessReport:
    """How far the log is witnessed, as the node last wrote it down."""

    size: int | None = None  # None before anybody was asked
    quorum: int | None = None
    sizes: Mapping[str, int]  # by witness: what it cosigned last
    pending_since_ms: int = 0
    alarm: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReport:
    """One node at one moment. Days are whole ones, counted down; below 0 it has ended."""

    agency: AgencyId
    process: int | None  # None where nobody runs
    signs: bool
    federation: str
    roster: int  # its version
    windows_days: int  # until the last window there is ends
    roster_days: int
    manifest_days: int
    manifest: int  # the version of our own; 0 where there is none
    endpoints: tuple[str, ...]  # where it tells peers to dial us
    leaf_days: int  # of the node's own TLS leaf
    ending: tuple[Deadline, ...]  # what is in its countdown, the soonest first
    log_size: int
    published_size: int
    witness: WitnessReport
    received: int
    not_opened: int
    sent: int
    waiting: int  # deliveries to all peers
    stopped_lanes: tuple[str, ...]
    peers: tuple[PeerReport, ...]


COUNTDOWNS = tuple(each.name for each in fields(NodeReport) if each.name.endswith("_days"))


def report_of(
    paths: Paths, agency: AgencyId, reads: Reads, federation: Federation, now_ms: int, follows: Follows
) -> NodeReport:
    """Read what a node tells of itself.

    Args:
        paths: Of its home.
        agency: Whose it is.
        reads: Of its store.
        federation: As it believes it.
        now_ms: Milliseconds UTC.
        follows: Who follows it, as the running node knows; empty where none runs.
    """
    received, not_opened, sent = reads.bulletin_counts()
    manifest = federation.manifests.get(agency)
    peers = tuple(_peer(each, reads, federation, agency, now_ms, follows) for each in _others(federation, agency))
    return NodeReport(
        agency=agency,
        process=running_process(paths.home),
        signs=is_signing(paths.home),
        federation=federation.name,
        roster=federation.roster.version,
        **countdowns(paths.home, agency, federation, now_ms),
        manifest=manifest.record.version if manifest is not None else 0,
        endpoints=manifest.record.endpoints if manifest is not None else (),
        ending=_ending(paths.home, agency, federation, now_ms),
        log_size=reads.size(),
        published_size=_published(paths),
        witness=_witness(paths.home, now_ms),
        received=received,
        not_opened=not_opened,
        sent=sent,
        waiting=sum(each.waiting for each in peers),
        stopped_lanes=tuple(each.peer for each in reads.lanes() if each.stopped),
        peers=peers,
    )


def countdowns(home: Path, agency: AgencyId, federation: Federation, now_ms: int) -> dict[str, int]:
    """Return the whole days until each thing that only ages has ended; -1 where there is none."""
    sheet, manifest = federation.key_sheets.get(agency), federation.manifests.get(agency)
    windows = max((each.until_ms for each in sheet.record.encryption_keys), default=0) if sheet is not None else 0
    leaf = home / TLS_FILE
    until: dict[str, int] = {
        "windows_days": windows,
        "roster_days": federation.roster.expires_ms,
        "manifest_days": manifest.record.expires_ms if manifest is not None else 0,
        "leaf_days": ends_ms(leaf.read_bytes()) if leaf.exists() else 0,
    }
    return {name: (each - now_ms) // DAY_MS if each else -1 for name, each in until.items()}


def _ending(home: Path, agency: AgencyId, federation: Federation, now_ms: int) -> tuple[Deadline, ...]:
    leaf = home / TLS_FILE
    known = deadlines(federation, agency, ends_ms(leaf.read_bytes()) if leaf.exists() else None)
    return tuple(warned(known, now_ms))


def _others(federation: Federation, agency: AgencyId) -> list[AgencyId]:
    return sorted(each.agency for each in federation.roster.members if each.agency != agency)


def _peer(
    peer: AgencyId, reads: Reads, federation: Federation, agency: AgencyId, now_ms: int, follows: Follows
) -> PeerReport:
    epoch = newest_epoch(federation, agency)  # what waited in an earlier one waits here again
    lanes = [each for each in reads.lanes() if each.outgoing and each.peer == peer and each.epoch == epoch]
    since = [_oldest_ms(reads, each) for each in lanes if each.sequence > each.taken]
    known = reads.peer_checkpoint(peer, newest_epoch(federation, peer))
    return PeerReport(
        agency=peer,
        follows_since_ms=follows.get(peer, 0),
        waiting=sum(each.sequence - each.taken for each in lanes),
        oldest_waiting_seconds=max(0, (now_ms - min(since)) // 1000) if since else 0,
        checkpoint_size=known[0] if known is not None else 0,
    )


def _oldest_ms(reads: Reads, lane: LaneState) -> int:
    """Return since when the first delivery without an answer has waited."""
    (first,) = reads.outbound(lane.row, lane.taken, 1)
    return first.since_ms


def _witness(home: Path, now_ms: int) -> WitnessReport:
    state = load_pending(home)
    if state is None:
        return WitnessReport(sizes={})
    return WitnessReport(
        size=state.size,
        quorum=state.quorum,
        sizes=dict(state.witnesses),
        pending_since_ms=state.since_ms,
        alarm=state.is_alarming(now_ms),
    )


def _published(paths: Paths) -> int:
    try:
        return parse_note((paths.log / "checkpoint").read_text()).checkpoint.size
    except FileNotFoundError:
        return 0
