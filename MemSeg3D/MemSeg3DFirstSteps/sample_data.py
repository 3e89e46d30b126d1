"""Registers the made-up CT with Slicer's Sample Data module: it is computed on the click, nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

THUMBNAIL = Path(__file__).resolve().parent.parent / "Resources" / "Icons" / "MemSeg3D.png"


def register() -> None:
    """Offer the sample in the Sample Data module, under MemSeg3D. Registering twice changes nothing.

    It is loaded by its button there; `SampleData.downloadSample`, which asks for an address, cannot.
    """
    import SampleData

    known = SampleData.SampleDataLogic.sampleDataSourcesByCategory("MemSeg3D")
    if known:
        return
    # There is no address to download from: empty lists stand for no files, and the button calls load_sample.
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="MemSeg3D",
        sampleName=_("CT phantom (made up)"),
        uris=[],
        fileNames=[],
        nodeNames=[],
        checksums=[],
        loadFiles=[],
        thumbnailFileName=THUMBNAIL.as_posix(),
        customDownloader=load_sample,
    )


def load_sample(_source: Any = None) -> Any:
    """Put the sample into the scene and show it; returns its volume node."""
    from MemSeg3DLib.scene.sample_phantom import add_sample, make_sample

    node = add_sample(slicer.mrmlScene, make_sample())
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    return node
