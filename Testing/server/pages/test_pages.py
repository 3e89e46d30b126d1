"""Pages keep what users write from becoming HTML; the outline of a mask is what erosion takes away."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest

from memseg3d.pages.html import Html, page, table
from memseg3d.pages.outlines import outline


def test_words_of_users_are_words_on_the_page() -> None:
    hostile = '<script>alert("liver")</script> & </title>'
    tags: list[str] = []
    words: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append(tag)

        def handle_data(self, data: str) -> None:
            words.append(data)

    Reader().feed(page(hostile, [table((hostile,), [(hostile, Html("<code>as it is</code>"))])]))
    assert "script" not in tags
    assert tags.count("code") == 1
    assert "".join(words).count(hostile) == 3


@pytest.mark.parametrize("width", [1, 2])
def test_an_outline_is_what_erosion_takes_away(width: int) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    mask = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(40, 60)), 3) > 0
    assert np.array_equal(outline(mask, width), mask & ~ndimage.binary_erosion(mask, iterations=width))
