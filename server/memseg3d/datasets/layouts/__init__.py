"""One file a layout, and the table of them all."""

from memseg3d.datasets.layouts.amos import AMOS
from memseg3d.datasets.layouts.brats2020 import BRATS2020
from memseg3d.datasets.layouts.btcv import BTCV
from memseg3d.datasets.layouts.cases import CASES
from memseg3d.datasets.layouts.cvpr25 import CVPR25
from memseg3d.datasets.layouts.flare22 import FLARE22
from memseg3d.datasets.layouts.folders import FOLDERS
from memseg3d.datasets.layouts.kits import KITS19, KITS23
from memseg3d.datasets.layouts.medical_sam2 import MEDICAL_SAM2
from memseg3d.datasets.layouts.mem3d import MEM3D
from memseg3d.datasets.layouts.msd import MSD
from memseg3d.datasets.layouts.video import VIDEO
from memseg3d.datasets.listing.base import Layout, Recognition, Sure

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        MEDICAL_SAM2,
        BTCV,
        FLARE22,
        AMOS,
        MSD,
        KITS19,
        KITS23,
        BRATS2020,
        CVPR25,
        MEM3D,
        VIDEO,
        CASES,
        FOLDERS,
    )
}
"""Every layout by the name that --layout takes."""

__all__ = ["LAYOUTS", "Layout", "Recognition", "Sure"]
