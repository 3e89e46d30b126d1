"""The panel of the module MemSeg3D: one small class a section, all showing the application's one Workbench."""

from MemSeg3DLoader.library import load_library

load_library()
