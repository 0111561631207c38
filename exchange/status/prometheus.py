"""A node's report in Prometheus' text format, version 0.0.4: gauges only, each with its meaning.

Source: prometheus.io/docs/instrumenting/exposition_formats, "Text-based format".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from exchange.status.report import NodeReport, PeerReport

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Sample = tuple[Mapping[str, str], int]
PeerValue = Callable[[PeerReport], int]

_DAYS = {
    "windows_days": "Whole days until the last encryption window ends.",
    "roster_days": "Whole days until the roster expires.",
    "manifest_days": "Whole days until our manifest expires.",
    "leaf_days": "Whole days until the node's TLS leaf expires.",
}


def to_text(report: NodeReport, now_ms: int) -> str:
    """Write a report.

    Args:
        report: Of one node.
        now_ms: Milliseconds UTC, for how long something is pending.
    """
    families: list[tuple[str, str, list[Sample]]] = [
        ("up", "Whether the node runs.", _one(report.process is not None)),
        ("signs", "Whether the node runs and may sign.", _one(report.signs)),
        *((name, told, _one(getattr(report, name))) for name, told in _DAYS.items()),
        (
            "countdown_step_days",
            "At which step of its countdown something is: 90, 30 or 7 days before its end, 0 after it.",
            [({"what": each.what}, each.step(now_ms) or 0) for each in report.ending],
        ),
        ("log_entries", "Entries of the log.", _one(report.log_size)),
        ("log_published_entries", "Entries that are published as files.", _one(report.published_size)),
        *_witness(report, now_ms),
        (
            "bulletins",
            "Bulletins that are known, erased ones too.",
            [({"direction": "received"}, report.received), ({"direction": "sent"}, report.sent)],
        ),
        ("bulletins_not_opened", "Received bulletins that nobody has opened yet.", _one(report.not_opened)),
        ("deliveries_waiting", "Deliveries without an answer, to all peers.", _one(report.waiting)),
        ("lanes_stopped", "Lanes that were stopped because their sender contradicted itself.", _stopped(report)),
        ("peer_follows", "Whether the peer's stream to us is open.", _peers(report, _follows)),
        (
            "peer_follows_since_seconds",
            "Unix time at which the peer's stream to us was opened; 0 where it is not.",
            _peers(report, lambda each: each.follows_since_ms // 1000),
        ),
        ("peer_waiting", "Deliveries to the peer without an answer.", _peers(report, lambda each: each.waiting)),
        (
            "peer_oldest_waiting_seconds",
            "How long the oldest delivery to the peer has waited.",
            _peers(report, lambda each: each.oldest_waiting_seconds),
        ),
        (
            "peer_checkpoint_entries",
            "Size of the newest checkpoint of the peer's log that it has shown us.",
            _peers(report, lambda each: each.checkpoint_size),
        ),
    ]
    return "".join(line for name, told, samples in families for line in _family(name, told, samples))


def _witness(report: NodeReport, now_ms: int) -> Iterable[tuple[str, str, list[Sample]]]:
    witness, since = report.witness, report.witness.pending_since_ms
    if witness.quorum is None:
        return
    yield "log_witnessed_entries", "Entries that a quorum of witnesses has cosigned.", _one(witness.size or 0)
    yield "witness_quorum", "Cosignatures that make a checkpoint witnessed.", _one(witness.quorum)
    pending = max(0, now_ms - since) // 1000 if since else 0
    yield "witness_pending_seconds", "How long the end of the log has waited for its quorum.", _one(pending)
    yield "witness_alarm", "Whether it has waited for more than ten minutes.", _one(witness.alarm)


def _one(value: int) -> list[Sample]:
    return [({}, int(value))]


def _stopped(report: NodeReport) -> list[Sample]:
    return _one(len(report.stopped_lanes))


def _follows(peer: PeerReport) -> int:
    return int(peer.follows_since_ms > 0)


def _peers(report: NodeReport, value_of: PeerValue) -> list[Sample]:
    return [({"agency": each.agency}, value_of(each)) for each in report.peers]


def _family(name: str, told: str, samples: list[Sample]) -> Iterable[str]:
    full = f"exchange_{name}"
    yield f"# HELP {full} {told}\n# TYPE {full} gauge\n"
    for labels, value in samples:
        # Values are codes of agencies and our own words, which need no escape.
        written = ",".join(f'{key}="{each}"' for key, each in labels.items())
        yield f"{full}{f'{{{written}}}' if written else ''} {value}\n"
