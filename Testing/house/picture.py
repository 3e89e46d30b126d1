"""Draws the house as SVG from its imports: rooms stacked as they may use one another, an arc for every use."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from xml.sax.saxutils import escape

from Testing.house.imports import ROOT, python_files
from Testing.house.rooms import HOUSES, House

ROW, BOX, LEFT, TOP = 34, 200, 16, 64
ARCS = 190
"""Pixels to the right of a stack for its arcs."""
WIDTH = LEFT + BOX + ARCS

_STYLE = """
text { font: 13px sans-serif; fill: #1b2733; } .title { font-weight: bold; font-size: 15px; } .count { fill: #66788a; }
.room { fill: #eef3f8; stroke: #9fb3c8; } .down { stroke: #2f6f9f; fill: none; stroke-opacity: 0.45; }
.up { stroke: #c0392b; fill: none; stroke-width: 2; }
"""


def picture(root: Path = ROOT) -> str:
    """The SVG's text: one stack a package, lowest room at the bottom; arcs run down, and one that runs up is red."""
    height = TOP + ROW * max(len(house.rooms) for house in HOUSES) + 48
    parts = [_stack(house, place * WIDTH, height, root) for place, house in enumerate(HOUSES)]
    note = "An arc leads from a room down to one that it uses; the thicker, the more imports. Drawn by: make house"
    parts.append(f'<text class="count" x="{LEFT}" y="{height - 14}">{note}</text>')
    size = f'width="{WIDTH * len(HOUSES)}" height="{height}"'
    box = f'viewBox="0 0 {WIDTH * len(HOUSES)} {height}"'
    body = "\n".join(parts)
    back = '<rect width="100%" height="100%" fill="white"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {box}>\n<style>{_STYLE}</style>\n{back}\n{body}\n</svg>\n'


def _stack(house: House, left: int, height: int, root: Path) -> str:
    bottom = height - 48
    files = Counter(house.room_of(file.parent.relative_to(house.path(root))) for file in python_files(house.path(root)))
    rooms = [room for room in house.rooms if files[room]]
    middle = {room: bottom - ROW * place - ROW // 2 for place, room in enumerate(rooms)}
    top = bottom - ROW * len(rooms) - 14
    lines = [f'<text class="title" x="{left + LEFT}" y="{top}">{escape(house.name)}</text>']
    arrows = Counter((own, used) for own, used, _ in house.arrows(root) if own in middle and used in middle)
    edge = left + LEFT + BOX
    for (own, used), count in sorted(arrows.items()):
        kind = "down" if middle[own] < middle[used] else "up"
        reach = 14 + (ARCS - 34) * abs(middle[own] - middle[used]) / (ROW * len(rooms))
        thick = min(6.0, 0.8 + count / 8)
        far, one, other = f"{edge + reach * 1.3:.0f}", middle[own], middle[used]
        curve = f"M {edge} {one} C {far} {one} {far} {other} {edge} {other}"
        lines.append(f'<path class="{kind}" stroke-width="{thick:.1f}" d="{curve}"/>')
    for room, y in middle.items():
        box = f'x="{left + LEFT}" y="{y - ROW // 2 + 3}" width="{BOX}" height="{ROW - 6}" rx="4"'
        lines.append(f'<rect class="room" {box}/>')
        lines.append(f'<text x="{left + LEFT + 10}" y="{y + 5}">{escape(room or "(own floor)")}</text>')
        lines.append(f'<text class="count" x="{edge - 10}" y="{y + 5}" text-anchor="end">{files[room]}</text>')
    return "\n".join(lines)
