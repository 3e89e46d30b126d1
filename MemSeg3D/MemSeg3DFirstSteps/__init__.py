"""For the first steps inside a real Slicer: a sample volume, and a self-test that anyone can run."""

from MemSeg3DLoader.library import load_library

load_library()
