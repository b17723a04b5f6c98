"""How the failover benchmark goes about its trials, with clusters that are played."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
from aiohttp import web
from bench.cluster import Cluster, ClusterError
from bench.docker import DockerError
from bench.failover import __main__ as failover
from bench.failover.__main__ import MOST_BROKEN, Side, measure, write_report
from bench.failover.report import groups
from bench.failover.store import Result, Setting, Store
from bench.failover.work import Work
from bench.faults import FAULTS, Fault
from bench.http import Target
from bench.openbao import can_lose_one

SETTING = Setting("", 0)
NODE_FAULTS = [fault for fault in FAULTS if not fault.inflicted_on_consul]
SEEN = {"requests": 9, "pause": 0.1, "wait": 0.1, "usual": 0.01, "refused": 0, "unknown": 0}


def result(kind: str, fault: str, *, took: float = 0.0, error: str = "") -> Result:
    late = {"p50": 0.0, "p99": 0.001, "max": 0.002, "cpu": 0.1, "stolen": 0.02}
    return Result(
        kind, fault, "", 0, dict(SEEN), dict(SEEN), {}, {}, late, 0, 0, False, {}, error=error, took=took
    )


def work(store: Store, runs: int, faults: Sequence[Fault] = NODE_FAULTS) -> Work:
    return Work(["haven", "openbao"], faults, SETTING, runs, store)


def test_what_is_left_is_what_has_no_good_trial(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(result("openbao", "kill"))
    store.add(result("openbao", "seal", error="not whole"))
    asked = work(store, 1)
    assert "kill" not in [fault.name for fault in asked.left("openbao")]
    assert "seal" in [fault.name for fault in asked.left("openbao")]
    assert asked.done("openbao") == (1, len(NODE_FAULTS))
    assert not Work(["openbao"], [FAULTS[-1]], SETTING, 1, store).left("openbao"), "OpenBao has no Consul"


def test_the_time_left_is_judged_by_trials_of_the_same_fault(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(result("openbao", "kill", took=20.0))
    store.add(result("openbao", "seal", took=10.0))
    kill, seal, step_down = (
        next(fault for fault in FAULTS if fault.name == name) for name in ("kill", "seal", "step-down")
    )
    asked = Work(["openbao"], [kill, seal, step_down], SETTING, 3, store)
    assert asked.seconds_left() == pytest.approx(2 * 20.0 + 2 * 10.0 + 3 * 15.0)


class Played:
    """A kind of cluster that counts its starts."""

    def __init__(self) -> None:
        self.starts = self.stops = 0
        self.side = Side("openbao", self.start, self.stop)

    async def start(self) -> Cluster:
        self.starts += 1
        return cast(Cluster, self)

    async def stop(self) -> None:
        self.stops += 1

    async def whole(self) -> None:
        pass


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[Result | Exception]], None]:
    """Let the trials come out as told."""

    def play(outcomes: Sequence[Result | Exception]) -> None:
        left = iter(outcomes)

        async def run(*_: object, **__: object) -> Result:
            outcome = next(left)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        monkeypatch.setattr(failover, "run", run)
        monkeypatch.setattr(failover, "result", lambda kind, trial, setting: trial)

    return play


Play = Callable[[Sequence[Result | Exception]], None]


async def test_a_trial_that_broke_is_done_again_on_a_fresh_cluster(tmp_path: Path, trials: Play) -> None:
    store, played = Store(tmp_path), Played()
    trials([ClusterError("not whole"), result("openbao", "kill")])
    await measure(played.side, work(store, 1, FAULTS[:1]))
    assert [one.error for one in store.all()] == ["not whole", ""]
    assert store.all()[1].took > 0
    assert (played.starts, played.stops) == (2, 3)


async def test_a_failure_of_docker_says_nothing_about_the_cluster(tmp_path: Path, trials: Play) -> None:
    store, played = Store(tmp_path), Played()
    trials([DockerError("unable to freeze"), result("openbao", "kill")])
    await measure(played.side, work(store, 1, FAULTS[:1]))
    assert [one.error for one in store.all()] == [""]
    assert played.starts == 2


async def test_a_cluster_that_breaks_again_and_again_is_given_up(tmp_path: Path, trials: Play) -> None:
    store, played = Store(tmp_path), Played()
    trials([ClusterError("not whole")] * MOST_BROKEN)
    with pytest.raises(ClusterError, match="in a row"):
        await measure(played.side, work(store, 1, FAULTS[:1]))
    assert len(store.all()) == MOST_BROKEN
    assert played.stops == MOST_BROKEN + 1, "it is removed all the same"


def test_the_report_is_saved_where_it_shall_stay(tmp_path: Path) -> None:
    own, kept = tmp_path / "own", tmp_path / "docs" / "kept"
    write_report([own, kept], groups([result("openbao", "kill")], SETTING), SETTING)
    names = {"report.md", "results.json", "pauses.svg", "waterfall.svg"}
    assert {path.name for path in kept.iterdir()} == names
    assert json.loads((kept / "results.json").read_text())[0]["fault"] == "kill"
    assert all((own / name).read_bytes() == (kept / name).read_bytes() for name in names)


@asynccontextmanager
async def autopilot(answer: object, status: int = 200) -> AsyncIterator[Target]:
    async def state(request: web.Request) -> web.Response:
        return web.json_response(answer, status=status)

    application = web.Application()
    application.router.add_get("/v1/sys/storage/raft/autopilot/state", state)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield Target(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("answer", "status", "whole"),
    [
        ({"data": {"healthy": True, "failure_tolerance": 1}}, 200, True),
        ({"data": {"healthy": True, "failure_tolerance": 0}}, 200, False),  # followers without a vote yet
        ({"data": {"healthy": False, "failure_tolerance": 1}}, 200, False),
        ({"data": None}, 200, False),  # a leader that knows nothing yet
        ({"errors": []}, 500, False),
    ],
)
async def test_openbao_is_whole_when_it_can_lose_a_node(answer: object, status: int, whole: bool) -> None:
    async with autopilot(answer, status) as target:
        assert await can_lose_one(target) is whole
