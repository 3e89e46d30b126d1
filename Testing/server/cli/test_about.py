"""`memseg3d about`: one line of JSON that a program can check before it uses the installation."""

from __future__ import annotations

import json
from collections.abc import Callable

import psutil
import torch
from typer.testing import Result

from memseg3d import __version__
from memseg3d.service.devices import describe_device
from memseg3d.service.protocol import PROTOCOLS


def test_versions_protocols_and_devices_are_told_in_one_line(memseg3d: Callable[..., Result]) -> None:
    output = memseg3d("about").output
    assert output.count("\n") == 1
    told = json.loads(output)
    assert (told["name"], told["version"], told["protocols"]) == ("memseg3d", __version__, PROTOCOLS)
    assert told["torch"] == torch.__version__
    assert len(told["devices"]) == torch.cuda.device_count() + torch.backends.mps.is_available() + 1
    assert told["devices"][-1]["name"] == "cpu"
    assert {each["precision"] for each in told["devices"]} <= {"fp32", "bf16"}
    assert abs(told["devices"][-1]["memory_bytes"] - psutil.virtual_memory().total) < 2**20


def test_a_device_that_is_not_here_has_no_memory() -> None:
    assert describe_device("cuda:99").memory_bytes == 0
    assert describe_device("cpu").memory_bytes > 2**30
