"""What the audits by fuzzing share: targets by name, fed with seeds; what comes out uncaught is what they look for."""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

Target = Callable[..., str]
MEMORY = Path("/dev/shm")
"""Files in memory, where a system has them: waiting for a disk finds no fault in a decoder."""


class Targets(dict[str, tuple[Target, int]]):
    """By name: takes one seed and an empty folder, returns what came of it; and how many inputs the audit gives it."""

    def target(self, count: int) -> Callable[[Target], Target]:
        """Registers a function under its name."""

        def register(function: Target) -> Target:
            self[function.__name__] = function, count
            return function

        return register

    def run(self, name: str, count: int, seed: int) -> tuple[Counter[str], list[str]]:
        """So many inputs to one target; what came of them, and what must not have come."""
        function, _ = self[name]
        outcomes: Counter[str] = Counter()
        wrong: list[str] = []
        with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
            for number in range(count):
                # A folder for each: a store looks through all that earlier inputs left, longer every time.
                place = Path(folder) / str(number)
                place.mkdir()
                try:
                    outcomes[function(seed + number, place)] += 1
                except Exception as error:  # whatever it is, it is what the audit looks for
                    wrong.append(f"{name}, seed {seed + number}: {error!r}")
                shutil.rmtree(place)
        return outcomes, wrong

    def main(self, words: str) -> int:
        """Run all targets, as a command."""
        parser = argparse.ArgumentParser(description=words.splitlines()[0])
        parser.add_argument("--share", type=float, default=1.0, help="of the full numbers")
        parser.add_argument("--seed", type=int, default=0)
        given = parser.parse_args()
        logging.disable(logging.CRITICAL)
        failed: list[str] = []
        for name, (_, count) in self.items():
            outcomes, wrong = self.run(name, max(1, int(count * given.share)), given.seed)
            right = f"{sum(outcomes.values())} as they should be {json.dumps(outcomes)}"
            print(f"{name}: {right}, {len(wrong)} wrong", flush=True)
            failed += wrong
        print("\n".join(failed[:50]))
        return int(bool(failed))
