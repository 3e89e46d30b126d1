"""napari's widget: points, boxes and painted slices go into a round, the segments come out as a labels layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Points, Shapes
from napari.qt.threading import thread_worker
from qtpy.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QLabel, QLineEdit, QPushButton, QVBoxLayout, QWidget

from memseg3d.api import Case, CaseError, open

if TYPE_CHECKING:
    from napari import Viewer

INSIDE, OUTSIDE, BOXES, PAINTED, RESULT = "inside", "outside", "boxes", "painted", "segments"


class RoundsWidget(QWidget):
    """Draw prompts in its layers, then *Run*: they are one round of the named segment. *Undo* takes rounds back.

    case: of the chosen image, None before its first round. Computed on a thread; nothing else may run meanwhile.
    """

    def __init__(self, viewer: Viewer, **options: Any) -> None:
        """options: those of `memseg3d.open`, such as model="sam2.1_hiera_tiny", device="cuda"."""
        super().__init__()
        self._viewer, self._options = viewer, options
        self.case: Case | None = None
        self._of: Image | None = None
        self._taken: dict[str, Any] = {}
        self.images, self.segment, self.line = QComboBox(), QLineEdit("segment 1"), QLabel("")
        self.line.setWordWrap(True)
        self.run_button, self.undo_button, self.redo_button = (QPushButton(words) for words in ("Run", "Undo", "Redo"))
        prompts = QPushButton("Add prompt layers")
        prompts.clicked.connect(self.add_layers)
        self.run_button.clicked.connect(self.run)
        self.undo_button.clicked.connect(lambda: self._step(Case.undo))
        self.redo_button.clicked.connect(lambda: self._step(Case.redo))
        form, buttons, layout = QFormLayout(), QHBoxLayout(), QVBoxLayout(self)
        form.addRow("Image", self.images)
        form.addRow("Segment", self.segment)
        for button in (self.run_button, self.undo_button, self.redo_button):
            buttons.addWidget(button)
        layout.addLayout(form)
        layout.addWidget(prompts)
        layout.addLayout(buttons)
        layout.addWidget(self.line)
        layout.addWidget(QLabel("Research use only, not for clinical use."))
        layout.addStretch()
        viewer.layers.events.inserted.connect(self._list_images)
        viewer.layers.events.removed.connect(self._list_images)
        self._list_images()

    def add_layers(self) -> None:
        """The layers that prompts are drawn in, on the grid of the image, where they are missing."""
        image = self._image()
        if image is None:
            self.line.setText("Open a volume first.")
            return
        words = {"scale": image.scale, "translate": image.translate}
        made: dict[str, Callable[[], Any]] = {
            PAINTED: lambda: Labels(np.zeros(image.data.shape, np.uint8), name=PAINTED, **words),
            BOXES: lambda: Shapes(
                ndim=3, name=BOXES, edge_color="yellow", face_color="transparent", edge_width=0.5, **words
            ),
            OUTSIDE: lambda: Points(ndim=3, name=OUTSIDE, face_color="red", size=4, **words),
            INSIDE: lambda: Points(ndim=3, name=INSIDE, face_color="lime", size=4, **words),
        }
        for name, make in made.items():
            if name not in self._viewer.layers:
                self._viewer.add_layer(make())

    def prompts(self) -> list[dict[str, Any]]:
        """What is drawn now, as the JSON of docs/command-line.md; painted slices across k are masks."""
        name, found = self.segment.text().strip() or "segment 1", []
        for layer, positive in ((INSIDE, True), (OUTSIDE, False)):
            if layer in self._viewer.layers:
                found += [
                    {"name": name, "type": "point", "position": place.tolist(), "positive": positive}
                    for place in self._viewer.layers[layer].data
                ]
        if BOXES in self._viewer.layers:
            for corners in self._viewer.layers[BOXES].data:
                lower, upper = np.round(corners.min(0)), np.round(corners.max(0))
                found.append({"name": name, "type": "box", "lower": lower.tolist(), "upper": upper.tolist()})
        if PAINTED in self._viewer.layers:
            data = np.asarray(self._viewer.layers[PAINTED].data)
            found += [
                {"name": name, "type": "mask", "index": int(k), "mask": data[k] > 0}
                for k in np.flatnonzero(data.any(axis=(1, 2)))
            ]
        return found

    def run(self) -> None:
        """A round of what is drawn, on a thread. The layers of prompts are empty at once, for what is drawn meanwhile;
        where the round fails, its prompts come back.
        """
        image = self._image()
        if image is None:
            self.line.setText("Open a volume first.")
            return
        prompts = self.prompts()
        if not prompts:
            self.line.setText("Draw a box, points, or paint a slice first: Add prompt layers.")
            return
        self._take()

        def compute() -> None:
            if self.case is None or self._of is not image:
                if self.case is not None:
                    self.case.close()
                spacing = tuple(float(step) for step in image.scale)
                self.case, self._of = open(np.asarray(image.data), spacing, progress=False, **self._options), image
            self.case.prompts(prompts)

        self._start(compute)

    def _step(self, step: Callable[[Case], Any]) -> None:
        case = self.case
        if case is None:
            self.line.setText("There is no round yet.")
            return
        self._start(lambda: step(case))

    def _start(self, job: Callable[[], Any]) -> None:
        self._set_enabled(False)
        self.line.setText("Computing ...")
        worker = thread_worker(job)()
        worker.returned.connect(lambda _: self._show())
        worker.errored.connect(self._failed)
        worker.finished.connect(lambda: self._set_enabled(True))
        worker.start()

    def _show(self) -> None:
        # the image that was computed on, whichever is chosen by now
        case, image = self.case, self._of
        assert case is not None
        assert image is not None
        self._taken = {}
        labels = case.labels if case.names else np.zeros(case.shape, np.uint8)
        if RESULT in self._viewer.layers:
            shown = self._viewer.layers[RESULT]
            shown.data, shown.scale, shown.translate = labels, image.scale, image.translate
        else:
            self._viewer.add_labels(labels, name=RESULT, scale=image.scale, translate=image.translate)
        look = ", ".join(f"{name}: slice {index}" for name, (_, index) in case.look_next.items())
        self.line.setText(f"Look next at {look}." if look else "Done.")

    def _failed(self, error: Exception) -> None:
        self._put_back()
        self.line.setText(str(error) if isinstance(error, CaseError) else f"It failed: {error!r}")

    def _take(self) -> None:
        """Empty the layers of prompts, and remember what was in them."""
        layers = self._viewer.layers
        self._taken = {name: layers[name].data for name in (INSIDE, OUTSIDE, BOXES, PAINTED) if name in layers}
        for name, data in self._taken.items():
            layers[name].data = np.zeros_like(data) if name == PAINTED else []

    def _put_back(self) -> None:
        """What a failed round was asked for, beside what was drawn meanwhile."""
        for name, data in self._taken.items():
            if name in self._viewer.layers:
                layer = self._viewer.layers[name]
                now = layer.data
                layer.data = np.maximum(data, now) if name == PAINTED else [*data, *now]
        self._taken = {}

    def _image(self) -> Image | None:
        name = self.images.currentText()
        return self._viewer.layers[name] if name and name in self._viewer.layers else None

    def _list_images(self, event: object = None) -> None:
        names = [layer.name for layer in self._viewer.layers if isinstance(layer, Image) and layer.ndim == 3]
        chosen = self.images.currentText()
        self.images.clear()
        self.images.addItems(names)
        if chosen in names:
            self.images.setCurrentText(chosen)

    def _set_enabled(self, enabled: bool) -> None:
        for button in (self.run_button, self.undo_button, self.redo_button):
            button.setEnabled(enabled)
