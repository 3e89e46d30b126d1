"""Mem3D's network (volumetric memory network, MICCAI 2021) behind the seam, with its five interaction networks."""

from memseg3d.network.mem3d.network import Mem3dNetwork
from memseg3d.network.mem3d.shapes import InteractionShape, MemoryShape, Sight

__all__ = ["InteractionShape", "Mem3dNetwork", "MemoryShape", "Sight"]
