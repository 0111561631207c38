"""The report of one log: a page without script, made offline: what it holds, in figures, under its verdict.

The page shows numbers, codes of agencies, kinds and times. The log holds no content, so neither does the page.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.entry.names import instant
from audit.note.checkpoint import parse_note
from audit.report import svg
from audit.report.pages import content_policy, render_page, template
from audit.report.statistics import BINS_MS, GROUPS, OTHER, SLOTS, Peer, Statistics, gather_statistics, median_bin
from audit.tiles.tile_names import WITNESSED
from audit.tiles.tiles import MissingError, TileFolder
from audit.verify.verdict import OK, REFUTED, Report
from keys.text import safe_text

if TYPE_CHECKING:
    from audit.note.policy import WitnessPolicy

MAX_ROWS = 40
_DAY_US = 86_400 * 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How far witnesses vouch for a log."""

    size: int  # that the quorum has cosigned; 0: none
    needed: int
    names: tuple[str, ...]
    times: tuple[int, ...]  # seconds, one for each name
    known: int  # witnesses that the roster names


def make_report(
    folder: TileFolder, verdict: Report, *, policy: "WitnessPolicy | None", members: Mapping[int, str]
) -> bytes:
    """Draw a log.

    Args:
        folder: The log.
        verdict: What its verification found; a refuted log shows that and no figures.
        policy: Whose cosignatures count; None without a roster.
        members: Agencies by member number, for people.

    Raises:
        RefusedError: A file changed since it was verified.
    """
    found = gather_statistics(folder) if not verdict.is_refuted else None
    covered = coverage(folder, policy) if found is not None and policy is not None else None
    style = drawing_style()
    return render_page(
        "log.html",
        style=style,
        policy=content_policy("", style),
        origin=safe_text(verdict.origin or "this log"),
        verdict=safe_text(_capital(verdict.verdict), None),
        mood={0: "ok", 6: "failed"}.get(verdict.exit_code, "open"),
        steps=[(each.name, each.result, safe_text(each.detail, None)) for each in verdict.steps],
        figures=_figures(found, covered) if found is not None else (),
        charts=_charts(found, covered, members) if found is not None else None,
        results={OK: "ok", REFUTED: "failed"},
    )


def drawing_style() -> str:
    """Return the page's style."""
    return template("report.css") + template("log.css")


def coverage(folder: TileFolder, policy: "WitnessPolicy") -> Coverage:
    """Judge the newest cosigned checkpoint that lies beside the log."""
    judged = []
    for name in (WITNESSED, None):
        try:
            note = folder.text(name) if name is not None else folder.note()
        except MissingError:
            continue
        judged.append((parse_note(note).checkpoint.size, policy.judge(note)))
    size, best = max(judged, key=lambda each: (each[1].reached, each[0]))
    names, times = (best.names, best.times) if best.reached or best.names else ((), ())
    return Coverage(
        size=size if best.reached else 0,
        needed=policy.quorum,
        names=names,
        times=times,
        known=len(policy.witnesses),
    )


def _figures(found: Statistics, covered: Coverage | None) -> tuple[tuple[str, str], ...]:
    days = max(0, found.last_us - found.first_us) / _DAY_US
    rows = [
        ("entries", f"{found.size:,}"),
        ("from", _when(found.first_us)),
        ("to", _when(found.last_us)),
        ("days", f"{days:.1f}"),
        ("published", f"{found.kinds['PUBLISHED']:,}"),
        ("received", f"{found.kinds['RECEIVED']:,}"),
        ("refusals", f"{sum(found.refusals.values()):,}"),
        ("silences", f"{found.gap_count:,}"),
    ]
    if covered is not None:
        rows.append(("witnessed", f"{covered.size:,} of {found.size:,}"))
    return tuple(rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Charts:
    """Everything that is drawn; markup of our own making, and rows of words."""

    legend: tuple[tuple[str, str], ...]
    activity: str
    peers: str
    peer_rows: tuple[tuple[str, ...], ...]
    latency: str
    refusals: str
    witnesses: str
    witness_rows: tuple[tuple[str, str], ...]
    line: str
    gap_rows: tuple[tuple[str, ...], ...]
    scar_rows: tuple[tuple[str, ...], ...]
    kinds: tuple[tuple[str, str], ...]


def _charts(found: Statistics, covered: Coverage | None, members: Mapping[int, str]) -> Charts:
    titles = [_column_title(found, i) for i in range(SLOTS)]
    peers = sorted(found.peers.items(), key=lambda each: -(each[1].queued + each[1].received))[:MAX_ROWS]
    return Charts(
        legend=tuple((name, svg.COLOURS[name]) for name in (*GROUPS, OTHER)),
        activity=svg.stacked_bars(found.activity, _when(found.first_us), _when(found.last_us), titles),
        peers=svg.bars([(_name(members, n), _peer_parts(peer)) for n, peer in peers]),
        peer_rows=tuple(
            (
                _name(members, number),
                f"{peer.queued:,}",
                f"{peer.answered:,}",
                f"{peer.unanswered:,}",
                _bin_name(median_bin(peer.latencies)),
                f"{peer.refused_by_them:,}",
                f"{peer.received:,}",
                f"{peer.refused_by_us:,}",
            )
            for number, peer in peers
        ),
        latency=svg.histogram([_bin_name(i) for i in range(len(BINS_MS) + 1)], found.latencies, svg.COLOURS["sent"]),
        refusals=svg.bars(
            [(name, [("refusals", n, svg.COLOURS["refused"])]) for name, n in found.refusals.most_common(MAX_ROWS)]
        ),
        witnesses=_witness_strip(found, covered),
        witness_rows=_witness_rows(covered),
        line=_time_strip(found),
        gap_rows=tuple(
            (f"{index:,}", _when(begin), _when(end), _span(end - begin))
            for index, begin, end in sorted(found.gaps, key=lambda each: each[1] - each[2])[:MAX_ROWS]
        ),
        scar_rows=tuple((f"{index:,}", _when(at), kind) for index, at, kind in found.scars[:MAX_ROWS]),
        kinds=tuple((kind, f"{count:,}") for kind, count in sorted(found.kinds.items())),
    )


def _peer_parts(peer: Peer) -> list[tuple[str, int, str]]:
    return [
        ("sent and answered", min(peer.queued, peer.answered), svg.COLOURS["sent"]),
        ("sent, not answered", peer.unanswered, svg.COLOURS["refused"]),
        ("received", peer.received, svg.COLOURS["received"]),
    ]


def _witness_strip(found: Statistics, covered: Coverage | None) -> str:
    size = max(1, found.size)
    reached = covered.size / size if covered is not None else 0.0
    told = (
        f"entries 0 to {covered.size - 1:,}: cosigned" if covered is not None and covered.size else "none is cosigned"
    )
    spans = [(0.0, reached, svg.COLOURS["received"], told)] if reached else []
    if reached < 1:
        waiting = found.size - (covered.size if covered is not None else 0)
        spans.append((reached, 1.0, "#e0a63a", f"{waiting:,} entries wait for the witnesses"))
    return svg.strip(spans, (), ("entry 0", f"entry {found.size - 1:,}"))


def _witness_rows(covered: Coverage | None) -> tuple[tuple[str, str], ...]:
    if covered is None:
        return ()
    rows = zip(covered.names, covered.times, strict=True)
    return tuple((safe_text(name), _when(time * 1_000_000)) for name, time in rows)


def _time_strip(found: Statistics) -> str:
    span = max(1, found.last_us - found.first_us)

    def at(time_us: int) -> float:
        return (time_us - found.first_us) / span

    silent = [(at(a), at(b), "#e0a63a", f"silent {_span(b - a)} before entry {i:,}") for i, a, b in found.gaps]
    marks = [(at(t), svg.COLOURS["refused"], f"{kind} at entry {i:,}, {_when(t)}") for i, t, kind in found.scars]
    spans = [(0.0, 1.0, svg.COLOURS["receipts"], "the log was written"), *silent]
    return svg.strip(spans, marks, (_when(found.first_us), _when(found.last_us)))


def _column_title(found: Statistics, column: int) -> str:
    begin = found.first_us + (found.last_us - found.first_us) * column // SLOTS
    counts = [f"{name} {row[column]:,}" for name, row in found.activity.items() if row[column]]
    return f"{_when(begin)}: {', '.join(counts) or 'nothing'}"


def _name(members: Mapping[int, str], number: int) -> str:
    return members.get(number, f"member {number}")


def _bin_name(number: int | None) -> str:
    if number is None:
        return "–"
    if number == len(BINS_MS):
        return "> 1 d"
    ms = BINS_MS[number]
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if ms >= size:
            return f"≤ {ms // size} {unit}"
    return f"≤ {ms} ms"


def _span(time_us: int) -> str:
    seconds = time_us // 1_000_000
    hours, rest = divmod(seconds, 3600)
    return f"{hours // 24} d {hours % 24} h" if hours >= 48 else f"{hours} h {rest // 60} min {rest % 60} s"


def _when(time_us: int) -> str:
    told = instant(time_us)
    return told[:19].replace("T", " ") + "Z" if "T" in told else told


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
