"""`memseg3d about`: versions, protocols and devices of this installation, for programs that check it before use."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from typing import Any

import typer


def about() -> None:
    """Print one JSON object: version, protocols, python, torch, machine, and the devices that torch can use here, each
    with the precision that it is fastest in; and the backends to choose from.
    """
    import torch

    from memseg3d import __version__
    from memseg3d.network.backends import installed
    from memseg3d.network.precision import NAMES, fastest_dtype
    from memseg3d.service.devices import devices
    from memseg3d.service.protocol import PROTOCOLS

    words: dict[str, Any] = {
        "name": "memseg3d",
        "version": __version__,
        "protocols": PROTOCOLS,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "machine": platform.machine(),
        "devices": [asdict(one) | {"precision": NAMES[fastest_dtype(torch.device(one.name))]} for one in devices()],
        "backends": ["torch", *installed()],
    }
    typer.echo(json.dumps(words))
