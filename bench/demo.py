"""`make demo`: take the active node away in five ways, under a small load, and show what clients see."""

import argparse
import os
import sys
from collections.abc import Sequence

from bench.cluster import Cluster, ClusterError, haven_token
from bench.docker import DockerError
from bench.eventloop import run_loop
from bench.faults import FAULTS, Fault
from bench.lanes import SLOW_SECONDS, strip
from bench.pauses import Summary
from bench.probes import Kind, Stream
from bench.timeline import Line
from bench.trial import Trial, run

SHOWN = ("kill", "step-down", "sigterm", "sigstop", "seal")
STREAMS = (
    Stream(Kind.READ, True, 0.010),
    Stream(Kind.READ, False, 0.020),
    Stream(Kind.WRITE, True, 0.020),
    Stream(Kind.WRITE, False, 0.040),
)
COLUMNS = 84
LEAD = 0.1
"""The strips begin this share of their length before the fault."""


def say(text: str = "") -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


def steps(trial: Trial) -> Sequence[str]:
    """Return the lines of a trial's timeline."""
    line = trial.timeline
    asked = line.asked
    rows: list[tuple[float | None, str]] = [
        (asked, trial.fault.command.format(trial.victim.name)),
        (line.done, "Docker has done it"),
        _row("noticed", line.noticed if line.noticed != line.sent else None),
        _row("lock transaction", line.sent),
        _row("lock taken", line.taken),
        _row("active", line.active),
        (line.answered, "the next read is answered"),
    ]
    known = sorted((time, text) for time, text in rows if time is not None)
    return [f"  {(time - asked) * 1000:+9.0f} ms   {text}" for time, text in known]


def _row(step: str, line: Line | None) -> tuple[float | None, str]:
    if line is None:
        return None, step
    text = line.text.split("level=", 1)[-1].split(" ", 2)[-1]  # without level and area
    return line.time, f"{step}: {line.node}: {_short(text)}"


def _short(text: str, most: int = 70) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def outcome(name: str, seen: Summary) -> str:
    """Return what clients of one kind saw, on a line."""
    return (
        f"  {name:<7} {seen.requests:5d} sent   longest pause {seen.pause * 1000:5.0f} ms"
        f"   longest wait {seen.wait * 1000:5.0f} ms   refused {seen.refused}   unknown {seen.unknown}"
    )


def show(trial: Trial) -> None:
    """Print a trial: timeline, strips, numbers."""
    for text in steps(trial):
        say(text)
    longest = max(trial.reads.pause, trial.writes.pause, trial.reads.wait, trial.writes.wait)
    length = 2.0 if longest < 1.0 else 4.0 if longest < 3.0 else 10.0
    begin = trial.timeline.asked - length * LEAD
    mark = " " * int(COLUMNS * LEAD) + "| the fault"
    say(f"  {'':<7} {mark:<{COLUMNS - 20}}{1000 * length / COLUMNS:14.0f} ms each")
    for kind in Kind:
        lane = strip(trial.records, kind, begin, begin + length, COLUMNS)
        say(f"  {kind + 's':<7} {lane}")
    say(outcome("reads", trial.reads))
    say(outcome("writes", trial.writes))
    say(
        f"  active: {trial.leader_before} before, {trial.leader_after} now;"
        f" three nodes up again after {trial.whole_after:.1f} s"
    )


async def demonstrate(project: str, names: Sequence[str]) -> None:
    """Play the faults one after the other."""
    cluster = await Cluster.find(project, "haven", haven_token(project))
    active = await cluster.whole()
    rate = sum(1 / stream.every for stream in STREAMS)
    say(
        f"Three nodes behind HAProxy at {cluster.target.host}:{cluster.target.port}; {active.name} is active."
    )
    say(f"The load: {rate:.0f} requests a second, reads and writes, on kept and on fresh connections, sent")
    say("by the clock and not when the last one was answered. In the strips, by the time of sending:")
    say(f"  .  answered at once   o  answered after more than {SLOW_SECONDS * 1000:.0f} ms   X  failed")
    trials = []
    faults = [fault for name in names for fault in FAULTS if fault.name == name]
    for number, fault in enumerate(faults, 1):
        say()
        say(f"{number}. {fault.title}")
        trial = await run(cluster, fault, streams=STREAMS)
        show(trial)
        trials.append(trial)
    _sum_up(trials)


def _sum_up(trials: Sequence[Trial]) -> None:
    say()
    say(
        f"{'':<12}{'pause of reads':>16}{'of writes':>12}{'budget':>10}"
        f"{'failed reads':>15}{'failed writes':>16}"
    )
    for trial in trials:
        say(
            f"{trial.fault.name:<12}{trial.reads.pause * 1000:13.0f} ms{trial.writes.pause * 1000:9.0f} ms"
            f"{_budget(trial.fault):>10}{trial.reads.failed:15d}{trial.writes.failed:16d}"
        )
    late = max(trial.late["p99"] for trial in trials)
    say(f"\nThe probes themselves were at most {late * 1000:.0f} ms late in 99 of 100 requests.")
    say("Numbers for a decision come from `make bench`: one shot of each fault proves nothing.")


def _budget(fault: Fault) -> str:
    return "-" if fault.budget is None else f"{fault.budget * 1000:.0f} ms"


def main() -> int:
    """Run the demonstration on the running stack."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    choices = [fault.name for fault in FAULTS if "haven" in fault.kinds]
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"some of {', '.join(choices)}")
    parser.add_argument("--project", default=os.environ.get("COMPOSE_PROJECT_NAME", "haven"))
    arguments = parser.parse_args()
    unknown = set(arguments.faults) - set(choices)
    if unknown:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    try:
        run_loop(demonstrate(arguments.project, arguments.faults or SHOWN))
    except (ClusterError, DockerError) as error:
        print(f"haven: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nhaven: stopped; 'make up' brings every container back", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
