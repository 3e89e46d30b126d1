"""Labelmap files: read with every check before voxels count, and written with the header forms of their image."""
