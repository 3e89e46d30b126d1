"""A tiny checkpoint of random weights that sees an object on every slice: `python tiny_model.py PATH`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from memseg3d.network.nano import NanoConfig, NanoNetwork


def write_tiny_model(path: Path) -> Path:
    """Write it to `path`; the same weights every time."""
    torch.manual_seed(3)
    config = NanoConfig(name="random", image_size=32, widths=(8, 16, 16, 16), key_width=16, heads=4)
    network = NanoNetwork(config)
    with torch.no_grad():
        # Random weights segment nothing in particular; but a round must go through the whole volume.
        network.decoder.presence[2].weight.zero_()
        network.decoder.presence[2].bias.fill_(5.0)
        network.decoder.mask[2].bias.fill_(0.2)
    save_file(network.state_dict(), path, metadata={"memseg3d.config": config.to_json()})
    return path


if __name__ == "__main__":
    write_tiny_model(Path(sys.argv[1]))
