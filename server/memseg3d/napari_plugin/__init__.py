"""MemSeg3D in napari: a reader of volumes and a widget of rounds, on the Python API. napari brings Qt."""
