"""What the benchmarks make of records, logs and answers."""

import asyncio
from collections.abc import Sequence
from xml.etree import ElementTree

import pytest
from bench.checks import Verdict, judge
from bench.failover.plots import distributions, waterfall
from bench.failover.report import Group, groups, markdown
from bench.failover.store import STEPS, Result, Setting, Store
from bench.faults import FAULTS
from bench.http import Answer, Failure, Target, ask, parse
from bench.lanes import strip
from bench.load import Load
from bench.machine import Processor
from bench.pauses import percentile, summarise, worst_gap
from bench.probes import MARK, Clock, Kind, Outcome, Prober, Record, Stream
from bench.probes import judge as judge_answer
from bench.timeline import HAVEN_STEPS, OPENBAO_STEPS, read_line, trace

STREAM = "reads, kept"


def record(
    sent: float, answered: float, outcome: Outcome = Outcome.DONE, kind: Kind = Kind.READ, number: int = 0
) -> Record:
    return Record(f"{kind}s, kept", kind, number, sent, sent, answered, outcome, "")


@pytest.mark.parametrize(
    ("kind", "answer", "outcome"),
    [
        (Kind.READ, Answer(200, MARK.encode()), Outcome.DONE),
        (Kind.READ, Answer(200, b"{}"), Outcome.UNKNOWN),
        (Kind.WRITE, Answer(200), Outcome.DONE),
        (Kind.WRITE, Answer(204), Outcome.DONE),
        (Kind.WRITE, Answer(503), Outcome.REFUSED),
        (Kind.WRITE, Answer(400), Outcome.REFUSED),
        (Kind.WRITE, Answer(307), Outcome.REFUSED),  # an OpenBao standby that knows of another active node
        (Kind.WRITE, Answer(500), Outcome.UNKNOWN),
        (Kind.WRITE, Answer(502), Outcome.UNKNOWN),
        (Kind.WRITE, Answer(504), Outcome.UNKNOWN),
        (Kind.WRITE, Answer(0, failure=Failure.REFUSED), Outcome.REFUSED),
        (Kind.WRITE, Answer(0, failure=Failure.NOT_SENT), Outcome.REFUSED),
        (Kind.WRITE, Answer(0, failure=Failure.CLOSED), Outcome.UNKNOWN),
        (Kind.WRITE, Answer(0, failure=Failure.TIMEOUT), Outcome.UNKNOWN),
    ],
)
def test_an_answer_is_judged(kind: Kind, answer: Answer, outcome: Outcome) -> None:
    assert judge_answer(kind, answer) is outcome


def test_a_pause_lasts_from_success_to_success_on_the_worst_stream() -> None:
    records = [record(t / 10, t / 10 + 0.01) for t in range(50) if not 20 <= t < 25]
    records += [record(2.2, 2.21, Outcome.UNKNOWN)]  # a failure ends no pause
    fresh = [Record("reads, fresh", Kind.READ, 0, t, t, t + 0.01, Outcome.DONE, "") for t in (1.9, 2.0, 4.0)]
    assert worst_gap(records, Kind.READ, 2.0, 4.5).seconds == pytest.approx(0.6)
    assert worst_gap(records + fresh, Kind.READ, 2.0, 4.5).seconds == pytest.approx(2.0)


def test_a_pause_that_never_ends_lasts_to_the_end() -> None:
    assert worst_gap([record(1.0, 1.1)], Kind.READ, 1.5, 9.1).seconds == pytest.approx(8.0)


def test_a_request_under_way_at_the_fault_counts() -> None:
    records = [
        record(0.5, 0.6),  # over before the fault
        record(0.9, 1.4),
        record(1.2, 1.3, Outcome.REFUSED),
        record(0.95, 1.3, Outcome.UNKNOWN),
        record(1.2, 1.25, kind=Kind.WRITE),
    ]
    seen = summarise(records, Kind.READ, 1.0, 2.0)
    assert (seen.requests, seen.refused, seen.unknown, seen.failed) == (3, 1, 1, 2)
    assert seen.wait == pytest.approx(0.5)


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(value) for value in range(1, 21)]
    assert [percentile(values, percent) for percent in (50, 99, 100)] == [10, 20, 20]
    assert percentile([], 99) == 0.0


@pytest.mark.parametrize(
    ("last", "verdict"),
    [
        (2, Verdict(0, 0)),
        (1, Verdict(1, 0)),  # the second was acknowledged after the first had ended
        (3, Verdict(0, 1)),
        (4, Verdict(0, 0)),  # of unknown outcome: it may have come last
        (9, Verdict(1, 0)),
    ],
)
def test_acknowledged_writes_must_be_there_and_refused_ones_not(last: int, verdict: Verdict) -> None:
    writes = [
        record(1.0, 1.1, Outcome.DONE, Kind.WRITE, 1),
        record(2.0, 2.1, Outcome.DONE, Kind.WRITE, 2),
        record(3.0, 3.1, Outcome.REFUSED, Kind.WRITE, 3),
        record(1.5, 1.6, Outcome.UNKNOWN, Kind.WRITE, 4),
    ]
    assert judge(writes, {"run": "a", "n": last}, "a") == verdict


def test_a_value_of_an_earlier_run_means_that_all_are_lost() -> None:
    writes = [record(1.0, 1.1, Outcome.DONE, Kind.WRITE, 1)]
    assert judge(writes, {"run": "b", "n": 1}, "a") == Verdict(1, 0)
    assert judge([record(1.0, 1.1, Outcome.REFUSED, Kind.WRITE, 1)], {}, "a") == Verdict(0, 0)


def test_strips_show_the_worst_of_each_stretch() -> None:
    records = [record(0.05, 0.06), record(0.15, 0.9), record(0.16, 0.17), record(0.25, 0.26, Outcome.UNKNOWN)]
    assert strip(records, Kind.READ, 0.0, 0.4, 4) == ".oX "


LINES = """
time=2026-01-01T00:00:00.900+00:00 level=info area=ha lock taken term=1 road=first wait=0.00
time=2026-01-01T00:00:01.050+00:00 level=info area=link link ended node=haven-1 run=a how=eof
time=2026-01-01T00:00:01.052+00:00 level=info area=ha lock transaction sent number=1 road=death
time=2026-01-01T00:00:01.060+00:00 level=info area=ha lock taken term=2 road=death wait=0.00
{"time": "2026-01-01T00:00:01.070+00:00", "message": "activated", "area": "ha", "term": "2"}
Traceback, or any other line
"""


def test_the_steps_of_a_change_are_found_in_the_logs() -> None:
    lines = [line for text in LINES.splitlines() if (line := read_line("haven-2", text))]
    asked = lines[0].time + 0.1
    found = trace(lines, HAVEN_STEPS, asked, asked + 0.04, [asked + 0.01, asked + 0.08], asked + 5).offsets()
    expected = dict(zip(STEPS, (0.04, 0.05, 0.052, 0.06, 0.07, 0.08), strict=True))
    assert found == pytest.approx(expected)


def test_steps_that_did_not_happen_are_left_out() -> None:
    line = read_line(
        "openbao-1", "2026-01-01T00:00:01.000Z [INFO]  core: acquired lock, enabling active operation"
    )
    assert line is not None
    found = trace([line], OPENBAO_STEPS, line.time - 1, None, [line.time + 1], line.time + 2).offsets()
    assert found["taken"] == pytest.approx(1.0)
    assert [found[step] for step in ("carried out", "noticed", "active", "answered")] == [None] * 4


@pytest.mark.parametrize(
    ("raw", "answer", "keeps"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi", True),
        (b"HTTP/1.1 503 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", b"", False),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n",
            b"hi!",
            True,
        ),
    ],
)
def test_an_answer_is_complete_with_its_last_byte(raw: bytes, answer: bytes, keeps: bool) -> None:
    for cut in range(len(raw)):
        assert parse(bytearray(raw[:cut])) is None
    parsed = parse(bytearray(raw))
    assert parsed is not None
    assert (parsed[0].body, parsed[1]) == (answer, keeps)


async def test_probes_are_sent_by_the_clock_while_nothing_answers() -> None:
    held: list[asyncio.StreamWriter] = []

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    prober = Prober(_target(server), Clock(), [Stream(Kind.READ, True, 0.005)])
    await prober.start()
    async with asyncio.timeout(60):
        while len(held) < 20:
            await asyncio.sleep(0.01)
    for writer in held:
        writer.close()
    server.close()
    records = await prober.stop()
    assert len(records) >= 20
    assert {one.outcome for one in records} <= {Outcome.UNKNOWN, Outcome.REFUSED}
    assert [one.due for one in records] == sorted(one.due for one in records)


async def test_the_load_ends_when_it_is_told_to_and_counts() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            writer.write(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    for load in ("200/s", "2 connections"):
        beside = Load(_target(server), load)
        await beside.start()
        await asyncio.sleep(0)
        async with asyncio.timeout(60):
            counts = await beside.stop()
        assert set(counts) <= {"refused", "unknown"}
    server.close()


async def test_a_port_where_nobody_listens_is_a_refusal() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    target = _target(server)
    server.close()
    await server.wait_closed()
    assert (await ask(target, "GET", "sys/health")).failure is Failure.REFUSED


def _target(server: asyncio.Server) -> Target:
    return Target("127.0.0.1", server.sockets[0].getsockname()[1])


def test_a_token_is_not_shown() -> None:
    assert "hvs.secret" not in repr(Target("h", 1, "hvs.secret"))


SETTING = Setting("", 0)


def result(
    kind: str, fault: str, pause: float, *, refused: int = 0, error: str = "", moved: bool = False
) -> Result:
    seen = {"requests": 9, "pause": pause, "wait": pause, "usual": 0.01, "refused": refused, "unknown": 0}
    steps: dict[str, float | None] = dict(zip(STEPS, (0.01, 0.02, 0.03, 0.04, 0.05, 0.06), strict=True))
    late = {"p50": 0.0, "p99": 0.001, "max": 0.002, "cpu": 0.1, "stolen": 0.02}
    return Result(kind, fault, "", 0, dict(seen), dict(seen), steps, {}, late, 0, 0, moved, {}, error)


def verdicts(results: Sequence[Result]) -> list[str]:
    return [group.verdict() for group in groups(results, SETTING)]


def test_a_promise_is_kept_or_told_where_not() -> None:
    assert verdicts([result("haven", "kill", 0.09)]) == ["met"]
    assert verdicts([result("haven", "kill", 0.09), result("haven", "kill", 0.11)]) == ["pause"]
    assert verdicts([result("haven", "kill", 0.01, refused=1)]) == ["reads failed, writes refused"]
    assert verdicts([result("haven", "consul-own", 0.01, moved=True)]) == ["leader changed"]
    assert verdicts([result("haven", "kill", 0.01), result("haven", "kill", 0, error="gone")]) == [
        "not whole again"
    ]


def test_the_report_compares_and_its_pictures_are_well_formed() -> None:
    found: list[Group] = groups(
        [result("haven", "kill", 0.05), result("openbao", "kill", 5.0), result("haven", "seal", 0.02)],
        SETTING,
    )
    assert "| kill | 100.0 | 100.0 | 100.0 | 100.0 |" in markdown(found, SETTING, "today")
    for picture in (distributions(found, "a < b"), waterfall(found, "a < b")):
        assert ElementTree.fromstring(picture).tag.endswith("svg")


def test_a_run_is_taken_up_again_after_a_line_was_cut(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    store = Store(folder)
    one = result("haven", FAULTS[0].name, 0.1)
    store.add(one)
    with (folder / "trials.jsonl").open("a") as file:
        file.write('{"kind": "hav')
    assert store.all() == [one]


def test_stolen_time_is_a_share_of_all_time() -> None:
    before = Processor.read("cpu  100 0 50 800 0 0 0 50 9 9\ncpu0 1 2\n")
    after = Processor.read("cpu  140 0 60 830 0 0 0 70 9 9\n")
    assert after.stolen_since(before) == 0.2
    assert before.stolen_since(before) == 0.0
