"""DICOM-SEG and the series that it belongs to, coded names, and how files reach a PACS."""
