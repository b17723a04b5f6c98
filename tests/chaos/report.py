"""Tell what the faults cost: a table in Markdown, and a picture of each fault's time line as SVG."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from chaos.workload import COLUMNS, FAILED_READS, REFUSED, UNKNOWN
from stack.running import NODES

Entry = Mapping[str, Any]
"""A `Result` as JSON."""

WIDTH, LEFT, RIGHT = 1200, 110, 20
LANE, GAP, TITLE, LABEL = 16, 4, 24, 13
ROLE_COLOURS = {
    "active": "#2e7d32",
    "activating": "#f9a825",
    "standby": "#cfd8dc",
    "sealed": "#7e57c2",
    "uninitialised": "#b39ddb",
    "silent": "#37474f",
}
FAILURE_COLOURS = {FAILED_READS: "#c62828", UNKNOWN: "#6a1b9a", REFUSED: "#ef6c00"}
PAUSE_COLOUR = "#e53935"


def table(entries: Sequence[Entry], meanings: Mapping[str, str]) -> str:
    """Return the table: pauses beside budgets, who led, what became of the requests, and the verdict."""
    heads = ("fault", "what happened", "budget", "reads paused", "writes paused", "active")
    account = "/".join(COLUMNS)
    lines = [
        f"Requests are counted as {account}.",
        "",
        f"| {' | '.join((*heads, 'through HAProxy', 'at the nodes', 'verdict'))} |",
        f"|{'---|' * (len(heads) + 3)}",
        *(_row(entry, meanings.get(entry["fault"], "")) for entry in entries),
    ]
    return "\n".join([*lines, "", *_complaints(entries)])


def _row(entry: Entry, meaning: str) -> str:
    budget = "-" if entry["budget"] is None else f"{entry['budget']:.2f} s"
    before, after = entry["leaders"]
    cells = (
        entry["fault"],
        meaning,
        budget,
        *(f"{_length(entry['pauses'][kind]):.3f} s" for kind in ("reads", "writes")),
        before if before == after else f"{before}, {after}",
        _counts(entry, ("haproxy",)),
        _counts(entry, NODES),
        verdict(entry),
    )
    return f"| {' | '.join(cells)} |"


def verdict(entry: Entry) -> str:
    """Return the verdict in a word or three."""
    if entry["lies"]:
        return "**not linearizable**"
    if entry["complaints"]:
        return "**promise broken**"
    return "excused: machine busy" if entry["excused"] else "kept"


def _counts(entry: Entry, entrances: Iterable[str]) -> str:
    return "/".join(
        str(sum(entry["answers"][entrance].get(name, 0) for entrance in entrances)) for name in COLUMNS
    )


def _length(span: Sequence[float]) -> float:
    return span[1] - span[0]


def _complaints(entries: Sequence[Entry]) -> list[str]:
    lines = []
    for entry in entries:
        for kind in ("lies", "complaints", "excused"):
            lines += [f"* {entry['fault']} (seed {entry['seed']}), {kind}: {text}" for text in entry[kind]]
    return ["What was wrong:", "", *lines] if lines else ["Nothing was wrong."]


def picture(entries: Sequence[Entry]) -> str:
    """Return an SVG with one strip for each fault: roles and terms, what was done, pauses and errors."""
    strips, top = [_legend()], 40
    for entry in entries:
        drawn, height = _strip(entry, top)
        strips.append(drawn)
        top += height
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}"'
            f' viewBox="0 0 {WIDTH} {top}" font-family="sans-serif" font-size="11">',
            f'<rect width="{WIDTH}" height="{top}" fill="white"/>',
            *strips,
            "</svg>",
        ]
    )


def _legend() -> str:
    known = {**ROLE_COLOURS, **FAILURE_COLOURS, "longest pause": PAUSE_COLOUR}
    parts, x = [], LEFT
    for name, colour in known.items():
        parts.append(_box(x, 12, 12, 12, colour))
        parts.append(_text(x + 16, 22, name))
        x += 28 + 7 * len(name)
    return "\n".join(parts)


def _strip(entry: Entry, top: int) -> tuple[str, int]:
    """Draw one fault; return it and its height."""
    scale = (WIDTH - LEFT - RIGHT) / max(entry["seconds"], 0.001)

    def at(moment: float) -> float:
        return LEFT + max(0.0, min(moment, entry["seconds"])) * scale

    marks = entry["marks"]
    parts = [_text(4, top + 16, f"{entry['fault']}: {verdict(entry).strip('*')}", weight="bold", size=13)]
    lanes = top + TITLE + LABEL * len(marks)
    parts += _seconds(at, entry, lanes + len(NODES) * (LANE + GAP))
    for number, node in enumerate(NODES):
        y = lanes + number * (LANE + GAP)
        parts.append(_text(4, y + 12, node))
        parts += [_role(at, y, span) for span in entry["roles"] if span[0] == node]
    bottom = lanes + len(NODES) * (LANE + GAP)
    for kind in ("reads", "writes"):
        since, until = entry["pauses"][kind]
        parts.append(_text(4, bottom + 11, kind))
        parts.append(_box(at(since), bottom + 3, max(1.0, at(until) - at(since)), 8, PAUSE_COLOUR))
        parts.append(_text(at(until) + 3, bottom + 11, f"{until - since:.3f} s"))
        bottom += LANE
    parts.append(_text(4, bottom + 11, "errors"))
    parts += [
        f'<circle cx="{at(moment):.1f}" cy="{bottom + (5 if entrance == "haproxy" else 11)}" r="2.5"'
        f' fill="{FAILURE_COLOURS[column]}"><title>{escape(f"{entrance} {what}")}</title></circle>'
        for moment, entrance, column, what in entry["failures"]
    ]
    bottom += LANE
    for row, (moment, text) in enumerate(marks):
        y = top + TITLE + LABEL * row
        parts.append(_line(at(moment), y + 2, bottom))
        parts.append(_label(at(moment), y + 10, f"{moment - entry['began']:+.2f} s {text}"))
    return "\n".join(parts), bottom - top + 14


def _seconds(at: Any, entry: Entry, y: float) -> list[str]:
    """Return a tick for each second since the fault began, under the lanes of the nodes."""
    last = int(entry["seconds"] - entry["began"])
    step = max(1, last // 40)
    ticks = range(0, last + 1, step)
    return [_box(at(entry["began"] + second), y - 3, 1, 5, "#263238") for second in ticks]


def _role(at: Any, y: float, span: Sequence[Any]) -> str:
    _, role, term, since, until = span
    drawn = _box(at(since), y, max(1.0, at(until) - at(since)), LANE, ROLE_COLOURS.get(role, "#000000"))
    if role == "active" and at(until) - at(since) > 40:
        drawn += _text(at(since) + 4, y + 12, f"term {term}", colour="white")
    return drawn


def _box(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" fill="{colour}"/>'


def _text(
    x: float, y: float, text: str, *, colour: str = "#212121", weight: str = "normal", size: int = 11
) -> str:
    style = f'fill="{colour}" font-weight="{weight}" font-size="{size}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'


def _label(x: float, y: float, text: str) -> str:
    """Write beside a mark's line, on the side that has room."""
    if x > WIDTH * 0.7:
        return f'<text x="{x - 3:.1f}" y="{y:.1f}" text-anchor="end" fill="#455a64">{escape(text)}</text>'
    return _text(x + 3, y, text, colour="#455a64")


def _line(x: float, top: float, bottom: float) -> str:
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}" stroke="#90a4ae"/>'
