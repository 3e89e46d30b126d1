"""SAM-Med3D's network (arXiv 2310.15161) and DualClickMed's variant of it, by the published names of their tensors."""
