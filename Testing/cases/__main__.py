"""Tries every case, or those that are named: `ok NAME`, `skip NAME: why`, `FAIL NAME: why`; ends with 1 on a FAIL."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from Testing.cases import clients, exports, files, workers
from Testing.cases.inputs import Skipped

CASES = {**clients.CASES, **files.CASES, **exports.CASES, **workers.CASES}


def main(names: list[str]) -> int:
    """How it went, as an exit code."""
    failed = 0
    for name in names or CASES:
        with tempfile.TemporaryDirectory() as folder:
            try:
                CASES[name](Path(folder))
                print(f"ok   {name}", flush=True)
            except Skipped as reason:
                print(f"skip {name}: {reason}", flush=True)
            except Exception as error:  # whatever it is, the other cases are tried
                failed += 1
                print(f"FAIL {name}: {type(error).__name__} {error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
