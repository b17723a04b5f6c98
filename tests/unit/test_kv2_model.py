"""Any sequence of writes keeps the metadata and the stored values of a key in step."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haven.core.logical import Request, Response, Verb
from haven.engines.kv2 import Kv2
from haven.engines.kv2.model import Config, Metadata, merge_patch
from haven.errors import RequestError
from support.running_core import FakeClock, MemoryView

numbers = st.lists(st.integers(1, 12), min_size=1, max_size=3)
steps = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 9)),
    st.tuples(st.just("keep"), st.integers(1, 6)),
    st.tuples(st.sampled_from(["delete", "undelete", "destroy"]), numbers),
    st.tuples(st.sampled_from(["remove", "erase", "wait"]), st.none()),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=30))
def test_metadata_and_values_stay_in_step(sequence: list[tuple[str, Any]]) -> None:
    asyncio.run(_run(sequence))


async def _run(sequence: list[tuple[str, Any]]) -> None:
    view, clock = MemoryView(), FakeClock()
    engine = Kv2(clock)
    written: dict[int, int] = {}
    for name, argument in sequence:
        clock.time += 1
        commits = len(view.commits)
        answer = await _step(engine, view, name, argument)
        assert len(view.commits) - commits <= 1, "one logical write is one commit"
        if name == "erase":
            written.clear()
        elif name == "put":
            assert answer is not None
            assert answer.data is not None
            assert answer.data["version"] == max(written, default=0) + 1
            written[answer.data["version"]] = argument
        await _check(engine, view, clock, written)


async def _step(engine: Kv2, view: MemoryView, name: str, argument: Any) -> Response | None:
    requests = {
        "put": Request(Verb.UPDATE, "data/k", {"data": {"n": argument}}),
        "keep": Request(Verb.UPDATE, "metadata/k", {"max_versions": argument}),
        "remove": Request(Verb.DELETE, "data/k"),
        "erase": Request(Verb.DELETE, "metadata/k"),
        "wait": Request(Verb.UPDATE, "config", {"delete_version_after": 3}),
    }
    request = requests.get(name) or Request(Verb.UPDATE, f"{name}/k", {"versions": argument})
    return await engine.handle(request, view)


async def _check(engine: Kv2, view: MemoryView, clock: FakeClock, written: dict[int, int]) -> None:
    raw = view.values.get("metadata/k")
    versions = {} if raw is None else Metadata.decode(raw).versions
    alive = {number for number, version in versions.items() if not version.destroyed}
    stored = {int(key.split("/")[1]) for key in view.values if key.startswith("data/")}
    assert stored == alive
    for number, value in written.items():
        reading = engine.handle(Request(Verb.READ, "data/k", query={"version": str(number)}), view)
        if number not in versions:
            with pytest.raises(RequestError):
                await reading
            continue
        response = await reading
        assert response is not None
        assert response.data is not None
        gone = versions[number].is_gone(clock.wall())
        assert (response.status, response.data["data"]) == ((404, None) if gone else (200, {"n": value}))


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers()),
    st.dictionaries(st.sampled_from("abc"), st.one_of(st.none(), st.integers())),
)
def test_merge_patch(target: dict[str, int], patch: dict[str, int | None]) -> None:
    merged = merge_patch(target, patch)
    for name in "abc":
        if name in patch:
            assert merged.get(name) == patch[name]
        else:
            assert merged.get(name) == target.get(name)
    assert None not in merged.values()


@pytest.mark.parametrize(
    ("mount", "key", "span"), [(0, 0, None), (10, 0, 10), (0, 10, 10), (5, 10, 5), (10, 5, 5), (-1, 5, None)]
)
def test_the_shorter_time_to_delete_counts_unless_the_mount_switches_it_off(
    mount: int, key: int, span: int | None
) -> None:
    metadata = Metadata(created=0, updated=0, delete_version_after=key)
    found = metadata.deletion_of_new(Config(delete_version_after=mount), 100.0)
    assert found == (None if span is None else 100.0 + span)
