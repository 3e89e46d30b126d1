"""Other people's readers of DICOM-SEG, NIfTI and NRRD: do they find every voxel in its place?"""
