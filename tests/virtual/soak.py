"""Play seeds for a time: `python -m virtual.soak --minutes N [--first SEED]`, from `tests/`."""

import argparse
import gc
import logging
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "app"))

from virtual.play import play
from virtual.world import Violation


def main() -> int:
    """Return 1 where a seed broke a promise; each that did is printed with its replay command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--first", type=int, default=100_000)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    seed, broken, end = options.first, 0, time.monotonic() + 60 * options.minutes
    while time.monotonic() < end:
        try:
            play(seed)
        except Violation as violation:
            broken += 1
            print(violation, *violation.__notes__, sep="\n")
        seed += 1
        gc.collect()
        if seed % 500 == 0:
            print(f"{seed - options.first} seeds, {broken} broken a promise", flush=True)
    print(f"{seed - options.first} seeds from {options.first} on, {broken} broke a promise")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
