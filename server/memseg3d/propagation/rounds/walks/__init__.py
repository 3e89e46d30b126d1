"""Propagation through the intervals of a plan: fronts, alone or in batches, and what becomes of their slices."""
