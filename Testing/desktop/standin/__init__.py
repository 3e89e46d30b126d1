"""A strict stand-in for what Slicer adds to Python: `qt` and `ctk`, the qMRML and qSlicer classes, the application."""
