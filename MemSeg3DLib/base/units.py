"""Units in which sizes are told: one megabyte for every line, bar and table."""

MEGABYTE = 1_000_000
"""Bytes of a megabyte, as disks and networks count them."""
