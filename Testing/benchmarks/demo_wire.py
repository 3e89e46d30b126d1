"""Runs the demo of the checkout it is started in, and writes down every request that travels: one JSON line each.

cd CHECKOUT && python HERE/Testing/benchmarks/demo_wire.py REQUESTS.jsonl --out OUT

Two checkouts say the same where the lines are equal but for random ids.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import requests


def main() -> None:
    """The first argument is the file to write; the others are the demo's."""
    _, told, *options = sys.argv
    plain = requests.Session.request
    with Path(told).open("w", encoding="utf-8") as file:

        def noted(http: Any, method: str, url: str, **more: Any) -> requests.Response:
            path = url.partition("/v1")[2]
            file.write(json.dumps([method, path, more.get("params"), more.get("json")], default=str) + "\n")
            file.flush()
            return plain(http, method, url, **more)

        requests.Session.request = noted  # type: ignore[assignment,method-assign]
        sys.argv = ["demo", *options]
        sys.path.insert(0, "")
        runpy.run_module("demo", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
