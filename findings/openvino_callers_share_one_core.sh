#!/usr/bin/env bash
# Two models of OpenVINO with one thread each, called at once, compute on the same core: together they are as fast as one.
#
# A tool that segments several objects at once gives each caller a compiled model and one thread (INFERENCE_NUM_THREADS 1)
# and expects the cores to be shared, as ONNX Runtime shares them. OpenVINO ties threads to cores where it is asked for
# low latency (ENABLE_CPU_PINNING is true by itself), and it ties the one of each model to the first core, the calling
# thread itself while it infers. The second model waits for the first, however many cores there are, and a measurement of
# one caller does not show it. With ENABLE_CPU_PINNING false the callers run where there is room.
#
# Seen with OpenVINO 2026.4.1 (Linux, x86-64, two or more cores), two models of six convolutions in two threads:
#   as it is: both callers are bound to one core, the same one, while they infer
#   ENABLE_CPU_PINNING false: neither is bound to a core
# (In two seconds on two quiet cores 615 calls as it is and 1189 without; the number is printed.)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet openvino==2026.4.1 numpy==2.4.6
venv/bin/python - <<'PY'
import os
import sys
import threading
import time

import numpy as np
import openvino
from openvino import opset13 as op

if len(os.sched_getaffinity(0)) < 2:
    sys.exit("This takes two cores to see.")
IMAGE = np.zeros((1, 32, 64, 64), np.float32)


def model():
    image = values = op.parameter(list(IMAGE.shape), np.float32)
    for _ in range(6):
        weights = op.constant(np.full((32, 32, 3, 3), 1 / 300, np.float32))
        values = op.relu(op.convolution(values, weights, [1, 1], [1, 1], [1, 1], [1, 1]))
    return openvino.Model([values], [image])


def bound_to(thread):
    """The one core that a thread may run on now; None where it may run on several."""
    cores = os.sched_getaffinity(thread.native_id)
    return next(iter(cores)) if len(cores) == 1 else None


def cores_of_callers(settings):
    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", **settings}
    requests = [core.compile_model(model(), "CPU", settings).create_infer_request() for _ in range(2)]
    ended, calls = threading.Event(), [0, 0]

    def call(number):
        while not ended.is_set():
            requests[number].infer([IMAGE])
            calls[number] += 1

    threads = [threading.Thread(target=call, args=(number,)) for number in range(2)]
    for each in threads:
        each.start()
    seen = [set(), set()]
    until = time.monotonic() + 2
    while time.monotonic() < until:
        time.sleep(0.005)
        for number, each in enumerate(threads):
            seen[number].add(bound_to(each))
    ended.set()
    for each in threads:
        each.join()
    print(f"calls in two seconds: {sum(calls)}", file=sys.stderr)
    return [each - {None} for each in seen]


first, second = cores_of_callers({})
is_shared = first == second and len(first) == 1
print(f"as it is: both callers are bound to one core, the same one, while they infer: {is_shared}")
free = cores_of_callers({"ENABLE_CPU_PINNING": False})
is_free = free == [set(), set()]
print(f"ENABLE_CPU_PINNING false: neither is bound to a core: {is_free}")
if not (is_shared and is_free):
    sys.exit("Callers are no longer bound as stated above.")
PY
