"""Synthetic volumes generated on the fly: label worlds and their appearance."""
