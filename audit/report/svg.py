"""Charts as inline SVG: numbers in, markup out. Every word in them is escaped here; nothing is loaded, nothing runs."""

from collections.abc import Mapping, Sequence
from html import escape

COLOURS = {
    "sent": "#1f5fa8",
    "received": "#2e8b57",
    "receipts": "#8fb4dc",
    "read": "#b58900",
    "refused": "#c0392b",
    "upkeep": "#c3cad3",
}
WIDTH, LEFT = 900, 60
_INK, _FAINT = "#4a5564", "#d8dee6"


def stacked_bars(rows: Mapping[str, Sequence[int]], first: str, last: str, titles: Sequence[str]) -> str:
    """Stacked columns over time, one colour a group.

    Args:
        rows: By group, one count a column.
        first: What stands under the left end.
        last: Under the right end.
        titles: Shown over each column.
    """
    height, bottom = 190, 160
    count = len(titles)
    tops = [sum(row[i] for row in rows.values()) for i in range(count)]
    most = max([*tops, 1])
    wide = (WIDTH - LEFT) / max(1, count)
    parts = [_axis(bottom), _text(LEFT - 8, 18, f"{most:,}", "end"), _text(LEFT - 8, bottom, "0", "end")]
    for i in range(count):
        y = float(bottom)
        inside = [f"<title>{escape(titles[i])}</title>"]
        for name, row in rows.items():
            tall = (bottom - 12) * row[i] / most
            y -= tall
            if row[i]:
                inside.append(_rect(LEFT + i * wide, y, max(1.0, wide - 1.5), max(0.6, tall), COLOURS[name]))
        parts.append(f"<g>{''.join(inside)}</g>")
    parts += [_text(LEFT, bottom + 20, first), _text(WIDTH, bottom + 20, last, "end")]
    return _svg(height, "Entries over time", parts)


def bars(rows: Sequence[tuple[str, Sequence[tuple[str, int, str]]]]) -> str:
    """Horizontal bars: for each row its name and parts (what, how many, colour)."""
    most = max([sum(n for _, n, _ in parts) for _, parts in rows] + [1])
    left, tall = 170, 26
    drawn = []
    for number, (name, parts) in enumerate(rows):
        y, x = number * tall + 4, float(left)
        drawn.append(_text(left - 10, y + 14, name, "end"))
        for what, count, colour in parts:
            wide = (WIDTH - left - 70) * count / most
            if count:
                title = f"<title>{escape(f'{name}: {count:,} {what}')}</title>"
                drawn.append(f"<g>{title}{_rect(x, y, max(1.0, wide), tall - 9, colour)}</g>")
            x += wide
        drawn.append(_text(x + 8, y + 14, f"{sum(n for _, n, _ in parts):,}"))
    return _svg(len(rows) * tall + 8, "Bars", drawn)


def histogram(labels: Sequence[str], counts: Sequence[int], colour: str) -> str:
    """Columns with a label under each and the count above."""
    height, bottom, most = 170, 125, max([*counts, 1])
    wide = (WIDTH - LEFT) / max(1, len(counts))
    parts = [_axis(bottom)]
    for i, (label, count) in enumerate(zip(labels, counts, strict=True)):
        tall = (bottom - 22) * count / most
        x = LEFT + i * wide
        parts.append(_rect(x + 4, bottom - tall, wide - 8, tall, colour))
        if count:
            parts.append(_text(x + wide / 2, bottom - tall - 5, f"{count:,}", "middle"))
        parts.append(_text(x + wide / 2, bottom + 18, label, "middle"))
    return _svg(height, "How long receipts took", parts)


def strip(
    spans: Sequence[tuple[float, float, str, str]], marks: Sequence[tuple[float, str, str]], ends: Sequence[str]
) -> str:
    """One line from 0 to 1: spans (from, to, colour, title), marks (at, colour, title) and what stands at both ends."""
    wide = WIDTH - LEFT
    parts = [_rect(LEFT, 14, wide, 22, _FAINT)]
    for begin, end, colour, title in spans:
        shape = _rect(LEFT + begin * wide, 14, max(1.5, (end - begin) * wide), 22, colour)
        parts.append(f"<g><title>{escape(title)}</title>{shape}</g>")
    for at, colour, title in marks:
        x = LEFT + at * wide
        shape = f'<path d="M{x:.1f} 8 l6 -8 h-12 z" transform="translate(0 6)" fill="{colour}"/>'
        parts.append(f"<g><title>{escape(title)}</title>{shape}{_rect(x - 0.75, 12, 1.5, 26, colour)}</g>")
    parts += [_text(LEFT, 54, ends[0]), _text(WIDTH, 54, ends[1], "end")]
    return _svg(62, "Line", parts)


def _svg(height: int, title: str, parts: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {WIDTH + 10} {height}" role="img" aria-label="{escape(title)}" font-size="13" '
    return head + f'font-family="sans-serif" xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'


def _rect(x: float, y: float, wide: float, tall: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:.1f}" fill="{colour}"/>'


def _axis(y: int) -> str:
    return f'<line x1="{LEFT}" y1="{y}" x2="{WIDTH}" y2="{y}" stroke="{_INK}"/>'


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{_INK}" text-anchor="{anchor}">{escape(words)}</text>'
