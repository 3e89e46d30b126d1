"""`make audit-napari`: reader and widget in the real napari, offscreen; with a display its window too, to look at."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

if not os.environ.get("DISPLAY"):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
import SimpleITK as sitk

from memseg3d.napari_plugin.reader import reader_of


def a_volume(folder: Path) -> tuple[Path, np.ndarray]:
    """A ball in noise, 24 x 48 x 48 voxels of 2 x 1 x 1 mm, and its truth."""
    k, j, i = np.indices((24, 48, 48))
    truth = (2 * (k - 12)) ** 2 + (j - 22) ** 2 + (i - 26) ** 2 < 13**2
    voxels = np.where(truth, 300, 0) + np.random.default_rng(0).normal(0, 25, truth.shape)
    image = sitk.GetImageFromArray(voxels.astype(np.int16))
    image.SetSpacing((1.0, 1.0, 2.0))
    sitk.WriteImage(image, str(folder / "ball.nii.gz"))
    return folder / "ball.nii.gz", truth


def wait(widget: Any) -> None:
    """Until its computation has come to its end; Qt goes on meanwhile."""
    from qtpy.QtWidgets import QApplication

    until = time.monotonic() + 300
    while not widget.run_button.isEnabled():
        assert time.monotonic() < until, "it takes too long"
        QApplication.processEvents()
        time.sleep(0.01)
    QApplication.processEvents()


def dice(one: np.ndarray, two: np.ndarray) -> float:
    return float(2 * (one & two).sum() / (one.sum() + two.sum()))


def main(out: Path) -> None:
    """The story: open, box, click, painted slice, undo, redo; raises where something is not as it should be."""
    import napari
    from napari.components import ViewerModel
    from napari.utils.notifications import notification_manager
    from npe2 import PluginManager, PluginManifest
    from qtpy.QtWidgets import QApplication

    import memseg3d.napari_plugin as plugin
    from memseg3d.napari_plugin.widget import BOXES, OUTSIDE, PAINTED, RESULT, RoundsWidget

    manifest = PluginManifest.from_file(Path(plugin.__file__).with_name("napari.yaml"))
    PluginManager.instance().register(manifest)
    assert [one.display_name for one in manifest.contributions.widgets or []] == ["Segment by rounds"]
    assert reader_of("notes.txt") is None
    with tempfile.TemporaryDirectory() as folder:
        path, truth = a_volume(Path(folder))
        # Qt's offscreen platform has no OpenGL: napari's layers and viewer are there, its canvas is not.
        has_display = bool(os.environ.get("DISPLAY"))
        app = QApplication.instance() or QApplication([])
        viewer: Any = napari.Viewer(show=False) if has_display else ViewerModel()
        viewer.open(str(path), plugin="memseg3d")
        assert tuple(viewer.layers["ball"].scale) == (2.0, 1.0, 1.0)
        widget = RoundsWidget(viewer, device="cpu")
        if has_display:
            viewer.window.add_dock_widget(widget, name="MemSeg3D")
        widget.run()
        assert "Draw a box" in widget.line.text()
        widget.add_layers()
        corners = np.array([[12, 9, 13], [12, 9, 39], [12, 35, 39], [12, 35, 13]], float)
        viewer.layers[BOXES].add_rectangles(corners)
        widget.run()
        wait(widget)
        first = np.asarray(viewer.layers[RESULT].data) == 1
        assert dice(first, truth) > 0.8, (dice(first, truth), widget.line.text())
        assert len(viewer.layers[BOXES].data) == 0, "drawn prompts are used once"
        viewer.layers[OUTSIDE].add([[8, 22, 26]])
        widget.run()
        viewer.layers[OUTSIDE].add([[9, 22, 26]])
        wait(widget)
        assert len(viewer.layers[OUTSIDE].data) == 1, "what is drawn meanwhile waits for the next round"
        viewer.layers[OUTSIDE].data = []
        second = np.asarray(viewer.layers[RESULT].data) == 1
        assert not np.array_equal(first, second)
        widget.undo_button.click()
        wait(widget)
        assert np.array_equal(np.asarray(viewer.layers[RESULT].data) == 1, first)
        widget.redo_button.click()
        wait(widget)
        assert np.array_equal(np.asarray(viewer.layers[RESULT].data) == 1, second)
        widget.undo_button.click()
        wait(widget)
        widget.segment.setText("square")
        painted = np.zeros(truth.shape, np.uint8)
        painted[5:7, 2:9, 2:9] = 1
        viewer.layers[PAINTED].data = painted
        widget.run()
        wait(widget)
        assert widget.case is not None
        assert widget.case.names == ["segment 1", "square"]
        assert np.array_equal(np.asarray(viewer.layers[RESULT].data)[5] == 2, painted[5] > 0)
        assert len(widget.case._work.document().rounds) == 2, "several painted slices are one round"
        viewer.layers[BOXES].add_rectangles(corners + np.array([40, 0, 0]))
        widget.run()
        wait(widget)
        assert "outside" in widget.line.text()
        assert len(viewer.layers[BOXES].data) == 1, "prompts of a round that failed come back"
        viewer.dims.set_current_step(0, 12)
        out.parent.mkdir(parents=True, exist_ok=True)
        if has_display:
            viewer.screenshot(str(out), canvas_only=False, flash=False)
            viewer.close()
        else:
            widget.resize(320, 260)
            widget.grab().save(str(out))
        assert not notification_manager.records, notification_manager.records
        del app
    print(f"napari {napari.__version__}: rounds, undo, redo and painting as they should be; look at {out}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/napari.png"))
