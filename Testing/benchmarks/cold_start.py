"""Cold starts of this checkout beside another commit's: help, a wrong path, a ready worker, a CT from shell to file.

    git worktree add ../before 250c3ad
    python Testing/benchmarks/cold_start.py ../before [--pairs 3] [--backend auto]

Programs of the two checkouts take turns, each a fresh process of one thread; the files they read are in the system's
cache. Processor seconds of the process count, so that other programs do not, and the worker's memory when it is ready.
The CT is the synthetic one of `worker.py`, 512x512x200 as .nii.gz; a box on one slice is propagated through all of it.
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
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HERE))
SLICES = slice(50, 250)
BOX = "liver:100,163,97,100,349,263"


def environment(checkout: Path, home: Path) -> dict[str, str]:
    """Of a program of a checkout, one thread."""
    own = {"PYTHONPATH": str(checkout / "server"), "OMP_NUM_THREADS": "1", "MEMSEG3D_HOME": str(home)}
    own["PYTHONPYCACHEPREFIX"] = str(home / "bytecode")
    left_out = ("MEMSEG3D_BACKEND", "PYTHONDONTWRITEBYTECODE")
    return {**{name: value for name, value in os.environ.items() if name not in left_out}, **own}


def spent(checkout: Path, home: Path, arguments: list[str], status: int) -> float:
    """Processor seconds of `memseg3d` with these arguments, which ends with `status`."""
    command = [sys.executable, "-m", "memseg3d.cli.main", *arguments]
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
    if run.returncode != status:
        raise SystemExit(f"{' '.join(command)} ended with {run.returncode}: {output.decode()[-2000:]}")
    return seconds


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
    asked = parser.parse_args()
    before = asked.before.resolve()
    with tempfile.TemporaryDirectory() as place:
        home, volume, out = Path(place) / "home", Path(place) / "ct.nii.gz", Path(place) / "out"
        write_ct(volume)
        segment = ["segment", str(volume), "--out", str(out), "--overwrite", "--box", BOX]
        backend = ["--backend", asked.backend]
        first = spent(HERE, home, [*segment, *backend], 0)
        ready(before, home, [])
        rows: dict[str, list[tuple[float, float]]] = {}
        for pair in range(asked.pairs):
            sides = [(before, []), (HERE, backend)]
            found: dict[Path, dict[str, float]] = {}
            for checkout, extra in sides if pair % 2 else reversed(sides):
                seconds, memory = ready(checkout, home, extra)
                found[checkout] = {
                    "`memseg3d --help`": spent(checkout, home, ["--help"], 0),
                    "`memseg3d segment --help`": spent(checkout, home, ["segment", "--help"], 0),
                    "a file that is not there": spent(checkout, home, ["segment", "nowhere.nii", "--out", place], 2),
                    "a prompt that is none": spent(checkout, home, [*segment[:-1], "liver:1"], 2),
                    "`memseg3d serve` is ready": seconds,
                    "its own memory then, MB": memory,
                    "CT 512x512x200, shell to file": spent(checkout, home, [*segment, *extra], 0),
                }
            for row in found[HERE]:
                rows.setdefault(row, []).append((found[before][row], found[HERE][row]))
            print(f"pair {pair + 1} of {asked.pairs}", file=sys.stderr, flush=True)
    print(f"First start, models compiled and measured: {first:.1f} s from shell to file.\n")
    print("| one thread, processor s | before | now | now / before, median of the pairs |\n|---|---|---|---|")
    for row, pairs in rows.items():
        old, new = (statistics.median(each[side] for each in pairs) for side in (0, 1))
        ratio = statistics.median(now / was for was, now in pairs)
        print(f"| {row} | {old:.2f} | {new:.2f} | {ratio:.2f} |")


def write_ct(path: Path) -> None:
    """The synthetic CT as a compressed NIfTI file."""
    import SimpleITK as sitk
    from worker import SPACING, synthetic_ct

    image = sitk.GetImageFromArray(synthetic_ct()[SLICES])
    image.SetSpacing(tuple(float(step) for step in reversed(SPACING)))
    sitk.WriteImage(image, str(path), True)


if __name__ == "__main__":
    main()
