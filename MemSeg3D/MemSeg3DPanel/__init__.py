"""The panel of the module MemSeg3D: one small class a section, all showing the application's one Workbench."""
