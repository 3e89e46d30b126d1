"""Labelmaps as packed bits, and the changes between them."""
