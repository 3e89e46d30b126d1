"""What the Segment Editor effect is made of, beside its own folder: Slicer runs that as a module without a package."""

from MemSeg3DLoader.library import load_library

load_library()
