"""report.html: one page that needs nothing else: the slices with a slider, the prompts, and how it was made."""

from __future__ import annotations

import io
import json
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from memseg3d.cases.pictures import COLOURS, slice_picture
from memseg3d.cases.views import View, mask_slice
from memseg3d.pages.html import Html, image_address, page, table

if TYPE_CHECKING:
    from memseg3d.cases.documents import SessionDocument
    from memseg3d.cases.local import Image
    from memseg3d.cases.results import Outcome
    from memseg3d.propagation.volume.window import Window

SIDE = 460
MOST = 160
"""Slices of a page; of more every second, third ... one is shown."""
MARGIN = 3
"""Slices shown beyond the segments' ends."""

_STYLE = f"""
body{{background:#10141a;color:#e8ecf1;max-width:78em}}
th,td{{border:0;padding:.2em .9em .2em 0;text-align:left}}th{{color:#8b95a5;font-weight:normal}}
input[type=range]{{width:{SIDE}px;max-width:100%}}.warn{{color:#ffa23e}}code{{background:none;color:#8b95a5;padding:0}}
"""
_WARNING = """<p class="warn">Research use only, not for clinical use.
Every result must be looked at by somebody who could have drawn it.</p>"""
_SLIDER = """<p><img id="slice" alt="slice" width="{side}" height="{side}"></p>
<p><input id="place" type="range" min="0" max="{last}" value="{start}" aria-label="slice"> <span id="words"></span></p>
<script>
const slices = {slices};
const [range, shown, words] = ["place", "slice", "words"].map(name => document.getElementById(name));
function show() {{
  const one = slices[range.value];
  shown.src = one[1];
  words.textContent = one[2];
}}
range.addEventListener("input", show);
shown.addEventListener("wheel", event => {{
  event.preventDefault();
  range.value = Number(range.value) + Math.sign(event.deltaY);
  show();
}});
show();
</script>"""


def report_page(image: Image, window: Window, outcome: Outcome, document: SessionDocument, overview: bytes) -> str:
    """The page. It names segments and no file or patient."""
    axis = outcome.segmented.qualities(next(iter(outcome.numbers.values())))[0]
    view = View.of(image.geometry, axis)
    slices, start = _slices(image, window, outcome, view)
    title = "Segmentation: " + ", ".join(outcome.numbers)
    parts = [
        f"<h1>{escape(title)}</h1>",
        _WARNING,
        _segments(image, outcome),
        f"<h2>Slices across {'kji'[axis]}</h2>",
        _SLIDER.format(side=SIDE, last=len(slices) - 1, start=start, slices=json.dumps(slices)),
        f'<h2>Overview</h2><p><img alt="overview" src="{image_address(overview)}"></p>',
        "<h2>How it was made</h2>" + _made(document),
        "<h2>Prompts</h2>" + _prompts(document),
    ]
    return page(title, parts, _STYLE)


def _slices(image: Image, window: Window, outcome: Outcome, view: View) -> tuple[list[tuple[int, str, str]], int]:
    """(index, address of the picture, words) of the slices shown; the place of the first prompted one among them."""
    claims = {number: outcome.segmented.claim(number) for number in outcome.numbers.values()}
    filled: set[int] = set()
    for number in claims:
        axis, qualities = outcome.segmented.qualities(number)
        if axis == view.across:
            filled |= qualities.keys()
    count = view.shape[view.across]
    first, last = (min(filled), max(filled)) if filled else (0, count - 1)
    first, last = max(0, first - MARGIN), min(count - 1, last + MARGIN)
    step = max(1, -(-(last - first + 1) // MOST))
    prompted = {index for number in claims for index in outcome.prompted(number, view.across)}
    places = sorted(set(range(first, last + 1, step)) | {index for index in prompted if first <= index <= last})
    high, wide = (view.shape[each] for each in (view.rows, view.columns))
    found = []
    for index in places:
        masks = {
            COLOURS[place % len(COLOURS)]: mask_slice(claim, view, index) for place, claim in enumerate(claims.values())
        }
        picture = slice_picture(image, view, index, window, (0, 0, high, wide), masks, SIDE, outcome.prompts)
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=80)
        mark = ", prompted" if index in prompted else ""
        found.append((index, image_address(stream.getvalue(), "jpeg"), f"slice {index} of {count}{mark}"))
    start = next((place for place, index in enumerate(places) if index in prompted), len(places) // 2)
    return found, start


def _segments(image: Image, outcome: Outcome) -> str:
    rows = []
    for place, (name, number) in enumerate(outcome.numbers.items()):
        axis, qualities = outcome.segmented.qualities(number)
        ml = outcome.segmented.claim(number).voxels() * image.geometry.voxel_volume / 1000
        mean = f"{np.mean(list(qualities.values())):.2f}" if qualities else "-"
        look = outcome.segmented.suggested.get(number)
        square = f'<span style="color:{COLOURS[place % len(COLOURS)]}">&#9632;</span>'
        rows.append(
            (
                Html(f"{square} {escape(name)}"),
                f"{ml:.1f}",
                f"{len(qualities)} across {'kji'[axis]}",
                mean,
                f"slice {look.index}" if look else "-",
            )
        )
    return table(("segment", "mL", "slices", "mean predicted quality", "look next at"), rows)


def _made(document: SessionDocument) -> str:
    image, model = document.image, document.model
    words = {
        "image": f"{' x '.join(str(n) for n in image['shape'])} voxels (k, j, i), "
        f"{' x '.join(f'{n:g}' for n in image['spacing'])} mm, {image['dtype']}; SHA-256 {image['sha256']}",
        "model": f"{model['name']}, {model['precision']} on {model['device']}; SHA-256 {model['sha256']}",
        "software": ", ".join(f"{name} {value}" for name, value in document.software.items()),
        "rounds": f"{document.applied}",
    }
    return table((), [(name, Html(f"<code>{escape(value)}</code>")) for name, value in words.items()])


def _prompts(document: SessionDocument) -> str:
    rows = [
        (str(each["id"]), document.names.get(each["object"], ""), str(each["type"]), _where(each))
        for each in document.prompts()
    ]
    return table(("prompt", "segment", "type", "k, j, i"), rows)


def _where(prompt: dict[str, Any]) -> str:
    for name in ("position", "lower", "points", "extent"):
        if name in prompt:
            words = f"{prompt[name]} to {prompt['upper']}" if name == "lower" else str(prompt[name])
            sign = {True: "+ ", False: "- "}.get(prompt.get("positive"), "")  # type: ignore[arg-type]
            return sign + words[:120]
    return ""
