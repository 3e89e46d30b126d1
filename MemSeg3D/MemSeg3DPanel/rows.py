"""Rows in a tree widget: filled anew only where they differ, the selected one kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import qt


@dataclass(frozen=True)
class Row:
    """One row. texts: a text for each column; colour: RGB from 0 to 1, shown as a patch before the first text."""

    id: str
    texts: tuple[str, ...]
    tip: str = ""
    colour: tuple[float, float, float] | None = None


class Rows:
    """The rows of one QTreeWidget. titles: of its columns; stretch: the column that takes the room that is left."""

    def __init__(self, tree: Any, titles: Sequence[str], stretch: int = 0) -> None:
        self._tree = tree
        self._shown: list[Row] = []
        tree.setColumnCount(len(titles))
        tree.setHeaderLabels(list(titles))
        header = tree.header()
        header.setStretchLastSection(False)
        for column in range(len(titles)):
            wide = column == stretch
            header.setSectionResizeMode(column, qt.QHeaderView.Stretch if wide else qt.QHeaderView.ResizeToContents)

    def show(self, rows: Sequence[Row]) -> None:
        """Show these rows."""
        if list(rows) == self._shown:
            return
        selected = self.selected
        self._shown = list(rows)
        self._tree.clear()
        for row in rows:
            item = qt.QTreeWidgetItem(self._tree)
            for column, text in enumerate(row.texts):
                item.setText(column, text)
                if row.tip:
                    item.setToolTip(column, row.tip)
            if row.colour is not None:
                item.setIcon(0, _patch(row.colour))
            if row.id == selected:
                self._tree.setCurrentItem(item)

    @property
    def selected(self) -> str | None:
        """Id of the selected row."""
        item = self._tree.currentItem()
        if item is None:
            return None
        index = self._tree.indexOfTopLevelItem(item)
        return self._shown[index].id if 0 <= index < len(self._shown) else None

    @property
    def rows(self) -> list[Row]:
        """The rows that are shown."""
        return list(self._shown)


def _patch(colour: tuple[float, float, float]) -> Any:
    pixmap = qt.QPixmap(12, 12)
    pixmap.fill(qt.QColor(*(round(255 * part) for part in colour)))
    return qt.QIcon(pixmap)
