"""One page of HTML that needs nothing else: its frame, its tables, pictures inside of it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}th,td{border-bottom:1px solid #ddd;padding:.25em .7em;text-align:right}
th:first-child,td:first-child{text-align:left}code{background:#f3f3f3;padding:.1em .3em;overflow-wrap:anywhere}
img{max-width:100%}
"""


class Html(str):
    """Text that is HTML already; every other text is escaped."""


def page(title: str, parts: Iterable[str], style: str = "") -> str:
    """The whole document. style: rules that go over the common ones; parts: HTML, one after the other."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}{style}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Html:
    """A table; an empty head is left out."""
    lines = [_row(head, "th")] if head else []
    lines += [_row(row, "td") for row in rows]
    return Html(f"<table>{''.join(lines)}</table>")


def image_address(data: bytes, kind: str = "png") -> str:
    """A picture as an address that holds it. kind: png, jpeg or svg+xml."""
    return f"data:image/{kind};base64," + base64.b64encode(data).decode("ascii")


def _row(cells: Sequence[str], tag: str) -> str:
    shown = (cell if isinstance(cell, Html) else escape(cell) for cell in cells)
    return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in shown) + "</tr>"
