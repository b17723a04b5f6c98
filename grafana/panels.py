"""The kinds of panels that the dashboards are made of, as Grafana's JSON."""

from typing import Any

Panel = dict[str, Any]
Query = tuple[str, str]
"""An expression and its legend."""

SOURCE = {"type": "prometheus", "uid": "prometheus"}
WINDOW = "[$__rate_interval]"
COLUMNS = 24


def lines(width: int, title: str, unit: str, text: str, *queries: Query) -> Panel:
    """Describe a panel of lines over time."""
    style = {"lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "lineInterpolation": "stepAfter"}
    defaults = {"unit": unit, "min": 0, "custom": style}
    options = {"legend": _legend(), "tooltip": {"mode": "multi", "sort": "desc"}}
    return _panel("timeseries", width, title, text, queries, defaults, options)


def number(width: int, title: str, text: str, query: Query, **defaults: Any) -> Panel:
    """Describe a panel of one number, or of its legend where the query has one."""
    options = {
        "textMode": "name" if query[1] else "value",
        "colorMode": "background",
        "graphMode": "none",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return _panel("stat", width, title, text, (query,), defaults, options)


def timeline(width: int, title: str, text: str, names: tuple[Query, ...], *queries: Query) -> Panel:
    """Describe a panel of states over time; `names` are the states from 0 on with their colours."""
    defaults = {"mappings": [states(*names)], "custom": {"fillOpacity": 80, "lineWidth": 0}}
    options = {"mergeValues": True, "showValue": "auto", "rowHeight": 0.8, "legend": _legend()}
    return _panel("state-timeline", width, title, text, queries, defaults, options)


def states(*names: Query) -> dict[str, Any]:
    """Name and colour the values 0, 1, 2, ..."""
    named = {str(value): {"text": name, "color": colour} for value, (name, colour) in enumerate(names)}
    return {"type": "value", "options": named}


def colours(*steps: tuple[float | None, str]) -> dict[str, Any]:
    """Colour a number: (from this value on, colour), the first from None."""
    return {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in steps]}


def rate(counter: str, *by: str) -> str:
    """Write the expression for a counter's growth per second, summed by labels."""
    return f"sum by ({', '.join(by)}) (rate({counter}{WINDOW}))"


def increase(counter: str, *by: str) -> str:
    """Write the expression for a counter's growth in the panel's interval, summed by labels."""
    return f"sum by ({', '.join(by)}) (increase({counter}{WINDOW}))"


def quantile(of: str, histogram: str, *by: str) -> str:
    """Write the expression for a quantile of a histogram in the panel's interval."""
    return f"histogram_quantile({of}, {rate(f'{histogram}_bucket', *by, 'le')})"


def place(rows: list[tuple[int, list[Panel]]]) -> list[Panel]:
    """Lay (height, panels) out from left to right, and number the panels."""
    placed: list[Panel] = []
    top = 0
    for height, panels in rows:
        left = 0
        for described in panels:
            width = described["gridPos"]["w"]
            if left + width > COLUMNS:
                left, top = 0, top + height
            position = {"x": left, "y": top, "w": width, "h": height}
            placed.append({**described, "id": len(placed) + 1, "gridPos": position})
            left += width
        top += height
    return placed


def _legend() -> dict[str, str]:
    return {"displayMode": "list", "placement": "bottom"}


def _panel(
    kind: str,
    width: int,
    title: str,
    text: str,
    queries: tuple[Query, ...],
    defaults: dict[str, Any],
    options: dict[str, Any],
) -> Panel:
    """Put the parts together; queries are named A, B, C, ..."""
    targets = [
        {"refId": chr(ord("A") + place), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
        for place, (expression, legend) in enumerate(queries)
    ]
    return {
        "type": kind,
        "title": title,
        "description": text,
        "datasource": SOURCE,
        "gridPos": {"w": width},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": targets,
    }
