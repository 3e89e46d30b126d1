"""A volume in a file of its own: NIfTI, NRRD or MetaImage, also one channel of a 4D NIfTI."""

from __future__ import annotations

import gzip
import math
import shutil
import tempfile
import uuid
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from memseg3d.datasets.sources.base import Header, Source
from memseg3d.files import Geometry, UnreadableFile, VolumeFile, read_volume

_GZIP = b"\x1f\x8b"
_HEADER = 348
_NO_EXTENSION = bytes(4)


@dataclass(frozen=True)
class VolumeOnDisk(Source):
    """A file that `read_volume` reads. channel: which volume of a 4D NIfTI; None where the file is 3D."""

    path: Path
    channel: int | None = None

    @property
    def shown(self) -> str:
        """The path, and the channel where there are several."""
        return str(self.path) if self.channel is None else f"{self.path} (channel {self.channel})"

    def paths(self) -> tuple[Path, ...]:
        """The one file."""
        return (self.path,)

    def header(self) -> Header:
        """The grid by the file's header alone."""
        return Header(_grid(_information(self.path), self.shown))

    def read(self, scratch: Path | None = None) -> VolumeFile:
        """The whole volume, or the channel."""
        try:
            if self.channel is None:
                return read_volume(self.path, scratch=scratch)
            return _read_channel(self.path, self.channel)
        except OSError as error:
            raise UnreadableFile(f"{self.path} cannot be read ({error.strerror or error}); copy it again.") from error


def channels_of(path: Path) -> int:
    """Volumes in a file: 1 for a 3D one. Raises `UnreadableFile`."""
    sizes = _information(path).GetSize()
    return math.prod(sizes[3:])


def _information(path: Path) -> sitk.ImageFileReader:
    """The reader after it has read the header. Raises `UnreadableFile`."""
    reader = sitk.ImageFileReader()
    try:
        if path.name.lower().endswith((".nii", ".nii.gz")):
            # The NIfTI library takes ct.nii where both ct.nii and ct.nii.gz lie in a folder: it is shown a copy.
            with tempfile.TemporaryDirectory(prefix="memseg3d-") as folder:
                start = Path(folder) / f"{uuid.uuid4().hex}.nii"
                start.write_bytes(_start(path))
                reader.SetFileName(str(start))
                reader.ReadImageInformation()
        else:
            reader.SetFileName(str(path))
            reader.ReadImageInformation()
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableFile(f"{path} cannot be read: it is missing, damaged or cut off. Copy it again.") from error
    except RuntimeError as error:
        raise UnreadableFile(f"{path} has no header that can be read. Copy or export it again.") from error
    if len(reader.GetSize()) < 3:
        raise UnreadableFile(f"{path} is a {len(reader.GetSize())}D image; a case needs a volume of several slices.")
    return reader


def _start(path: Path) -> bytes:
    """A NIfTI file's header, as a file of its own."""
    with path.open("rb") as stream:
        if stream.read(len(_GZIP)) != _GZIP:
            stream.seek(0)
            return stream.read(_HEADER) + _NO_EXTENSION
    with gzip.open(path) as unpacked:
        return unpacked.read(_HEADER) + _NO_EXTENSION


def _grid(reader: sitk.ImageFileReader, shown: str) -> Geometry:
    """The grid of the first three axes."""
    sizes, axes = reader.GetSize(), reader.GetDimension()
    if axes == 3:
        return Geometry.of_image(reader)
    i, j, k = (int(n) for n in sizes[:3])
    direction = np.reshape(reader.GetDirection(), (axes, axes))[:3, :3]
    if abs(abs(float(np.linalg.det(direction))) - 1) > 1e-3:
        raise UnreadableFile(f"{shown} mixes space with its other axes; save its channels as 3D volumes.")
    si, sj, sk = reader.GetSpacing()[:3]
    x, y, z = reader.GetOrigin()[:3]
    return Geometry((k, j, i), (si, sj, sk), (x, y, z), tuple(float(n) for n in direction.ravel()))


def _read_channel(path: Path, channel: int) -> VolumeFile:
    """One volume of a 4D NIfTI, without holding the others in memory."""
    information = _information(path)
    geometry = _grid(information, f"{path} (channel {channel})")
    sizes = [int(n) for n in information.GetSize()]
    if len(sizes) != 4 or channel >= sizes[3]:
        raise UnreadableFile(f"{path} has {math.prod(sizes[3:])} channels; there is no channel {channel}.")
    with tempfile.TemporaryDirectory(prefix="memseg3d-") as folder:
        plain = Path(folder) / f"{uuid.uuid4().hex}.nii"
        try:
            with path.open("rb") as stream:
                compressed = stream.read(len(_GZIP)) == _GZIP
            with gzip.open(path) if compressed else path.open("rb") as source, plain.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UnreadableFile(f"{path} is damaged or cut off. Copy it again.") from error
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(plain))
        try:
            reader.ReadImageInformation()
            # The library fills what is missing with zeros.
            if plain.stat().st_size < math.prod(sizes) * _bytes_per_voxel(reader):
                raise UnreadableFile(f"{path} is cut off: voxels are missing at its end. Copy it again.")
            reader.SetExtractSize([*sizes[:3], 0])
            reader.SetExtractIndex([0, 0, 0, channel])
            voxels = sitk.GetArrayFromImage(reader.Execute())
        except RuntimeError as error:
            raise UnreadableFile(f"{path} cannot be read: it is damaged or cut off. Copy it again.") from error
    return VolumeFile(voxels, geometry.spacing_kji, geometry)


def _bytes_per_voxel(reader: sitk.ImageFileReader) -> int:
    return int(sitk.GetArrayViewFromImage(sitk.Image([1, 1, 1], reader.GetPixelID())).itemsize)
