"""Finds the library of the extension for its modules; needs nothing of Slicer."""
