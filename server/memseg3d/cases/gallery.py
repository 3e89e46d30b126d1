"""The pictures that lie beside a labelmap: overview.png, and report.html where it is wanted."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from memseg3d.cases.results import OVERVIEW, REPORT

if TYPE_CHECKING:
    from memseg3d.cases.documents import SessionDocument
    from memseg3d.cases.local import Image
    from memseg3d.cases.results import Outcome
    from memseg3d.propagation.volume.window import Window


def make_pictures(
    image: Image, window: Window | None, report: bool, document: SessionDocument, outcome: Outcome
) -> Mapping[str, bytes]:
    """The picture files by name; none where Pillow is not installed. report: the page, too."""
    try:
        import PIL  # noqa: F401
    except ImportError:
        return {}
    from memseg3d.cases.pictures import draw_overview
    from memseg3d.cases.report_page import report_page
    from memseg3d.propagation.volume.window import Window, automatic_window

    options = document.options.get("window")
    shown = window or (Window(*options) if options else automatic_window(image.volume))
    if not outcome.numbers:
        return {}
    stream = io.BytesIO()
    draw_overview(image, shown, outcome).save(stream, "PNG")
    found = {OVERVIEW: stream.getvalue()}
    if report:
        found[REPORT] = report_page(image, shown, outcome, document, found[OVERVIEW]).encode()
    return found
