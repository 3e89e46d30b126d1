"""Pictures of the panel for the guides, light and dark, with the embedded model on the phantom.

PYTHONPATH=.:Testing python Testing/desktop/take_screenshots.py [FOLDER]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import slicer
from desktop.clinician import Clinician
from desktop.session import ROOT, Session, a_slicer
from lib.workers import start_worker

from MemSeg3DLib.scene.sample_phantom import KIDNEY_LEFT, Sample, add_sample, make_sample

MODEL = ROOT / "Resources" / "Models" / "memseg3d-nano.safetensors"
WIDTH = 470
SECTIONS = ("segments", "prompts", "rounds", "measure", "export", "cases", "settings", "worker", "models", "stores")


def fold_all_but(user: Clinician, *sections: str) -> None:
    """Leave these sections unfolded."""
    for name in SECTIONS:
        user.widget(f"{name}Button").collapsed = name not in sections
    user.session.pump(0.4)


def take(session: Session, user: Clinician, folder: Path, name: str, themes: tuple[str, ...]) -> None:
    """A picture as high as the panel needs."""
    session.window.resize(WIDTH, 100)
    session.pump(0.1)
    session.window.resize(WIDTH, user.panel.widget.sizeHint.height() + 20)
    session.pump(0.1)
    for theme in themes:
        user.panel.tools.tick()
        session.screenshot(session.window, folder / f"{name}-{theme}.png", theme)


def kidney(sample: Sample) -> tuple[int, tuple[float, float], tuple[float, float]]:
    """The slice where the kidney is largest, and the corners (j, i) of a box round it there."""
    truth = sample.truth == KIDNEY_LEFT
    k = int(truth.sum(axis=(1, 2)).argmax())
    rows, columns = np.nonzero(truth[k])
    return k, (rows.min() - 2.0, columns.min() - 2.0), (rows.max() + 2.0, columns.max() + 2.0)


def main(folder: Path) -> None:
    """Take them all."""
    folder.mkdir(parents=True, exist_ok=True)
    sample = make_sample()
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        with start_worker(MODEL, place / "worker") as worker, a_slicer(place) as session:
            user = Clinician(session)
            fold_all_but(user, "segments")
            take(session, user, folder, "first-use", ("light",))
            user.use(worker)
            user.show(add_sample(slicer.mrmlScene, sample))
            k, lower, upper = kidney(sample)
            user.box(k, lower, upper)
            user.wait()
            user.point(k + 3, (lower[0] + upper[0]) / 2, (lower[1] + upper[1]) / 2)
            user.wait()
            for index in (k - 1, k, k + 1):
                user.bench.approve(user.segment_id, 0, index)
            session.go_to("Red", user.ras(k, lower[0], lower[1]))
            fold_all_but(user, "segments", "prompts", "rounds")
            take(session, user, folder, "panel", ("light", "dark"))
            fold_all_but(user, "rounds")
            user.widget("methodGroup").collapsed = False
            user.widget("consensusBox").click()
            user.point(k - 4, (lower[0] + upper[0]) / 2, (lower[1] + upper[1]) / 2)
            user.wait()
            take(session, user, folder, "advanced", ("light",))
            user.widget("consensusBox").click()
            user.widget("methodGroup").collapsed = True
            user.bench.undo()
            fold_all_but(user, "measure", "export")
            user.widget("measureNowButton").click()
            session.pump_until(lambda: user.widget("measureTree").topLevelItemCount == 1, 20)
            take(session, user, folder, "measure-export", ("light",))
            fold_all_but(user, "settings", "worker", "models", "stores")
            user.widget("testButton").click()
            session.pump_until(lambda: bool(user.widget("connectionLabel").text), 20)
            take(session, user, folder, "worker", ("light",))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "Resources" / "Screenshots")
