"""Twenty simulated clinicians on one worker, side by side with an older checkout where one is named.

    python -m Testing.benchmarks.load [--seconds 300] [--clinicians 20] [--think 4] [--against CHECKOUT]

Both workers are there all the time, and the clinicians work at one and the other in turns, so that what else the
machine does meets both alike. Prints a table; 1 where a promise does not hold: a failed request, the slowest user's
median first mask more than twice the fastest's, memory or descriptors that grow, or (with --against) a p95 of first
masks above half of the older one's. `--seconds 60 --clinicians 8 --cycles 100` is the short form. Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from Testing.benchmarks.load.crowd import Crowd, Figures
from Testing.benchmarks.load.cycles import changed_slice_seconds, open_and_close, upload_seconds
from Testing.benchmarks.load.served import ServedWorker

TURN_SECONDS = 30.0
FAIR, HALF, FLAT = 2.0, 0.5, 1.03
UPLOAD_SECONDS, SLICE_SECONDS = 1.0, 0.010


async def loaded(workers: dict[str, ServedWorker], count: int, think: float, seconds: float) -> dict[str, Crowd]:
    """The crowds of all workers, which have worked so long each."""
    crowds = {name: await Crowd.gather(worker, count, think) for name, worker in workers.items()}
    for crowd in crowds.values():
        await crowd.work(min(10.0, seconds / 4), counts=False)
        crowd.samples.clear()
    turns = max(1, round(seconds / TURN_SECONDS)) if len(workers) > 1 else 1
    for _ in range(turns):
        for crowd in crowds.values():
            await crowd.work(seconds / turns)
    for crowd in crowds.values():
        await crowd.leave()
    return crowds


def growth(crowd: Crowd) -> float:
    """Memory of the last fifth of the time over that of the second fifth."""
    megabytes = np.array([each.megabytes for each in crowd.samples])
    part = len(megabytes) // 5
    return float(megabytes[-part:].mean() / megabytes[part : 2 * part].mean()) if part else 1.0


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300.0, help="of work at each worker")
    parser.add_argument("--clinicians", type=int, default=20)
    parser.add_argument("--think", type=float, default=4.0, help="seconds between two rounds, on average")
    parser.add_argument("--against", type=Path, help="a checkout whose worker is loaded in the same run")
    parser.add_argument("--threads", type=int, default=1, help="of each worker")
    parser.add_argument("--cycles", type=int, default=1000, help="sessions that are opened and closed")
    given = parser.parse_args()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        workers = {"this checkout": ServedWorker(Path(folder) / "here", None, given.threads)}
        if given.against is not None:
            workers[given.against.name] = ServedWorker(Path(folder) / "there", given.against, given.threads)
        try:
            cpu, started = time.process_time(), time.monotonic()
            crowds = asyncio.run(loaded(workers, given.clinicians, given.think, given.seconds))
            cpu, worked = time.process_time() - cpu, time.monotonic() - started
            figures = {name: Figures.of(crowd) for name, crowd in crowds.items()}
            print(
                "| worker | rounds | requests | failed | told to come again | first mask p50 s | p95 s | p99 s "
                "| slowest / fastest user | round p50 s | memory | descriptors | processor s of the worker |\n"
                f"|{'---|' * 13}"
            )
            for name, one in figures.items():
                crowd = crowds[name]
                counts = [each.descriptors for each in crowd.samples]
                print(
                    f"| {name} | {one.rounds} | {one.requests} | {len(one.failed)} | {sum(one.refused.values())} "
                    f"| {one.percentile(50):.3f} | {one.percentile(95):.3f} | {one.percentile(99):.3f} "
                    f"| {one.fairness:.2f} | {np.median(one.round_seconds):.2f} "
                    f"| {crowd.samples[-1].megabytes:.0f} MB (x {growth(crowd):.3f}) | {min(counts)} to {max(counts)} "
                    f"| {crowd.processor:.0f} of {crowd.worked:.0f} |"
                )
                print(*sorted(set(one.failed))[:5], sep="\n", end="\n" if one.failed else "")
            print(f"\nThe clinicians took {cpu:.0f} s of processor time in {worked:.0f} s.")
            here, crowd = figures["this checkout"], crowds["this checkout"]
            wrong += [f"{len(here.failed)} failed requests"] if here.failed else []
            wrong += [f"the slowest user waits {here.fairness:.2f} times as long"] if here.fairness > FAIR else []
            wrong += [f"memory grew {growth(crowd):.3f} times"] if growth(crowd) > FLAT else []
            if given.against is not None:
                ratio = here.percentile(95) / figures[given.against.name].percentile(95)
                print(f"First masks: p95 is {ratio:.2f} of {given.against.name}'s (promised: {HALF}).")
                wrong += [f"p95 is {ratio:.2f} of the older one's"] if ratio > HALF else []
            worker = workers["this checkout"]
            before, after = open_and_close(worker, given.cycles)
            print(
                f"{given.cycles} sessions opened and closed: {before.descriptors} to {after.descriptors} descriptors, "
                f"{before.megabytes:.0f} to {after.megabytes:.0f} MB."
            )
            wrong += ["descriptors grew"] if after.descriptors > before.descriptors + 2 else []
            first, second, sent = upload_seconds(worker)
            print(f"512x512x300 int16: uploaded in {first:.2f} s; again: {sent} bytes sent, in {second:.3f} s.")
            wrong += [f"an upload takes {first:.2f} s"] if first > UPLOAD_SECONDS else []
            slices = changed_slice_seconds(worker)
            print(
                f"A changed slice is downloaded in {1000 * float(np.median(slices)):.1f} ms (median of {len(slices)})."
            )
            wrong += ["a changed slice takes long"] if float(np.median(slices)) > SLICE_SECONDS else []
        finally:
            for worker in workers.values():
                worker.stop()
    print(*(f"NOT HELD: {each}" for each in wrong), sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
