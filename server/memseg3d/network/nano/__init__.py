"""The embedded network: a small convolutional memory network behind the same seam as SAM 2."""

from memseg3d.network.nano.config import MAPS, NanoConfig
from memseg3d.network.nano.network import NanoNetwork, from_state, with_more_maps

__all__ = ["MAPS", "NanoConfig", "NanoNetwork", "from_state", "with_more_maps"]
