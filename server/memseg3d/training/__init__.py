"""Training: synthetic volumes, clips, the loops of the embedded network and of the published methods."""
