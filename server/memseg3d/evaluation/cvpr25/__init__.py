"""The CVPR 2025 challenge on interactive 3D segmentation: its cases, clicks, scores and runs."""
