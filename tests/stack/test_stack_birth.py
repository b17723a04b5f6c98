"""A stack from nothing to service, and again: `up`, `up` once more, `down` and `up`."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from stack.running import CLUSTER, NODES, STORAGE, UNINITIALISED, Stack, exists

SECRET = {"data": {"colour": "green"}}


def test_two_bootstraps_at_once_make_one_cluster(no_stack: Stack) -> None:
    """Two people start it at once, or one does while an earlier start still goes on."""
    stack = no_stack
    assert stack.script("images").returncode == 0
    begun = stack.script("compose", "up", "--detach", "--no-build", "--pull", "never", *NODES)
    assert begun.returncode == 0, begun.stderr
    stack.until(lambda: {stack.health(node) for node in NODES} == {UNINITIALISED}, "every node answers")
    with ThreadPoolExecutor(max_workers=2) as pool:
        jobs = [
            pool.submit(stack.script, "compose", "run", "--rm", "-T", "--no-deps", "bootstrap")
            for _ in range(2)
        ]
    for job in jobs:
        assert job.result().returncode == 0, job.result().stderr
    told = stack.up()
    status, body = stack.call("GET", "auth/token/lookup-self")
    assert status == 200, "the kept root token is not that of the one cluster"
    assert "root" in body["data"]["policies"]
    assert stack.token not in told


def test_up_again_changes_nothing(stack: Stack) -> None:
    before = {service: stack.containers.id(service) for service in stack.containers.names(running=True)}
    active, token = stack.active(), stack.token
    told = stack.up()
    if "building" in told:
        pytest.skip("somebody changed the sources while the stack ran, so it was renewed")
    after = {service: stack.containers.id(service) for service in stack.containers.names(running=True)}
    assert (after, stack.active(), stack.token) == (before, active, token)


def test_the_cluster_serves_as_soon_as_up_returns_and_keeps_its_data(stack: Stack) -> None:
    assert stack.call("POST", "secret/data/kept", SECRET)[0] == 200
    token = stack.token
    stack.down()
    assert not stack.containers.names(running=False)
    assert not exists(CLUSTER)
    assert not exists(STORAGE)
    told = stack.up()
    status, body = stack.call("GET", "secret/data/kept")  # nothing waits here: `up` has
    assert (status, stack.token) == (200, token)
    assert body["data"]["data"] == SECRET["data"]
    assert stack.url in told


def test_status_names_every_node_and_the_active_one(stack: Stack) -> None:
    shown = stack.script("status")
    assert shown.returncode == 0, shown.stderr
    assert all(node in shown.stdout for node in NODES)
    assert f"active: {stack.active()}, 2 standby" in shown.stdout


def test_a_taken_port_is_told_in_one_line(stack: Stack) -> None:
    refused = stack.script(
        "up",
        COMPOSE_PROJECT_NAME="haven-test-second",
        HAVEN_STORAGE_PREFIX="10.89.75",
        HAVEN_CLUSTER_PREFIX="10.89.76",
    )
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert "port 28200 is taken" in refused.stderr
