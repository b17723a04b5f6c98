"""Write the dashboards: `python3 grafana/dashboards.py`. A test holds the committed files to it."""

import json
from pathlib import Path
from typing import Any

from panels import (
    SOURCE,
    Panel,
    colours,
    increase,
    lines,
    number,
    place,
    quantile,
    rate,
    states,
    timeline,
)

FOLDER = Path(__file__).parent / "dashboards"
LAST = "haven_last_transition_timestamp_seconds"
ROLES = (
    ("down", "dark-red"),
    ("uninitialised", "purple"),
    ("sealed", "orange"),
    ("standby", "blue"),
    ("activating", "yellow"),
    ("active", "green"),
)
"""A role's place is its number in the timeline."""
UP = (("down", "dark-red"), ("up", "green"))


def role_number() -> str:
    """Write the expression that gives each node one number for its role, 0 where it does not answer."""
    parts = [f'haven_role{{role="{name}"}} * {value}' for value, (name, _) in enumerate(ROLES) if value]
    return f'sum by (node) ({" or ".join(parts)} or up{{job="haven"}} * 0)'


def proxy(backend: str) -> str:
    """Write the expression for the servers that HAProxy counts in."""
    return f'haproxy_server_status{{proxy="{backend}",state="UP"}}'


def summary() -> list[Panel]:
    """Return the row of numbers."""
    agreement = f"sum({proxy('active')}) == bool sum(vault_core_active)"
    agree = states(("disagree", "red"), ("agree", "green"))
    once = "For 5 s: for less it may be a hand-over between the scrapes of two nodes. Two must never be."
    lasting = "min_over_time(sum(vault_core_active)[5s:1s])"
    return [
        number(
            5, "Active node", "Who answers now.", ("vault_core_active == 1", "{{node}}"), noValue="nobody"
        ),
        number(3, "Term", "Grows with each change of the lock.", ("max(haven_term)", "")),
        number(
            4,
            "Standbys",
            "Nodes that could take over.",
            ('sum(haven_role{role="standby"})', ""),
            thresholds=colours((None, "red"), (1, "yellow"), (2, "green")),
        ),
        number(
            4,
            "Since the last take-over",
            "Time for which the active node has been active.",
            (f'time() - max({LAST}{{to="active"}})', ""),
            unit="s",
            thresholds=colours((None, "yellow"), (60, "green")),
        ),
        number(
            4,
            "Most active nodes at once",
            once,
            (f"max_over_time({lasting}[$__range:1s])", ""),
            thresholds=colours((None, "green"), (2, "red")),
        ),
        number(4, "HAProxy and nodes", "Whether they agree.", (agreement, ""), mappings=[agree]),
    ]


def leadership() -> list[Panel]:
    """Return the panels that show who was active when, and what HAProxy made of it."""
    change = increase("haven_transitions_total", "node", "from", "to", "reason")
    active = (("-", "transparent"), ("active", "green"))
    return [
        timeline(24, "Role of each node", "As each says itself.", ROLES, (role_number(), "{{node}}")),
        timeline(12, "HAProxy: active", "Health is 200.", active, (proxy("active"), "{{server}}")),
        timeline(12, "HAProxy: unsealed", "Health is 200 or 429.", UP, (proxy("reads"), "{{server}}")),
        lines(12, "Term", "none", "The term that each node knows of.", ("haven_term", "{{node}}")),
        lines(
            12,
            "Lease",
            "s",
            "How long a node may still answer without another heartbeat.",
            ("haven_lease_remaining_seconds", "{{node}}"),
        ),
        lines(
            12,
            "Changes of role",
            "none",
            "By what led to them.",
            (f"{change} > 0", "{{node}}: {{from}} to {{to}} ({{reason}})"),
        ),
        lines(
            12,
            "How long changes took",
            "s",
            "The slowest in the interval.",
            (quantile("1", "haven_take_over_seconds", "road"), "take-over: {{road}}"),
            (quantile("1", "haven_hand_over_seconds"), "hand-over"),
            (quantile("1", "haven_activation_seconds"), "activation"),
            (quantile("1", "haven_refence_seconds", "outcome"), "refence: {{outcome}}"),
        ),
    ]


def requests() -> list[Panel]:
    """Return the panels that show what clients felt."""
    answers = rate('haproxy_frontend_http_responses_total{proxy="haven"}', "code")
    by_node = rate("haven_http_request_duration_seconds_count", "node", "status")
    late = quantile("0.99", "haven_heartbeat_late_seconds", "node")
    slow = quantile("0.99", "haven_http_request_duration_seconds", "node", "method")
    return [
        lines(12, "Answers", "reqps", "As HAProxy sent them to clients.", (answers, "{{code}}")),
        lines(
            12,
            "Pauses",
            "none",
            "Requests that wait for an active node, and how long the slowest waited.",
            ("sum(haven_parked_requests)", "waiting now"),
            (quantile("1", "haven_parked_wait_seconds", "outcome"), "slowest, s: {{outcome}}"),
        ),
        lines(
            12,
            "Requests by node",
            "reqps",
            "Answered, and sent on to the active node.",
            (by_node, "{{node}} {{status}}"),
            (rate("haven_forwarded_total", "node", "outcome"), "{{node}} forwarded: {{outcome}}"),
        ),
        lines(12, "Time to answer", "s", "99 % are faster.", (slow, "{{node}} {{method}}")),
        lines(
            12,
            "HAProxy repeats",
            "reqps",
            "Connections tried again, and requests moved to another node.",
            (rate("haproxy_server_retry_warnings_total", "proxy"), "{{proxy}} again"),
            (rate("haproxy_server_redispatch_warnings_total", "proxy"), "{{proxy}} moved"),
            (rate("haproxy_server_connection_errors_total", "proxy"), "{{proxy}} not connected"),
        ),
        lines(
            12,
            "Doubt",
            "none",
            "Writes that the fence refused; how late the heartbeat ran (99 %).",
            (increase("haven_fenced_total", "node"), "{{node}} fenced"),
            (late, "{{node}} late, s"),
        ),
    ]


def consul() -> list[Panel]:
    """Return the panels that show the storage beneath."""
    outcome = rate("haven_consul_call_seconds_count", "node", "outcome")
    slow = quantile("0.99", "haven_consul_call_seconds", "operation")
    return [
        timeline(8, "Consul servers", "Whether each answers.", UP, ('up{job="consul"}', "{{node}}")),
        lines(8, "Consul calls", "reqps", "An unknown one may be done.", (outcome, "{{node}} {{outcome}}")),
        lines(8, "Time of Consul calls", "s", "99 % are faster.", (slow, "{{operation}}")),
    ]


def annotations() -> list[dict[str, Any]]:
    """Mark each change at its own time, which lies between scrapes; the value is in milliseconds."""
    common = {"datasource": SOURCE, "enable": True, "step": "1s", "useValueForTime": True}
    return [
        {
            **common,
            "name": "Take-overs",
            "iconColor": "green",
            "expr": f'{LAST}{{to="active"}} * 1000',
            "titleFormat": "{{node}} is active",
            "textFormat": "from {{from}} by {{reason}}",
        },
        {
            **common,
            "name": "Losses",
            "iconColor": "red",
            "expr": f'{LAST}{{from="active"}} * 1000',
            "titleFormat": "{{node}} is no longer active",
            "textFormat": "now {{to}}: {{reason}}",
        },
    ]


def failover() -> dict[str, Any]:
    """Describe the dashboard of changes of the active node."""
    return {
        "uid": "haven-failover",
        "title": "Haven: failover",
        "tags": ["haven"],
        "editable": True,
        "schemaVersion": 39,
        "refresh": "5s",
        "time": {"from": "now-15m", "to": "now"},
        "timezone": "browser",
        "graphTooltip": 1,
        "annotations": {"list": annotations()},
        "templating": {"list": []},
        "panels": place([(4, summary()), (7, leadership()), (7, requests()), (6, consul())]),
    }


DASHBOARDS = {"failover.json": failover}


def written(dashboard: dict[str, Any]) -> str:
    """Return a dashboard as it stands in its file."""
    return json.dumps(dashboard, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write every dashboard to its file."""
    for name, make in DASHBOARDS.items():
        (FOLDER / name).write_text(written(make()))


if __name__ == "__main__":
    main()
