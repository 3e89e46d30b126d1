"""The voxels of one volume on the disk: as they are, or sealed; read by mapping them, or into the memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from memseg3d.service.storage.vault import SealedWriter, Vault

NAME = "voxels.raw"
_BLOCK = 1 << 22


@dataclass(frozen=True)
class VoxelFile:
    """vault: seals it; None: it lies there as it is."""

    path: Path
    vault: Vault | None = None

    @contextmanager
    def created(self) -> Iterator[BinaryIO | SealedWriter]:
        """Write it from its beginning; a sealed one is complete where the block ended without an error."""
        with self.path.open("wb") as file:
            if self.vault is None:
                yield file
                return
            writer = self.vault.writer(file)
            yield writer
            writer.close()

    def blocks(self) -> Iterator[bytes]:
        """The bytes of the voxels, in order. Raises OSError, ValueError."""
        with self.path.open("rb") as file:
            if self.vault is not None:
                yield from self.vault.blocks(file)
                return
            while block := file.read(_BLOCK):
                yield block

    def voxels(self, dtype: np.dtype, shape: tuple[int, int, int]) -> np.ndarray:
        """(k, j, i), not to be written to: a memory map, of a sealed file a copy in the memory.

        Raises OSError or ValueError where the file does not hold them.
        """
        if self.vault is None:
            return np.memmap(self.path, dtype=dtype, mode="r", shape=shape)
        # Counted without overflow: shapes are checked against limits elsewhere.
        size = int(np.prod([int(each) for each in shape], dtype=object)) * dtype.itemsize
        with self.path.open("rb") as file:
            return self.vault.array(file, size).view(dtype).reshape(shape)
