"""The Python API: `memseg3d.open` for a volume on this computer, `memseg3d.connect` for a worker elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from memseg3d.cases.case import Case, image_of, scratch_folder
from memseg3d.cases.errors import CaseError

if TYPE_CHECKING:
    import numpy as np

    from memseg3d.cases.local import LocalCase
    from memseg3d.network.seam import Network

__all__ = ["Case", "CaseError", "Worker", "connect", "open"]


def open(
    source: str | Path | np.ndarray,
    spacing: Sequence[float] | None = None,
    *,
    series: str | None = None,
    coordinates: Literal["kji", "ijk", "itksnap", "lps", "ras"] = "kji",
    model: str | Network | None = None,
    models: str | Path | None = None,
    device: str = "auto",
    precision: Literal["auto", "fp32", "bf16", "int8"] = "auto",
    backend: Literal["auto", "torch", "openvino", "onnxruntime"] = "auto",
    threads: int | None = None,
    progress: bool | None = None,
    **options: Any,
) -> Case:
    """Open a volume to segment it in this process.

    source: NIfTI, NRRD, MHA or .npz file, a DICOM folder (`series` chooses one), or an array (k, j, i) with its
    `spacing` (k, j, i) in mm. coordinates: the order of all places. model: name or path of a checkpoint, or a network
    of one's own (docs/researchers.md), None: the embedded model; `models`: folder in which names are looked for.
    device: cpu, cuda, cuda:1, mps or auto. backend: what computes on a CPU, auto: the fastest that is installed.
    threads: of the CPU, for this process. progress: a bar while rounds run; None: on a terminal and in a notebook.
    options: of the session as in docs/wire-protocol.md, such as window=(-160, 240), memory="tree", consensus=True.
    Raises `CaseError` with a sentence that says what to do.
    """
    from memseg3d.cases.local import LocalCase
    from memseg3d.cases.opening import NetworkError, choose_device, open_network
    from memseg3d.propagation.prompts.options import Options
    from memseg3d.propagation.volume.errors import PropagationError

    with scratch_folder() as folder:
        image = image_of(source, spacing, series, Path(folder.name))
        try:
            chosen = Options.from_json(_plain(options))
            if model is None or isinstance(model, str):
                place = Path(models) if models else None
                network, where = open_network(model, place, device, threads, precision, backend=backend)
            else:
                network, where = model, choose_device(device, threads)
        except (PropagationError, NetworkError) as error:
            raise CaseError(str(error)) from error
        case: LocalCase = LocalCase.begin(image, network, chosen, where, threads)
        case.keep(folder)
    return Case(case, coordinates, progress)


class Worker:
    """A worker elsewhere. Voxels and prompts travel to it; names of files, patients and segments never do."""

    def __init__(self, url: str, token: str | None = None) -> None:
        """Raises `CaseError` where there is none, or the token is another."""
        from memseg3d.cases.http import Connection

        self._connection = Connection(url, token)
        self.info = self._connection.info()
        """As GET /v1/info tells it: version, device, model, limits."""

    def __repr__(self) -> str:
        return f"<memseg3d worker at {self._connection.url}: {self.info['model']['name']} on {self.info.get('device')}>"

    def open(
        self,
        source: str | Path | np.ndarray,
        spacing: Sequence[float] | None = None,
        *,
        series: str | None = None,
        coordinates: Literal["kji", "ijk", "itksnap", "lps", "ras"] = "kji",
        progress: bool | None = None,
        **options: Any,
    ) -> Case:
        """The same object as `memseg3d.open` gives, computed by the worker. It gets the volume where it lacks it."""
        from memseg3d.cases.remote import RemoteCase

        with scratch_folder() as folder:
            image = image_of(source, spacing, series, Path(folder.name))
            case = RemoteCase.begin(image, self._connection, _plain(options))
            case.keep(folder)
        return Case(case, coordinates, progress)


def connect(url: str, token: str | None = None) -> Worker:
    """The worker at `url` (http://host:port), with the token that its administrator has given. Raises `CaseError`."""
    return Worker(url, token)


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
