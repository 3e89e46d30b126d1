"""Volumetric networks behind one seam: region, image, previous mask and prompts in; mask logits and quality out."""
