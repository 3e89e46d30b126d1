"""Makes an offline bundle where there is a network: `python -m MemSeg3DLib.worker.installation.bundle_command OUT`."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from MemSeg3DLib.base.background import TaskControl
from MemSeg3DLib.base.child_environment import worker_environment
from MemSeg3DLib.base.errors import SetupError
from MemSeg3DLib.base.processes import run_command
from MemSeg3DLib.worker.installation.offline_bundle import MODELS, PYTHON, WHEELS, OfflineBundle, file_hash, uv_name
from MemSeg3DLib.worker.installation.packaged import Packaged
from MemSeg3DLib.worker.installation.recipe import Machine, lock_hash
from MemSeg3DLib.worker.installation.uv import Uv, find_uv

_PYTORCH = "https://download.pytorch.org/whl/"


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and make the bundle; 0 where it is whole, 2 and a sentence otherwise."""
    parser = argparse.ArgumentParser(
        prog="python -m MemSeg3DLib.worker.installation.bundle_command",
        description="Make a folder from which MemSeg3D's worker is installed on a computer of the same kind without a "
        "network: uv, Python, wheels, models.",
    )
    parser.add_argument("out", type=Path, help="folder to make; it must be empty or not there")
    parser.add_argument("--torch", choices=("cpu", "cuda"), default="cpu", help="build of torch (default: cpu)")
    parser.add_argument("--torch-index", help="index to fetch torch from, instead of PyTorch's own")
    parser.add_argument("--find-links", type=Path, help="folder of wheels that is looked into first")
    parser.add_argument("--uv", type=Path, help="uv to put in (default: the one that is found)")
    parser.add_argument(
        "--python", type=Path, help="interpreter of a Python folder that can be moved (default: uv's own)"
    )
    parser.add_argument(
        "--model", type=Path, action="append", default=[], help="a model's file or folder to put in; may be repeated"
    )
    options = parser.parse_args(arguments)
    try:
        make_bundle(options)
    except SetupError as error:
        print(f"bundle_command: {error}", file=sys.stderr)
        return 2
    print(f"{options.out} is whole: copy it, and choose it under Settings, Where it runs (Wheel folder).")
    return 0


def make_bundle(options: argparse.Namespace) -> None:
    """Make the bundle that the options of the command line ask for. Raises SetupError."""
    out, packaged, machine = options.out, Packaged(), Machine.this()
    machine.python_request("")
    uv = options.uv or find_uv()
    if uv is None or not uv.is_file():
        raise SetupError("There is no uv: install it (pip install uv), or name it by --uv.")
    if out.exists() and any(out.iterdir()):
        raise SetupError(f"{out} is not empty: name another folder.")
    out.mkdir(parents=True, exist_ok=True)
    (out / MODELS).mkdir()
    for model in options.model:
        if model.is_dir():
            shutil.copytree(model, out / MODELS / model.resolve().name)
            continue
        for file in (model, model.with_suffix(".json")):
            if file.is_file():
                shutil.copyfile(file, out / MODELS / file.name)
            elif file == model:
                raise SetupError(f"There is no model {model}.")
    shutil.copy(uv, out / uv_name())
    with tempfile.TemporaryDirectory() as scratch:
        root, python = _python(options, Path(scratch), packaged, machine, uv)
        print("Packing Python", flush=True)
        with tarfile.open(out / PYTHON, "w:gz", compresslevel=1) as archive:
            archive.add(root, ".", filter=_without_caches)
        _wheels(options, Path(scratch), packaged, python)
    OfflineBundle(
        system=machine.system,
        processor=machine.processor,
        lock=lock_hash(packaged),
        torch=options.torch,
        python=python.relative_to(root).as_posix(),
        python_sha256=file_hash(out / PYTHON),
        uv_sha256=file_hash(out / uv_name()),
    ).write(out)


def _python(
    options: argparse.Namespace, scratch: Path, packaged: Packaged, machine: Machine, uv: Path
) -> tuple[Path, Path]:
    """The folder of a Python that can be moved, and the interpreter in it."""
    if options.python is not None:
        python = Path(os.path.abspath(options.python))
        if not python.is_file():
            raise SetupError(f"There is no Python at {python}.")
        return (python.parent if os.name == "nt" else python.parent.parent), python
    request = machine.python_request(str(packaged.table()["python"]))
    runner = Uv(uv, scratch / "cache", scratch / "python", lambda line: print(line, flush=True), "")
    runner.run(["python", "install", "--no-bin", request], TaskControl(), "Fetching Python")
    # uv puts short names beside the build, as links to it.
    root = next(
        path for path in sorted((scratch / "python").glob("cpython-*")) if path.is_dir() and not path.is_symlink()
    )
    return root, root / ("python.exe" if os.name == "nt" else "bin/python3")


def _wheels(options: argparse.Namespace, scratch: Path, packaged: Packaged, python: Path) -> None:
    """Fetch what the bundle's own Python would install; pip's settings of this user (index, proxy, CA) are honoured."""
    _run([str(python), "-m", "venv", str(scratch / "venv")])
    inside = scratch / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    wheels = options.out / WHEELS
    links = ["--find-links", str(options.find_links)] if options.find_links else []
    download = [str(inside), "-m", "pip", "download", "--only-binary", ":all:", "--dest", str(wheels), *links]
    _run([*download, "--require-hashes", "-r", str(packaged.lock)])
    words = packaged.table()["torch"][options.torch]
    # Torch must not bring other versions of what is locked; its own wheels have no hash here.
    same = scratch / "same.txt"
    same.write_text(re.sub(r"\s*\\\n\s*--hash=\S+", "", packaged.lock.read_text("utf-8")), encoding="utf-8")
    source = (
        []
        if options.find_links and not options.torch_index
        else ["--index-url", options.torch_index or _PYTORCH + words["backend"]]
    )
    _run([*download, *source, "--find-links", str(wheels), "-c", str(same), str(words["requirement"])])


def _run(command: list[str]) -> None:
    code = run_command(command, worker_environment(os.environ), TaskControl(), lambda line: print(line, flush=True))
    if code != 0:
        raise SetupError(f"{' '.join(command[:4])} … ended with code {code}: see the lines above.")


def _without_caches(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in member.name.split("/") else member


if __name__ == "__main__":
    sys.exit(main())
