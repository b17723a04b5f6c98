"""The commands an operator and a container run."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_double import ApiDouble

from haven import cli, dev
from haven.overview import NodeView, from_metrics, own_address, table, verdict

APP = Path(__file__).resolve().parents[2] / "app"
METRICS = """\
# HELP haven_role 1 for the role that the node has.
# TYPE haven_role gauge
haven_role{role="standby"} 0.0
haven_role{role="activating"} 1.0
haven_term 42.0
haven_last_transition_timestamp_seconds{from="sealed",reason="unsealed",to="standby"} 1.79e+09
haven_last_transition_timestamp_seconds{from="standby",reason="death",to="activating"} 1.7900001e+09
"""


@pytest.fixture
def api() -> Iterator[ApiDouble]:
    double = ApiDouble()
    yield double
    double.close()


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({}, "http://127.0.0.1:8200"),
        ({"HAVEN_LISTEN": "[::]:8300"}, "http://[::1]:8300"),
        ({"HAVEN_LISTEN": "10.0.0.7:8200", "HAVEN_TLS_CERT_FILE": "/c"}, "https://10.0.0.7:8200"),
    ],
)
def test_status_without_names_asks_its_own_node(variables: dict[str, str], address: str) -> None:
    assert own_address(variables) == address


def test_status_imports_nothing_but_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import haven.cli, haven.overview\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(new - sys.stdlib_module_names))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(APP)}, capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == ["haven"]


def test_metrics_tell_role_term_time_and_reason() -> None:
    view = from_metrics(NodeView("http://a:8200", "standby"), METRICS)
    assert (view.state, view.term, view.since, view.reason) == ("activating", "42", 1.7900001e9, "death")


def test_status_shows_every_node(api: ApiDouble, capsys: pytest.CaptureFixture[str]) -> None:
    api.metrics = METRICS.replace('"activating"} 1', '"active"} 1')
    silent = ApiDouble()
    silent.close()
    assert cli.main(["status", api.url, silent.url, "--metrics-port", str(api.port)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NODE", "STATE", "TERM", "SINCE", "REASON", "LEADER"]
    assert lines[1].split() == [
        api.url,
        "active",
        "42",
        "2026-09-21T14:15:00+00:00",
        "death",
        "http://haven-2:8200",
    ]
    assert "unreachable" in lines[2]
    assert lines[-1] == f"active: {api.url}, 0 standby"


def test_status_works_without_metrics(api: ApiDouble, capsys: pytest.CaptureFixture[str]) -> None:
    api.health = 503
    api.metrics = ""
    assert cli.main(["status", api.url, "--metrics-port", str(api.port)]) == 1
    assert "sealed" in capsys.readouterr().out


def test_the_verdict_needs_exactly_one_active_node() -> None:
    active, standby = NodeView("a", "active"), NodeView("b", "standby")
    assert verdict([active, standby]) == (True, "active: a, 1 standby")
    assert not verdict([active, active])[0]
    assert not verdict([standby])[0]
    assert table([active]).splitlines()[1].split() == ["a", "active", "-", "-", "-", "-"]


def test_a_node_may_be_named_by_its_host() -> None:
    assert cli._url("haven-1") == "http://haven-1:8200"
    assert cli._url("haven-1:8300") == "http://haven-1:8300"
    assert cli._url("https://haven-1/") == "https://haven-1"


def test_bootstrap_runs_both_steps(api: ApiDouble, tmp_path: Path) -> None:
    key, output = tmp_path / "key", tmp_path / "init.json"
    arguments = ["bootstrap", "--seal-key", str(key), "--init", api.url, "--output", str(output)]
    assert cli.main(arguments) == 0
    assert key.exists()
    assert output.exists()
    assert cli.main(arguments) == 0
    output.unlink()
    assert cli.main(arguments) == 1


@pytest.mark.parametrize("arguments", [[], ["--init", "http://a"], ["--output", "/x"]])
def test_bootstrap_refuses_half_of_its_arguments(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["bootstrap", *arguments])


def test_a_wrong_configuration_is_refused_with_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HAVEN_MAX_BODY", "much")
    assert cli.main(["server"]) == 2
    assert "HAVEN_MAX_BODY: 'much'" in capsys.readouterr().err


def test_a_development_node_keeps_nothing_of_the_settings_around_it() -> None:
    made = dev.environment({"HAVEN_STORAGE": "consul", "HOME": "/h"}, "127.0.0.1:1", "127.0.0.1:2")
    assert (made["HAVEN_STORAGE"], made["HAVEN_LISTEN"], made["HOME"]) == ("memory", "127.0.0.1:1", "/h")


class Alive:
    """A process that runs."""

    def poll(self) -> None:
        return None


def test_a_development_node_is_initialised_and_unsealed(api: ApiDouble) -> None:
    assert dev.prepare(Alive(), api.url) == ("hvs.rootrootroot", "a2V5")
    assert api.inits == [{"secret_shares": 1, "secret_threshold": 1}]
    assert not api.sealed


def test_a_development_node_never_takes_another_servers_place(api: ApiDouble) -> None:
    assert cli.main(["dev", "--listen", f"127.0.0.1:{api.port}"]) == 1
    assert api.inits == []
