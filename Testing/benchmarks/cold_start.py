"""Cold starts of this checkout beside another commit's: help, a wrong path, a ready worker, volumes from shell to file.

    git worktree add ../before 250c3ad
    python Testing/benchmarks/cold_start.py ../before [--pairs 3] [--backend auto] [--cores]

Programs of the two checkouts take turns, each a fresh process of one thread, or with --cores of as many as torch
chooses; the files they read are in the system's cache. Processor seconds of the process count, so that other programs
do not; of volumes wall seconds as well, and the worker's memory when it is ready.
The CT is the synthetic one of `worker.py`, 512x512x200 as .nii.gz; a box on one slice is propagated through all of it.
The small volume is every twelfth slice and fourth row and column of it: a first mask, and hardly more.
Compiled models are kept from a run before, in a folder that is deleted; "first start" is what making them takes.
So is Python's bytecode, as on a user's computer: a shell that says PYTHONDONTWRITEBYTECODE would have every module of
ours compiled at each start.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HERE))
SLICES = slice(50, 250)
BOX = "liver:100,163,97,100,349,263"
SMALL = (slice(6, 294, 12), slice(None, None, 4), slice(None, None, 4))
SMALL_BOX = "liver:12,41,24,12,87,66"


def environment(checkout: Path, home: Path) -> dict[str, str]:
    """Of a program of a checkout."""
    own = {"PYTHONPATH": str(checkout / "server"), "MEMSEG3D_HOME": str(home)}
    own["PYTHONPYCACHEPREFIX"] = str(home / "bytecode")
    left_out = ("MEMSEG3D_BACKEND", "PYTHONDONTWRITEBYTECODE")
    return {**{name: value for name, value in os.environ.items() if name not in left_out}, **own}


def spent(checkout: Path, home: Path, arguments: list[str], status: int) -> tuple[float, float]:
    """Processor seconds and wall seconds of `memseg3d` with these arguments, which ends with `status`."""
    command = [sys.executable, "-m", "memseg3d.cli.main", *arguments]
    begun = time.perf_counter()
    with psutil.Popen(
        command, env=environment(checkout, home), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as run:
        seconds = 0.0
        while True:
            try:
                times = run.cpu_times()
                seconds = times.user + times.system
                output, _ = run.communicate(timeout=0.02)
                break
            except psutil.NoSuchProcess:
                output, _ = run.communicate()
                break
            except (subprocess.TimeoutExpired, psutil.TimeoutExpired):
                continue
    wall = time.perf_counter() - begun
    if run.returncode != status:
        raise SystemExit(f"{' '.join(command)} ended with {run.returncode}: {output.decode()[-2000:]}")
    return seconds, wall


def ready(checkout: Path, home: Path, extra: list[str]) -> tuple[float, float]:
    """Processor seconds until `memseg3d serve` says that it is ready, and its anonymous memory then, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "memseg3d.cli.main", "serve", "--no-token", "--data-folder", folder, *extra]
        run = psutil.Popen(command, env=environment(checkout, home), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            if b"url" not in run.stdout.readline():
                raise SystemExit(f"{' '.join(command)} did not start.")
            times, memory = run.cpu_times(), run.memory_full_info().uss
        finally:
            run.terminate()
            run.wait()
    return times.user + times.system, memory / 1e6


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a checkout of the commit to compare with")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--cores", action="store_true", help="as many threads as torch chooses, not one")
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    if asked.cores:
        del os.environ["OMP_NUM_THREADS"]
    before = asked.before.resolve()
    with tempfile.TemporaryDirectory() as place:
        home, volume, out = Path(place) / "home", Path(place) / "ct.nii.gz", Path(place) / "out"
        small = Path(place) / "small.nii.gz"
        write_ct(volume, SLICES)
        write_ct(small, SMALL)
        into = ["--out", str(out), "--overwrite", "--box"]
        segment, segment_small = ["segment", str(volume), *into, BOX], ["segment", str(small), *into, SMALL_BOX]
        backend = ["--backend", asked.backend]
        first, _ = spent(HERE, home, [*segment, *backend], 0)
        ready(before, home, [])
        rows: dict[str, list[tuple[float, float]]] = {}
        for pair in range(asked.pairs):
            sides = [(before, []), (HERE, backend)]
            found: dict[Path, dict[str, float]] = {}
            for checkout, extra in sides if pair % 2 else reversed(sides):
                seconds, memory = ready(checkout, home, extra)
                large, large_wall = spent(checkout, home, [*segment, *extra], 0)
                few, few_wall = spent(checkout, home, [*segment_small, *extra], 0)
                found[checkout] = {
                    "`memseg3d --help`": spent(checkout, home, ["--help"], 0)[0],
                    "`memseg3d segment --help`": spent(checkout, home, ["segment", "--help"], 0)[0],
                    "a file that is not there": spent(checkout, home, ["segment", "nowhere.nii", "--out", place], 2)[0],
                    "a prompt that is none": spent(checkout, home, [*segment[:-1], "liver:1"], 2)[0],
                    "`memseg3d serve` is ready": seconds,
                    "its own memory then, MB": memory,
                    "CT 512x512x200, shell to file": large,
                    "the same, wall s": large_wall,
                    "24x128x128, shell to file": few,
                    "that one, wall s": few_wall,
                }
            for row in found[HERE]:
                rows.setdefault(row, []).append((found[before][row], found[HERE][row]))
            print(f"pair {pair + 1} of {asked.pairs}", file=sys.stderr, flush=True)
    print(f"First start, models compiled and measured: {first:.1f} s from shell to file.\n")
    threads = "all cores" if asked.cores else "one thread"
    print(f"| {threads}, processor s | before | now | now / before, median of the pairs |\n|---|---|---|---|")
    for row, pairs in rows.items():
        old, new = (statistics.median(each[side] for each in pairs) for side in (0, 1))
        ratio = statistics.median(now / was for was, now in pairs)
        print(f"| {row} | {old:.2f} | {new:.2f} | {ratio:.2f} |")


def write_ct(path: Path, part: slice | tuple[slice, ...]) -> None:
    """A part of the synthetic CT as a compressed NIfTI file."""
    import SimpleITK as sitk
    from worker import SPACING, synthetic_ct

    image = sitk.GetImageFromArray(synthetic_ct()[part])
    image.SetSpacing(tuple(float(step) for step in reversed(SPACING)))
    sitk.WriteImage(image, str(path), True)


if __name__ == "__main__":
    main()
