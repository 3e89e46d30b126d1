"""DICOM folders as sources of segmentations: planes, what belongs together, and whether it is a volume."""
