"""SAM 2 for 3D: one prompted slice, propagated both ways like a video (Shen et al., arXiv 2408.02635)."""
