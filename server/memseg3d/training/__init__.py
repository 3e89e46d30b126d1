"""Synthetic volumes, data sets, losses and the training loop."""
