"""What `haven status` shows: every node's state, who is active, since when and why."""

import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

from haven.ask import NoAnswer, ask

SECONDS = 2.0
SAMPLE = re.compile(r"^([a-z_]+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)
LABEL = re.compile(r'([a-z_]+)="([^"]*)"')
STATES = {200: "active", 429: "standby", 501: "uninitialised", 503: "sealed"}
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
HEADINGS = ("NODE", "STATE", "TERM", "SINCE", "REASON", "LEADER")


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node as it tells of itself; `since` in seconds since the epoch, 0 where it does not tell."""

    address: str
    state: str
    leader: str = "-"
    term: str = "-"
    since: float = 0.0
    reason: str = "-"


def own_address(environment: Mapping[str, str]) -> str:
    """Return the URL of this container's node, from the variables that it is configured with."""
    host, _, port = (environment.get("HAVEN_LISTEN") or "0.0.0.0:8200").rpartition(":")
    bare = host.strip("[]")
    reached = EVERYWHERE.get(bare, bare)
    scheme = "https" if environment.get("HAVEN_TLS_CERT_FILE") else "http"
    return f"{scheme}://[{reached}]:{port}" if ":" in reached else f"{scheme}://{reached}:{port}"


def overview(addresses: Sequence[str], metrics_port: int) -> list[NodeView]:
    """Ask every node at once."""
    with ThreadPoolExecutor(max_workers=max(1, len(addresses))) as pool:
        return list(pool.map(lambda address: look(address, metrics_port), addresses))


def look(address: str, metrics_port: int) -> NodeView:
    """Ask one node: its health, whom it takes for the leader, and its metrics for when and why."""
    try:
        health = ask("GET", f"{address}/v1/sys/health", SECONDS)
    except NoAnswer as silence:
        return NodeView(address, f"unreachable ({silence})")
    view = NodeView(address, STATES.get(health.status, f"status {health.status}"))
    try:
        leader = ask("GET", f"{address}/v1/sys/leader", SECONDS).json()
        view = replace(view, leader=str(leader.get("leader_address") or "-"))
        host = urlsplit(address).hostname or ""
        bracketed = f"[{host}]" if ":" in host else host
        metrics = ask("GET", f"http://{bracketed}:{metrics_port}/metrics", SECONDS)
    except NoAnswer:
        return view
    return from_metrics(view, metrics.body.decode(errors="replace"))


def from_metrics(view: NodeView, text: str) -> NodeView:
    """Add what the metrics tell: the exact role, the term, the last change of role and its reason."""
    latest = (0.0, "-")
    for name, labels, value in samples(text):
        if name == "haven_role" and value == 1:
            view = replace(view, state=labels.get("role", view.state))
        elif name == "haven_term":
            view = replace(view, term=f"{value:.0f}")
        elif name == "haven_last_transition_timestamp_seconds":
            latest = max(latest, (value, labels.get("reason", "-")))
    return replace(view, since=latest[0], reason=latest[1])


def samples(text: str) -> Iterable[tuple[str, dict[str, str], float]]:
    """Yield name, labels and value of each sample of a scrape."""
    for name, labels, value in SAMPLE.findall(text):
        yield name, dict(LABEL.findall(labels)), float(value)


def table(views: Sequence[NodeView]) -> str:
    """Lay the nodes out in columns."""
    rows = [HEADINGS, *(_row(view) for view in views)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def verdict(views: Sequence[NodeView]) -> tuple[bool, str]:
    """Say in one line how the cluster is: true if exactly one node is active."""
    active = [view.address for view in views if view.state == "active"]
    if len(active) == 1:
        return True, f"active: {active[0]}, {sum(view.state == 'standby' for view in views)} standby"
    if active:
        return False, f"{len(active)} nodes call themselves active; ask again, a change may be under way"
    return False, "no node is active"


def _row(view: NodeView) -> tuple[str, ...]:
    since = datetime.fromtimestamp(view.since, UTC).isoformat(timespec="seconds") if view.since else "-"
    return (view.address, view.state, view.term, since, view.reason, view.leader)
