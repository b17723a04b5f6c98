"""Replay one seed and print its trace: `python -m virtual.replay SEED`, from `tests/`."""

import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "app"))

from virtual.play import play
from virtual.world import Violation


def main(arguments: list[str]) -> int:
    """Return 1 where the seed breaks a promise."""
    logging.disable(logging.CRITICAL)
    try:
        world = play(int(arguments[0]))
    except Violation as broken:
        print("\n".join(broken.trace))
        print(f"broken: {broken}")
        return 1
    print("\n".join(world.trace))
    print(f"kept every promise; holders {world.holders}, requests {len(world.workload.records)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
