"""Segments leave the scene: NIfTI, .seg.nrrd, DICOM-SEG; a request is prepared here and written on any thread."""
