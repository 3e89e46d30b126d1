"""Which library computes a network on this processor: measured once, then remembered with the compiled models.

All of them compute the same within rounding. What is remembered lies in the user's folder, one folder a network,
processor, number of threads and set of versions.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from memseg3d.network.backends.int8 import Ranges, in_int8, is_computed_here, unknown_to
from memseg3d.network.backends.library import Library
from memseg3d.network.backends.measuring import Exactness, measured
from memseg3d.network.backends.processor import processor
from memseg3d.network.backends.when_used import CHOICE, LoadedWhenUsed
from memseg3d.network.models import user_state_folder
from memseg3d.network.parts import HasParts, HasRanges, Part
from memseg3d.network.seam import Network

log = logging.getLogger(__name__)

ENVIRONMENT = "MEMSEG3D_BACKEND"
LIBRARIES = {"onnxruntime": ("with_onnxruntime", "OnnxRuntime"), "openvino": ("with_openvino", "OpenVino")}
"""Module and class of each library behind the seam."""
BACKENDS = ("auto", "torch", *LIBRARIES)
FORM = 4
"""Changes with the parts of networks and with what is remembered of them."""
INT8_LIBRARY = "onnxruntime"
MOST_DIFFERENCE_IN_INT8 = 0.2
"""Between a library's and torch's int8, as part of a result's largest value: where steps fall apart, a few do."""
WORTH = 1.05
"""A library must be so many times as fast as torch to be taken."""
MOST_KEPT = 6
"""Folders of compiled models; those used longest ago are deleted."""


class BackendMissing(ValueError):
    """The library that was asked for cannot be used here; the message says why."""


def backend_of(network: Network) -> str:
    """Name and version of the library that computes a network; torch without its version."""
    return network.compiled.backend if isinstance(network, HasParts) else "torch"


def named_backend(wanted: str) -> str:
    """What is wanted, auto being what the environment names. Raises BackendMissing for an unknown name."""
    if wanted == "auto":
        wanted = os.environ.get(ENVIRONMENT) or "auto"
    if wanted not in BACKENDS:
        raise BackendMissing(f"There is no backend {wanted}: choose {', '.join(BACKENDS)}.")
    return wanted


def choose_backend(network: Network, wanted: str = "auto", folder: Path | None = None) -> None:
    """Have a network's parts computed by the fastest library, or by the one that is wanted.

    Networks that are not float32 on the CPU, or that have no parts, stay torch's, which is told where a library was
    named. folder: where compiled models are
    kept. Raises BackendMissing where the wanted library is not installed, or cannot compute the network.
    """
    wanted = named_backend(wanted)
    versions = {} if wanted == "torch" else installed(wanted)
    if not isinstance(network, HasParts) or not _is_fp32_on_cpu(network):
        if wanted in LIBRARIES:
            log.warning("%s computes networks in float32 on the CPU alone, and not all: torch computes", wanted)
        return
    if versions:
        _choose(network, versions, wanted, folder, None)


def choose_int8(network: Network, folder: Path | None = None) -> None:
    """Have a network's convolutions computed in int8 by ONNX Runtime; all else is as with `choose_backend`.

    Raises BackendMissing where this processor, this computer or this network cannot.
    """
    name = network.info.name
    if not isinstance(network, HasRanges) or not _is_fp32_on_cpu(network):
        raise BackendMissing(f"{name} cannot be computed in int8: take fp32.")
    assert isinstance(network, torch.nn.Module)
    if not network.ranges:
        raise BackendMissing(
            f"No card beside {name} tells the ranges that int8 needs: put the card that belongs to it there, or take "
            "fp32."
        )
    if unknown := unknown_to(network, network.ranges):
        raise BackendMissing(
            f"The card beside {name} tells ranges of another network ({unknown[0]}): put the one that belongs to it "
            "there, or take fp32."
        )
    if not is_computed_here():
        raise BackendMissing("This processor has no instructions for int8 (VNNI) and would gain nothing: take fp32.")
    if INT8_LIBRARY not in installed():
        raise BackendMissing(
            f"{INT8_LIBRARY} is not installed here, which computes int8: install MemSeg3D's worker with its extra cpu, "
            "or take fp32."
        )
    _choose(network, installed(INT8_LIBRARY), INT8_LIBRARY, folder, network.ranges)
    if network.compiled.precision != "int8":
        raise BackendMissing("What was compiled for int8 cannot be read back here: take fp32.")


def _choose(
    network: HasParts, versions: Mapping[str, str], wanted: str, folder: Path | None, ranges: Ranges | None
) -> None:
    """ranges: of int8; None: fp32."""
    place = (folder or user_state_folder() / "compiled") / _key(network, versions, wanted, ranges)
    exactness = Exactness()
    if ranges is not None and isinstance(network, torch.nn.Module):
        exactness = Exactness(partial(in_int8, network, ranges), MOST_DIFFERENCE_IN_INT8)
    precision = "fp32" if ranges is None else "int8"
    try:
        if not _loaded(network, place, precision, exactness):
            _prepare(network, list(versions), wanted, exactness, precision, place)
            _loaded(network, place, precision, exactness)
    except OSError as error:
        if precision == "int8":
            raise BackendMissing(
                f"Compiled models cannot be kept in {place.parent} ({error.strerror}), which int8 needs: make it a "
                "folder that can be written, or take fp32."
            ) from error
        log.warning("compiled models cannot be kept in %s, so torch computes: %s", place.parent, error.strerror)


def installed(wanted: str = "auto") -> dict[str, str]:
    """Versions of the libraries to choose from; none of them is imported for that."""
    found = {}
    for name in LIBRARIES if wanted == "auto" else [wanted]:
        try:
            found[name] = version(name)
        except PackageNotFoundError as error:
            if wanted != "auto":
                raise BackendMissing(
                    f"{name} is not installed here: install MemSeg3D's worker with its extra cpu, or leave --backend "
                    "out."
                ) from error
    return found


def library_of(name: str) -> Library:
    """A library by its name, imported now."""
    module, kind = LIBRARIES[name]
    made: Library = getattr(importlib.import_module(f"memseg3d.network.backends.{module}"), kind)()
    return made


def _is_fp32_on_cpu(network: object) -> bool:
    if not isinstance(network, torch.nn.Module):
        return False
    first = next(network.parameters(), None)
    return first is not None and first.dtype == torch.float32 and first.device.type == "cpu"


def _key(network: HasParts, versions: Mapping[str, str], wanted: str, ranges: Ranges | None) -> str:
    words = [FORM, network.info.sha256, network.info.image_size, torch.get_num_threads(), processor()]
    words += [] if ranges is None else [sorted(ranges.items())]
    text = json.dumps([*words, torch.__version__, sorted(versions.items()), wanted])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _loaded(network: HasParts, place: Path, precision: str, exactness: Exactness) -> bool:
    """Whether the choice that lies in a folder is in use now."""
    try:
        choice = json.loads((place / CHOICE).read_text(encoding="utf-8"))
        with suppress(OSError):
            os.utime(place)
        if choice["backend"] == "torch":
            return True
        library = library_of(choice["backend"])
        files = choice["files"]
        if any((place / name).stat().st_size != size for name, size in files.items()):
            raise ValueError("a file has another size than it was written with")
        parts = {_name(at, part): exactness.of(part) for at, part in enumerate(network.parts())}
        runners = [(parts[name], LoadedWhenUsed(parts[name], library, place / name)) for name in files]
        # That one can be computed says that the library works here: the least of them, the others wait until asked for.
        least = min(files, key=lambda name: files[name])
        LoadedWhenUsed(parts[least], library, place / least).load(torch.get_num_threads())(parts[least].inputs)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except Exception:
        log.warning("the compiled models in %s are of no use and are made anew", place.name, exc_info=True)
        shutil.rmtree(place, ignore_errors=True)
        return False
    network.compiled.use(f"{library.name} {version(library.name)}", runners, precision)
    return True


def _prepare(
    network: HasParts, names: Sequence[str], wanted: str, exactness: Exactness, precision: str, place: Path
) -> None:
    """Compile with each library, measure, keep the fastest one's models and the choice in the folder."""
    log.info("measuring what computes the network fastest on this processor; the choice is kept")
    parts = {_name(at, part): part for at, part in enumerate(network.parts())}
    # What is called alike is alike: one of a name says which library is the fastest.
    probes = {part.name: name for name, part in reversed(parts.items())}.values()
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix="new-", ignore_cleanup_errors=True) as made:
        libraries = [library_of(name) for name in names]
        # Each is measured by one caller; on several cores fronts are several.
        shared = [each for each in libraries if each.shares_cores]
        if wanted == "auto" and shared and torch.get_num_threads() > 1:
            libraries = shared
        seconds = {name: measured(parts[name], name, libraries, Path(made), exactness) for name in probes}
        chosen = _fastest(seconds, [each.name for each in libraries], wanted)
        if wanted not in ("auto", chosen):
            instead = ": leave --backend out" if precision == "fp32" else " in int8: take fp32"
            raise BackendMissing(f"{wanted} cannot compute this network{instead}.")
        mine = [each for each in libraries if each.name == chosen]
        if mine:
            rest = [name for name in parts if name not in seconds]
            seconds |= {name: measured(parts[name], name, mine, Path(made), exactness) for name in rest}
        # What is left to torch is in fp32.
        if precision == "int8" and any(wanted not in each for each in seconds.values()):
            raise BackendMissing(f"{wanted} cannot compute all of this network in int8: take fp32.")
        files = [name for name, each in seconds.items() if chosen in each and (chosen == wanted or _pays(each, chosen))]
        kept = Path(made) / "kept"
        kept.mkdir()
        for name in files:
            (Path(made) / chosen / name).rename(kept / name)
        sizes = {name: (kept / name).stat().st_size for name in files}
        words = {"backend": chosen, "files": sizes, "seconds": seconds}
        (kept / CHOICE).write_text(json.dumps(words, indent=1), encoding="utf-8")
        try:
            kept.rename(place)
        except OSError:
            # Another process was as quick; what it has left there is read next.
            if not (place / CHOICE).is_file():
                raise
    _forget_oldest(place.parent)


def _name(place: int, part: Part) -> str:
    return f"{place:02}-{part.name}"


def _pays(seconds: Mapping[str, float], name: str) -> bool:
    """Never true of torch itself."""
    return seconds.get(name, float("inf")) * WORTH < seconds["torch"]


def _fastest(times: dict[str, dict[str, float]], libraries: Sequence[str], wanted: str) -> str:
    """The library with the least seconds over all parts, torch computing those that it is slower at."""
    if wanted != "auto":
        return wanted if any(wanted in each for each in times.values()) else "torch"
    sums = {name: sum(each[name] if _pays(each, name) else each["torch"] for each in times.values())
            for name in libraries}  # fmt: skip
    best = min(libraries, key=lambda name: sums[name])
    return best if sums[best] * WORTH < sum(each["torch"] for each in times.values()) else "torch"


def _forget_oldest(folder: Path) -> None:
    """Delete all but the folders that were used last, and what a killed process has left."""
    kept = sorted((each for each in folder.iterdir() if (each / CHOICE).is_file()), key=lambda at: at.stat().st_mtime)
    cut_short = [each for each in folder.glob("new-*") if each.stat().st_mtime < time.time() - 86400]
    for each in [*kept[:-MOST_KEPT], *cut_short]:
        shutil.rmtree(each, ignore_errors=True)
