"""Pictures from results, as SVG: the distributions of pauses, the waterfall of the steps. Pure functions."""

import math
from collections.abc import Sequence
from html import escape

from bench.failover.report import NAMES, Group
from bench.failover.store import STEPS

WIDTH, LEFT, RIGHT, TOP, ROW = 960, 230, 40, 70, 30
FONT = 'font-family="sans-serif" font-size="13"'
COLOURS = {"haven": "#1668b5", "openbao": "#c45a11"}
STEP_COLOURS = ("#b9c3cc", "#8e6bbf", "#d9a514", "#2f9e6e", "#1668b5", "#c43d4b")
STEP_TEXTS = {
    "carried out": "fault carried out",
    "noticed": "noticed",
    "sent": "lock transaction sent",
    "taken": "lock taken",
    "active": "active",
    "answered": "first answer (HAProxy, forwarding)",
}
LEAST, MOST = 0.001, 60.0


def _frame(rows: int, title: str, note: str, body: Sequence[str]) -> str:
    height = TOP + rows * ROW + 50
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" {FONT}>',
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
            f'<text x="16" y="24" font-size="17" font-weight="bold">{escape(title)}</text>',
            f'<text x="16" y="44" fill="#555555">{escape(note)}</text>',
            *body,
            "</svg>\n",
        ]
    )


def _place(seconds: float) -> float:
    """Return the x of a time on the logarithmic axis."""
    share = math.log(min(max(seconds, LEAST), MOST) / LEAST) / math.log(MOST / LEAST)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _label(y: float, text: str, colour: str = "#222222") -> str:
    return f'<text x="{LEFT - 12}" y="{y + 4:.1f}" text-anchor="end" fill="{colour}">{escape(text)}</text>'


def _axis(rows: int) -> list[str]:
    bottom = TOP + rows * ROW
    parts = []
    for seconds, text in ((0.001, "1 ms"), (0.01, "10 ms"), (0.1, "100 ms"), (1.0, "1 s"), (10.0, "10 s")):
        x = _place(seconds)
        parts.append(f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom}" stroke="#dddddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{text}</text>')
    return parts


def distributions(found: Sequence[Group], subtitle: str) -> str:
    """Draw each trial's pause, of reads or of writes, as a dot, with the median, and the budget as a bar."""
    body = _axis(len(found))
    for row, group in enumerate(found):
        y = TOP + row * ROW + ROW / 2
        colour = COLOURS[group.kind]
        body.append(_label(y, f"{group.fault.name}, {NAMES[group.kind]}", colour))
        pauses = sorted(map(max, group.pauses("reads"), group.pauses("writes")))
        for number, pause in enumerate(pauses):
            shift = (number % 5 - 2) * 2.5  # dots of like trials lie side by side
            body.append(
                f'<circle cx="{_place(pause):.1f}" cy="{y + shift:.1f}" r="3.5"'
                f' fill="{colour}" opacity="0.55"/>'
            )
        if pauses:
            x = _place(pauses[(len(pauses) - 1) // 2])
            body.append(
                f'<line x1="{x:.1f}" y1="{y - 10}" x2="{x:.1f}" y2="{y + 10}"'
                f' stroke="{colour}" stroke-width="3"/>'
            )
        if group.kind == "haven" and group.fault.budget is not None:
            x = _place(group.fault.budget)
            body.append(
                f'<line x1="{x:.1f}" y1="{y - 12}" x2="{x:.1f}" y2="{y + 12}" stroke="#111111"'
                ' stroke-width="2" stroke-dasharray="3 2"/>'
            )
    note = f"{subtitle}. A dot per run; solid bar: median; dashed bar: Haven's budget."
    return _frame(len(found), "Longest pause of reads or writes through HAProxy", note, body)


def waterfall(found: Sequence[Group], subtitle: str) -> str:
    """Draw how long each step took in the median, one bar per fault; only changes of the active node."""
    shown = [group for group in found if group.results and group.steps()["taken"] is not None]
    rows = len(shown)
    body = []
    for row, group in enumerate(shown):
        y = TOP + row * ROW + ROW / 2
        body.append(_label(y, f"{group.fault.name}, {NAMES[group.kind]}", COLOURS[group.kind]))
        body += _bar(group, y)
    return _frame(
        rows + 2,
        "Where the time goes after a fault",
        f"{subtitle}. Medians. Each bar has a scale of its own: its length is in milliseconds at its end.",
        [*body, *_legend(TOP + rows * ROW + 20)],
    )


def _last(group: Group) -> float:
    return max((time for time in group.steps().values() if time is not None), default=0.0)


def _bar(group: Group, y: float) -> list[str]:
    """Draw the steps one after the other; a bar fills the width, however long it took."""
    room = WIDTH - LEFT - RIGHT - 60
    scale = room / (_last(group) or 1.0)
    parts, begin = [], 0.0
    for step, colour in zip(STEPS, STEP_COLOURS, strict=True):
        time = group.steps()[step]
        if time is None or time <= begin:
            continue
        x, width = LEFT + begin * scale, (time - begin) * scale
        parts.append(
            f'<rect x="{x:.1f}" y="{y - 10:.1f}" width="{width:.1f}" height="20" fill="{colour}">'
            f"<title>{escape(STEP_TEXTS[step])}: {(time - begin) * 1000:.0f} ms</title></rect>"
        )
        if width > 34:
            parts.append(
                f'<text x="{x + width / 2:.1f}" y="{y + 4:.1f}" text-anchor="middle" fill="#ffffff"'
                f' font-size="11">{(time - begin) * 1000:.0f}</text>'
            )
        begin = time
    parts.append(f'<text x="{LEFT + begin * scale + 6:.1f}" y="{y + 4:.1f}">{begin * 1000:.0f} ms</text>')
    return parts


def _legend(y: float) -> list[str]:
    parts = []
    for number, (step, colour) in enumerate(zip(STEPS, STEP_COLOURS, strict=True)):
        x, line = 16 + number % 3 * 300, y + number // 3 * 24
        parts.append(f'<rect x="{x}" y="{line - 11:.1f}" width="14" height="14" fill="{colour}"/>')
        parts.append(f'<text x="{x + 20}" y="{line + 1:.1f}">until: {escape(STEP_TEXTS[step])}</text>')
    return parts
