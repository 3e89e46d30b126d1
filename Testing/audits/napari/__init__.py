"""napari with MemSeg3D's plug-in: `python -m Testing.audits.napari`."""
