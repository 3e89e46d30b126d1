"""Which tests take long: those files go first or stay out of the daily round, by the seconds that each took last.

`python -m Testing.pace out/tests.xml` writes seconds.json anew after a `make test` on a quiet machine. A file that is
not in it counts as quick.
"""

from __future__ import annotations

import functools
import json
import sys
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path

TESTING = Path(__file__).resolve().parent
SECONDS = TESTING / "seconds.json"

DAILY = 2.5
"""Seconds: a file that takes longer stays out of `make test-quick`."""

LONE = 20.0
"""Seconds of one test: begun last, one tester would still be busy with it when the others have done."""


@functools.cache
def slow_files() -> set[Path]:
    """Files that `make test-quick` leaves out."""
    return {TESTING / name for name, took in _kept().items() if took["all"] > DAILY}


def first_files() -> set[Path]:
    """Files with a single long test, which go first."""
    return {TESTING / name for name, took in _kept().items() if took["longest"] > LONE}


@functools.cache
def _kept() -> dict[str, dict[str, float]]:
    return dict(json.loads(SECONDS.read_text(encoding="utf-8")))


def seconds_by_file(report: Path) -> dict[str, dict[str, float]]:
    """Seconds of every test file, and of its longest test, from a JUnit report; below 0.5 s is left out."""
    tests: dict[str, list[float]] = defaultdict(list)
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        words = case.get("classname", "").split(".")
        depth = max(index for index, word in enumerate(words) if word.startswith("test_"))
        tests["/".join(words[1 : depth + 1]) + ".py"].append(float(case.get("time", "0")))
    return {
        name: {"all": round(sum(took), 1), "longest": round(max(took), 1)}
        for name, took in sorted(tests.items())
        if sum(took) >= 0.5
    }


def main() -> None:
    """Write seconds.json from the report that is named."""
    if len(sys.argv) != 2:
        raise SystemExit("Name the JUnit report of a whole run: python -m Testing.pace out/tests.xml")
    rows = [f"  {json.dumps(name)}: {json.dumps(took)}" for name, took in seconds_by_file(Path(sys.argv[1])).items()]
    SECONDS.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
