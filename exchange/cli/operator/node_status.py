"""What a node holds, read from its files while it runs or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from exchange.cli.officer import shown
from exchange.cli.operator.addresses import own_address_misfit
from exchange.cli.operator.admin_client import admin, silent_peers
from exchange.node.config import NodeConfig, load_config, paths_of
from exchange.node.federation_store import restore_federation
from exchange.node.home import running_process
from exchange.status.report import COUNTDOWNS, NodeReport, report_of
from exchange.store.factory import open_reading
from keys.errors import RefusedError, UnavailableError

ANSWER_SECONDS = 3.0  # a running node that does not say by then who follows it is told of without that


def read_report(home: Path, now_ms: int) -> tuple[NodeConfig, NodeReport]:
    """Read a home's settings, and what its node tells of itself.

    Raises:
        FileNotFoundError: There is no such home.
        IntegrityError: It has no database, or one that is not ours.
    """
    config, paths = load_config(home), paths_of(home)
    store = open_reading(paths.store)
    try:
        reads = store.reads()
        federation, _ = restore_federation(reads, now_ms)
        return config, report_of(paths, config.agency, reads, federation, now_ms, _follows(home))
    finally:
        store.close()


def read_status(home: Path, now_ms: int) -> dict[str, Any]:
    """Return the same as ``node status --json`` tells it; errors as ``read_report``."""
    config, report = read_report(home, now_ms)
    waited_for = any(each.waiting and not each.follows_since_ms for each in report.peers)
    misfit = " → ".join(filter(None, own_address_misfit(home, config.listen, report.endpoints, report.manifest)))
    return {
        "agency": report.agency,
        "process": report.process,
        "signs": report.signs,
        "federation": report.federation,
        "roster": report.roster,
        **{name: getattr(report, name) for name in COUNTDOWNS},
        "ending": [{**each.to_json(now_ms), "line": each.line(now_ms)} for each in report.ending],
        "listen": config.listen,
        "desk": config.desk,
        "desk_classical_tls": config.desk_classical_tls,
        "log_size": report.log_size,
        "published_size": report.published_size,
        **_witnessed(report),
        "received": report.received,
        "not_opened": report.not_opened,
        "sent": report.sent,
        "waiting": report.waiting,
        "silent": dict(silent_peers(home)) if waited_for else {},
        "address_warning": misfit or None,
        "stopped_lanes": list(report.stopped_lanes),
        "peer_checkpoints": {each.agency: each.checkpoint_size for each in report.peers},
        "peers": [
            {
                "agency": each.agency,
                "follows_since": shown.time_text(each.follows_since_ms) or None,
                "waiting": each.waiting,
                "oldest_waiting_seconds": each.oldest_waiting_seconds,
            }
            for each in report.peers
        ],
    }


def to_lines(told: dict[str, Any]) -> list[str]:
    """Write it for people."""
    process, starting = told["process"], "" if told["signs"] else ", signs nothing yet: it asks what others hold of it"
    seen = [size for size in told["peer_checkpoints"].values() if size]
    follow = [each["agency"] for each in told["peers"] if each["follows_since"]]
    following = f", {len(follow)} follow us" if process else ""
    rows = [
        ("node", f"{told['agency']}, {f'running, process {process}{starting}' if process else 'not running'}"),
        ("addresses", f"peers {told['listen']}, officers {told['desk']}"),
        *([("TLS", "the desk takes connections without ML-KEM")] if told["desk_classical_tls"] else []),
        ("federation", f"{told['federation']}, roster {told['roster']}, {told['roster_days']} days left"),
        ("renewal", _days_words(told)),
        ("log", f"{told['log_size']:,} entries, {told['published_size']:,} published as files"),
        ("witnesses", _witness_words(told)),
        ("inbox", f"{told['received']} received, {told['not_opened']} not opened yet"),
        ("outbox", f"{told['sent']} sent, {told['waiting']} deliveries on their way"),
        ("peers", f"{len(seen)} of {len(told['peers'])} have shown us their log{following}"),
    ]
    rows += [("ALARM", f"{peer} {sentence}") for peer, sentence in told["silent"].items()]
    if told["address_warning"]:
        rows.append(("WARN", told["address_warning"]))
    rows += [("WARN", each["line"]) for each in told["ending"]]
    if told["stopped_lanes"]:
        rows.append(("ALARM", f"lanes stopped: {', '.join(told['stopped_lanes'])}"))
    if told["witness_alarm"]:
        rows.append(("ALARM", "the end of the log has waited more than 10 minutes for its witnesses"))
    return shown.columns(rows, indent="")


def _days_words(told: dict[str, Any]) -> str:
    """Write the countdowns but the roster's, which stands with the federation."""
    return ", ".join(
        f"{name} {told[f'{key}_days']} days"
        for name, key in (("windows", "windows"), ("manifest", "manifest"), ("TLS leaf", "leaf"))
    )


def _follows(home: Path) -> dict[str, int]:
    """Ask the running node who follows it, and since when; nobody where none runs, or it does not answer yet."""
    if running_process(home) is None:
        return {}
    from exchange.v1 import admin_pb2

    try:
        with admin(home) as stub:
            peers = stub.Status(admin_pb2.StatusRequest(), timeout=ANSWER_SECONDS).peers
    except (UnavailableError, RefusedError):
        return {}
    return {each.agency: each.follows_since_ms for each in peers if each.follows_since_ms}


def _witnessed(report: NodeReport) -> dict[str, Any]:
    """Return how far the log is witnessed, and who has cosigned what is published."""
    witness, published = report.witness, report.published_size
    return {
        "witnessed_size": witness.size,
        "quorum": witness.quorum,
        "witnesses": dict(witness.sizes),
        "cosigned": sorted(name for name, size in witness.sizes.items() if size >= published),
        "missing": sorted(name for name, size in witness.sizes.items() if size < published),
        "pending_since": shown.time_text(witness.pending_since_ms) or None,
        "witness_alarm": witness.alarm,
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
