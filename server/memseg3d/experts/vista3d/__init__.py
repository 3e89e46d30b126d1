"""VISTA3D's network (arXiv 2406.05285) by the names of MONAI's tensors: encoder, point branch and point head."""
