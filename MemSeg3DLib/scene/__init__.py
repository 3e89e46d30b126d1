"""Nodes of a MRML scene read as numbers: volumes, grids, transforms, slice views."""
