"""The MemSeg3D worker: networks, propagation, HTTP service, training and evaluation."""

__version__ = "0.1.0"
