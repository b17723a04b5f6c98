"""Play seeds of whole nodes on every core, for a time or a number: `make soak SOAK="--minutes 30"`."""

import argparse
import gc
import itertools
import logging
import multiprocessing
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "app"))

from virtual.play import play
from virtual.world import Violation

FIRST = 100_000
"""Far from the seeds that `make test` plays."""
REPORT_EVERY = 500


def main() -> int:
    """Return 1 where a seed broke a promise; each that did is printed with its trace and replay command."""
    parser = argparse.ArgumentParser(description="Play seeds of whole nodes in virtual time.")
    parser.add_argument("--minutes", type=float, help="for how long; 5 without --seeds")
    parser.add_argument("--seeds", type=int, help="how many")
    parser.add_argument("--first", type=int, default=FIRST, help=f"the first one; {FIRST}")
    options = parser.parse_args()
    minutes = options.minutes or (None if options.seeds else 5.0)
    began = time.monotonic()
    end = began + 60 * minutes if minutes else float("inf")
    played = broken = 0
    with multiprocessing.Pool(initializer=logging.disable, initargs=(logging.CRITICAL,)) as pool:
        for story in pool.imap_unordered(_judge, _seeds(options.first, options.seeds, end), chunksize=1):
            played += 1
            if story:
                broken += 1
                print(story, flush=True)
            if played % REPORT_EVERY == 0:
                elapsed = time.monotonic() - began
                print(f"{elapsed:6.0f} s: {played} seeds, {broken} broke a promise", flush=True)
    print(f"{played} seeds from {options.first} on, {broken} broke a promise")
    return 1 if broken else 0


def _seeds(first: int, number: int | None, end: float) -> Iterator[int]:
    """Yield seeds until there were enough or the time is over.

    The pool takes them as fast as it can keep them, so this waits for the time that they take.
    """
    for seed in itertools.count(first):
        if seed - first == number or time.monotonic() >= end:
            return
        _begun.acquire()
        yield seed


def _judge(seed: int) -> str:
    """Play one seed; return the story of what it broke, or nothing."""
    try:
        play(seed)
    except Violation as violation:
        return "\n".join([str(violation), *violation.__notes__])
    finally:
        gc.collect()
        _begun.release()
    return ""


_begun = multiprocessing.Semaphore(2 * multiprocessing.cpu_count())
"""How many seeds may be on their way to a process or in it."""

if __name__ == "__main__":
    sys.exit(main())
