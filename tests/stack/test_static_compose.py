"""The Compose file: both generations read it, nothing is left open, a second copy has a place beside it."""

import re
import shutil

import pytest

from haven.variables import VARIABLES
from stack.checkout import ROOT, compose, run

JOBS = {"seal-key", "bootstrap"}
SERVICES = JOBS | {
    *(f"{kind}-{number}" for kind in ("consul", "haven") for number in (1, 2, 3)),
    *("haproxy", "prometheus", "grafana"),
}
VARIABLE = re.compile(r"\$\{([A-Z0-9_]+):-([^}]*)\}")
SECOND_COPY = {
    "COMPOSE_PROJECT_NAME": "haven-test",
    "HAVEN_STORAGE_PREFIX": "10.89.63",
    "HAVEN_CLUSTER_PREFIX": "10.89.64",
    "HAVEN_PORT": "18200",
    "HAVEN_NODE_1_PORT": "18211",
    "HAVEN_NODE_2_PORT": "18212",
    "HAVEN_NODE_3_PORT": "18213",
    "HAVEN_STATS_PORT": "18404",
    "HAVEN_PROMETHEUS_PORT": "19090",
    "HAVEN_GRAFANA_PORT": "13000",
}


@pytest.fixture(scope="module")
def stack():
    return compose()


def test_compose_1_reads_it() -> None:
    found = shutil.which("docker-compose")
    if not found or not run(found, "version", "--short").stdout.startswith("1."):
        pytest.skip("no docker-compose 1 on this machine")
    read = run(found, "--env-file", ".env.example", "config", "--quiet")
    assert read.returncode == 0, read.stderr
    assert "WARNING" not in read.stderr


def test_compose_2_reads_it_without_a_complaint() -> None:
    read = run("scripts/compose", "--env-file", ".env.example", "config", "--quiet")
    assert (read.returncode, read.stderr) == (0, "")


def test_it_has_the_services_of_the_design(stack) -> None:
    assert set(stack["services"]) == SERVICES


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_may_do_as_little_as_possible(stack, name: str) -> None:
    service = stack["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert not service.get("privileged")
    assert "container_name" not in service
    user = service["user"].split(":")[0]
    assert user.isdigit()
    assert int(user) > 0


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_has_limits(stack, name: str) -> None:
    service = stack["services"][name]
    assert int(service["mem_limit"]) > 0
    assert service["memswap_limit"] == service["mem_limit"]
    assert service["pids_limit"] > 0
    assert service["ulimits"]["core"] == 0 or service["ulimits"]["core"] == {"soft": 0, "hard": 0}
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}


@pytest.mark.parametrize("name", ["consul-1", "consul-2", "consul-3"])
def test_a_consul_server_has_room_for_a_hundred_thousand_secrets_twice(stack, name: str) -> None:
    """They took 470 MB at most (docs/operations.md); with 256 all servers ended again and again."""
    assert int(stack["services"][name]["mem_limit"]) >= 1 << 30


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_services_restart_and_are_checked_and_jobs_run_once(stack, name: str) -> None:
    service = stack["services"][name]
    if name in JOBS:
        assert service["restart"] == "no"
        assert "healthcheck" not in service
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD"


def test_up_waits_until_the_cluster_serves(stack) -> None:
    services = stack["services"]
    adopted = {
        job
        for name, service in services.items()
        if name not in JOBS
        for job, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_completed_successfully"
    }
    assert adopted == JOBS
    assert "bootstrap" in services["haproxy"]["depends_on"]


def test_no_service_waits_for_a_healthy_one(stack) -> None:
    """Else a part that is down, which the rest can do without, would keep the rest from starting."""
    conditions = {
        how["condition"]
        for service in stack["services"].values()
        for how in service.get("depends_on", {}).values()
    }
    assert "service_healthy" not in conditions


def test_only_the_front_is_reachable_and_only_from_this_host(stack) -> None:
    services, networks = stack["services"], stack["networks"]
    assert networks["storage"]["internal"] is True
    assert networks["cluster"]["internal"] is True
    published = {name for name, service in services.items() if service.get("ports")}
    assert published == {"haproxy", "prometheus", "grafana"}
    assert all(port["host_ip"] == "127.0.0.1" for name in published for port in services[name]["ports"])
    assert {name for name, service in services.items() if "frontend" in service["networks"]} == published


def test_nodes_have_fixed_addresses_which_haproxy_knows(stack) -> None:
    services = stack["services"]
    for number in ("1", "2", "3"):
        node, server = services[f"haven-{number}"], services[f"consul-{number}"]
        address = node["networks"]["cluster"]["ipv4_address"]
        assert services["haproxy"]["environment"][f"HAVEN_{number}"] == address
        assert node["environment"]["HAVEN_CLUSTER_ADDR"] == f"{address}:8201"
        assert f"http://{address}:8200" in services["bootstrap"]["environment"]["HAVEN_NODES"].split(",")
        agent = f"http://{server['networks']['storage']['ipv4_address']}:8500"
        assert node["environment"]["HAVEN_CONSUL_ADDRS"].split(",")[int(number) - 1] == agent
    proxy = services["haproxy"]["networks"]["cluster"]["ipv4_address"]
    assert services["haven-1"]["environment"]["HAVEN_TRUSTED_PROXIES"] == proxy


def test_a_node_gets_only_variables_that_it_knows(stack) -> None:
    known = {variable.name for variable in VARIABLES}
    for name in ("haven-1", "haven-2", "haven-3", "seal-key", "bootstrap"):
        assert set(stack["services"][name].get("environment") or {}) <= known


def test_a_node_has_longer_to_stop_than_it_needs(stack) -> None:
    assert stack["services"]["haven-1"]["stop_grace_period"] == "30s"


def test_the_nodes_differ_only_in_name_and_address(stack) -> None:
    def shape(number: int) -> str:
        text = repr(stack["services"][f"haven-{number}"])
        return text.replace(f"haven-{number}", "N").replace(f"821{number}", "P").replace(f".2{number}", ".A")

    assert shape(1) == shape(2) == shape(3)


def test_the_seal_key_is_read_only_for_nodes_and_unseen_by_others(stack) -> None:
    for name, service in stack["services"].items():
        mounts = {volume["source"]: volume for volume in service.get("volumes", [])}
        assert ("seal" in mounts) == (name.startswith("haven-") or name == "seal-key")
        if name.startswith("haven-"):
            assert mounts["seal"]["read_only"] is True
        assert ("bootstrap" in mounts) == (name == "bootstrap")


def test_every_variable_is_explained_with_its_default() -> None:
    used = set(VARIABLE.findall((ROOT / "docker-compose.yml").read_text()))
    example = (ROOT / ".env.example").read_text()
    explained = set(re.findall(r"^#?([A-Z0-9_]+)=(.*)$", example, re.MULTILINE))
    assert used <= explained
    assert {name for name, _ in explained} == {name for name, _ in used} | {
        "COMPOSE_PROJECT_NAME",
        "COMPOSE_PROFILES",
    }


def test_a_second_copy_shares_no_port_network_or_name(stack) -> None:
    second = compose(**SECOND_COPY)

    def claims(read) -> set[str]:
        return {
            *(port["published"] for s in read["services"].values() for port in s.get("ports", [])),
            *(network["name"] for network in read["networks"].values()),
            *(volume["name"] for volume in read["volumes"].values()),
            *(
                config["subnet"]
                for network in read["networks"].values()
                for config in (network.get("ipam") or {}).get("config", [])
            ),
        }

    assert claims(stack).isdisjoint(claims(second))
    assert len(claims(stack)) == len(claims(second))


def test_shamir_is_one_variable_away() -> None:
    services = compose(HAVEN_SEAL_TYPE="shamir")["services"]
    told = {
        services[name]["environment"]["HAVEN_SEAL"] for name in ("haven-1", "haven-2", "haven-3", "bootstrap")
    }
    assert told == {"shamir"}
