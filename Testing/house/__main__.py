"""Prints the house in figures; with --write also makes docs/files.md and docs/images/house.svg anew.

python -m Testing.house [--root CHECKOUT] [--write]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from Testing.house.figures import crowded, product_circles, table
from Testing.house.file_table import file_table
from Testing.house.imports import ROOT
from Testing.house.picture import picture
from Testing.house.rooms import HOUSES


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT, help="another checkout to measure")
    parser.add_argument("--write", action="store_true", help="write docs/files.md and docs/images/house.svg")
    options = parser.parse_args()
    root = options.root.resolve()
    print(table(root))
    for house in HOUSES:
        for words in house.wrong_arrows(root):
            print(f"up: {words}")
    for words in [each for house in HOUSES[:2] for each in crowded(house, root)]:
        print(f"crowded: {words}")
    for group in product_circles(root):
        print("circle:", ", ".join(group))
    if options.write:
        (root / "docs" / "files.md").write_text(file_table(root), encoding="utf-8", newline="\n")
        (root / "docs" / "images" / "house.svg").write_text(picture(root), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
