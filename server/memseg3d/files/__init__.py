"""Reading NIfTI, NRRD, DICOM series and npz; writing NIfTI and NRRD."""
