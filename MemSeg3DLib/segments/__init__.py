"""Segments read and written: the writer of a run, its settings, approved slices, measurements."""
