"""Replay one seed and print its trace: `python -m simulation.replay SEED [MUTANT]`, from `tests/`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "app"))

from simulation.mutants import MUTANTS
from simulation.node import Violation
from simulation.play import play


def main(seed: int, names: list[str]) -> int:
    """Return 1 where the seed breaks a promise."""
    mutants = {mutant.name: mutant for mutant in MUTANTS}
    try:
        world = mutants[names[0]].play(seed) if names else play(seed)
    except Violation as broken:
        print("\n".join(broken.__notes__))
        print(f"broken: {broken}")
        return 1
    print("\n".join(world.trace))
    print(f"kept every promise; longest dark {world.longest_dark:.3f} s, holders {world.holders}")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
