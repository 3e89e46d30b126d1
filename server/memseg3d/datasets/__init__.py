"""Readers of the layouts in which people keep training data: what may be learnt from, and what may only judge."""
