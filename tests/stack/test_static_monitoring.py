"""Prometheus' files and Grafana's dashboards: valid, tested, generated, and about series that exist."""

import json
import re

import pytest
import yaml

from haven.telemetry import NodeSample, Telemetry
from stack.checkout import ROOT, compose, run, tool
from stack.promql import family, metrics

RULES = yaml.safe_load((ROOT / "prometheus" / "rules.yml").read_text())["groups"]
CONFIGURATION = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text())
FAILOVER = json.loads((ROOT / "grafana" / "dashboards" / "failover.json").read_text())
FOREIGN = {
    # Seen in a scrape of HAProxy 3.0, and in every HAProxy from 2.6 on.
    "haproxy_server_status",
    "haproxy_frontend_http_responses",
    "haproxy_server_retry_warnings",
    "haproxy_server_redispatch_warnings",
    "haproxy_server_connection_errors",
    # Seen in a scrape of Consul 1.8 (a gauge of its own telemetry, not of the Go client library).
    "consul_runtime_alloc_bytes",
    # Prometheus' own.
    "up",
}


def own_families() -> set[str]:
    """Return the metrics of a node."""
    telemetry = Telemetry()
    telemetry.observe_node(lambda: NodeSample("active", True, True, True, 1, 1.0))
    return {metric.name for metric in telemetry.registry.collect()}


def rules() -> list[dict[str, object]]:
    return [rule for group in RULES for rule in group["rules"]]


def expressions() -> dict[str, str]:
    """Return every expression of the rules and dashboards by where it stands."""
    found = {str(rule.get("alert") or rule.get("record")): str(rule["expr"]) for rule in rules()}
    for panel in FAILOVER["panels"]:
        for target in panel["targets"]:
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    for annotation in FAILOVER["annotations"]["list"]:
        found[f"annotation {annotation['name']}"] = annotation["expr"]
    return found


def test_promtool_accepts_the_configuration_and_the_rules() -> None:
    checked = run(tool("promtool"), "check", "config", "prometheus/prometheus.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_rules_pass_their_tests() -> None:
    tested = run(tool("promtool"), "test", "rules", "prometheus/rules.test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_has_a_test_that_expects_it() -> None:
    tests = yaml.safe_load((ROOT / "prometheus" / "rules.test.yml").read_text())["tests"]
    expected = {
        case["alertname"] for test in tests for case in test["alert_rule_test"] if case.get("exp_alerts")
    }
    assert {rule["alert"] for rule in rules() if "alert" in rule} == expected


@pytest.mark.parametrize(("where", "expression"), sorted(expressions().items()))
def test_every_metric_exists(where: str, expression: str) -> None:
    recorded = {str(rule["record"]) for rule in rules() if "record" in rule}
    named = metrics(expression)
    assert named
    assert {
        name for name in named if name not in recorded and family(name) not in own_families() | FOREIGN
    } == set()


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ('sum by (node) (rate(a_total{b="c"}[1m])) > 0', {"a_total"}),
        ('a{x="y"} == on (node) group_left (z) b', {"a", "b"}),
        ("time() - max(a) * 1000", {"a"}),
        ("histogram_quantile(0.99, sum by (le) (rate(a_bucket[$__rate_interval])))", {"a_bucket"}),
        ("max_over_time(sum(a)[$__range:1s]) or vector(0)", {"a"}),
    ],
)
def test_metrics_are_found_in_expressions(expression: str, names: set[str]) -> None:
    assert metrics(expression) == names


def test_dashboards_are_those_that_the_generator_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "grafana"))
    import dashboards

    folder = ROOT / "grafana" / "dashboards"
    assert {path.name for path in folder.iterdir()} == set(dashboards.DASHBOARDS)
    for name, make in dashboards.DASHBOARDS.items():
        assert (folder / name).read_text() == dashboards.written(make()), "run python3 grafana/dashboards.py"


def test_everything_asks_the_provisioned_source() -> None:
    path = ROOT / "grafana" / "provisioning" / "datasources" / "prometheus.yml"
    uid = yaml.safe_load(path.read_text())["datasources"][0]["uid"]
    asked = [FAILOVER["annotations"]["list"], FAILOVER["panels"], *(p["targets"] for p in FAILOVER["panels"])]
    assert {part["datasource"]["uid"] for parts in asked for part in parts} == {uid}
    assert "${" not in json.dumps(FAILOVER)


def test_panels_do_not_overlap() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in FAILOVER["panels"]:
        at = panel["gridPos"]
        own = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not own & cells
        assert at["x"] + at["w"] <= 24
        cells |= own
    assert len({panel["id"] for panel in FAILOVER["panels"]}) == len(FAILOVER["panels"])


def test_changes_are_marked_at_their_own_time_in_milliseconds() -> None:
    for annotation in FAILOVER["annotations"]["list"]:
        assert annotation["useValueForTime"] is True
        assert annotation["expr"].endswith("* 1000")


def test_prometheus_asks_services_that_exist_at_ports_that_they_have() -> None:
    services = compose()["services"]
    ports = {"haven": 9102, "haproxy": 8404, "consul": 8500, "prometheus": 9090}
    for job in CONFIGURATION["scrape_configs"]:
        for group in job["static_configs"]:
            for target in group["targets"]:
                host, port = re.fullmatch(r"(.+):(\d+)", target).groups()
                assert host == "localhost" or host in services
                assert int(port) == ports[job["job_name"]]
                assert host == "localhost" or set(services[host]["networks"]) & set(
                    services["prometheus"]["networks"]
                )
    watched = {
        t for job in CONFIGURATION["scrape_configs"] for g in job["static_configs"] for t in g["targets"]
    }
    assert len(watched) == 8
