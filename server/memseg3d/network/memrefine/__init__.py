"""MemRefine-MedSAM3D: SAM 2 with cross-slice guidance from memory (CPGF) and a gated local-global refiner (LGFF)."""

from memseg3d.network.memrefine.config import MemRefineConfig
from memseg3d.network.memrefine.network import MemRefineNetwork

__all__ = ["MemRefineConfig", "MemRefineNetwork"]
