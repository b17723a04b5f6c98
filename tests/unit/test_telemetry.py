"""What a scrape shows."""

import asyncio
import logging

import pytest
from prometheus_client.parser import text_string_to_metric_families

from haven.api.ports import Role
from haven.exposition import expose
from haven.ha.record import Road
from haven.telemetry import ROADS, ROLES, NodeSample, Telemetry


class WallClock:
    """A clock that stands still."""

    def now(self) -> float:
        return 5.0

    def wall(self) -> float:
        return 1_790_000_000.0


def value(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(name, labels)


def test_it_speaks_the_roles_and_roads_of_the_rest() -> None:
    assert set(ROLES) == set(Role)
    assert set(ROADS) == {*Road, "alone"}


def test_legal_transitions_start_at_zero() -> None:
    telemetry = Telemetry()
    labels = {"from": "standby", "to": "activating", "reason": "death"}
    assert value(telemetry, "haven_transitions_total", **labels) == 0
    telemetry.transition("standby", "activating", "death")
    assert value(telemetry, "haven_transitions_total", **labels) == 1


def test_a_transition_leaves_its_time() -> None:
    telemetry = Telemetry(WallClock())
    telemetry.transition("active", "standby", "step-down")
    labels = {"from": "active", "to": "standby", "reason": "step-down"}
    assert value(telemetry, "haven_last_transition_timestamp_seconds", **labels) == 1_790_000_000.0


def test_the_node_is_asked_at_each_scrape() -> None:
    telemetry = Telemetry()
    samples = [
        NodeSample("standby", True, True, False, 6, 0.0),
        NodeSample("active", True, True, True, 7, 1.25),
    ]
    telemetry.observe_node(lambda: samples[0])
    assert value(telemetry, "haven_role", role="standby") == 1
    assert value(telemetry, "haven_role", role="active") == 0
    samples.pop(0)
    assert value(telemetry, "haven_role", role="standby") == 0
    assert value(telemetry, "vault_core_active") == 1
    assert value(telemetry, "vault_core_unsealed") == 1
    assert value(telemetry, "haven_initialised") == 1
    assert value(telemetry, "haven_term") == 7
    assert value(telemetry, "haven_lease_remaining_seconds") == 1.25


async def test_a_node_that_cannot_tell_does_not_fail_the_scrape(caplog: pytest.LogCaptureFixture) -> None:
    telemetry = Telemetry()

    def broken() -> NodeSample:
        raise RuntimeError("no state")

    telemetry.observe_node(broken)
    with caplog.at_level(logging.ERROR):
        _, body = await expose(telemetry.registry)
    assert b"haven_build_info" in body
    assert b"haven_role" not in body
    assert "node cannot be sampled" in caplog.text


def test_every_method_leaves_a_series() -> None:
    telemetry = Telemetry()
    telemetry.consul_call("txn", "ok", 0.004)
    telemetry.heartbeat(0.002)
    telemetry.handed_over(0.03)
    telemetry.took_over("death", 0.05)
    telemetry.activated(0.01)
    telemetry.refenced("committed", 0.04)
    telemetry.forwarded("answered")
    telemetry.parked("released", 0.2)
    telemetry.parking(3)
    telemetry.fenced()
    telemetry.cache("hit")
    telemetry.cache("stale")
    telemetry.group_commit(12, 0.006)
    telemetry.http("GET", 204, 0.001)
    assert value(telemetry, "haven_consul_call_seconds_count", operation="txn", outcome="ok") == 1
    assert value(telemetry, "haven_heartbeat_late_seconds_count") == 1
    assert value(telemetry, "haven_hand_over_seconds_count") == 1
    assert value(telemetry, "haven_take_over_seconds_sum", road="death") == 0.05
    assert value(telemetry, "haven_activation_seconds_count") == 1
    assert value(telemetry, "haven_refence_seconds_count", outcome="committed") == 1
    assert value(telemetry, "haven_forwarded_total", outcome="answered") == 1
    assert value(telemetry, "haven_parked_wait_seconds_count", outcome="released") == 1
    assert value(telemetry, "haven_parked_requests") == 3
    assert value(telemetry, "haven_fenced_total") == 1
    assert value(telemetry, "haven_cache_total", outcome="hit") == 1
    assert value(telemetry, "haven_cache_total", outcome="miss") == 0
    assert value(telemetry, "haven_cache_total", outcome="stale") == 1
    assert value(telemetry, "haven_group_commit_members_sum") == 12
    assert value(telemetry, "haven_http_request_duration_seconds_count", method="GET", status="2xx") == 1


def test_methods_from_outside_make_no_series_of_their_own() -> None:
    telemetry = Telemetry()
    for number in range(50):
        telemetry.http(f"X{number}", 400, 0.001)
    name = "haven_http_request_duration_seconds_count"
    assert value(telemetry, name, method="other", status="4xx") == 50


def test_two_nodes_in_one_process_do_not_share_series() -> None:
    one, other = Telemetry(), Telemetry()
    one.fenced()
    assert value(other, "haven_fenced_total") == 0


async def test_the_exposition_lets_others_run_between_families() -> None:
    telemetry, turns = Telemetry(), 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(take_turns())
    await expose(telemetry.registry)
    other.cancel()
    assert turns >= len(list(telemetry.registry.collect()))


async def test_the_exposition_follows_the_accept_header() -> None:
    telemetry = Telemetry()
    plain, body = await expose(telemetry.registry)
    assert plain.startswith("text/plain; version=0.0.4")
    assert {family.name for family in text_string_to_metric_families(body.decode())} >= {"haven_fenced"}
    content_type, body = await expose(telemetry.registry, "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    assert body.count(b"# EOF") == 1
