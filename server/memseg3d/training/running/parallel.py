"""Training by several processes that torchrun started: gradients are averaged, the first process speaks and saves."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import torch
from torch import distributed, nn


class Processes:
    """The processes of one run. Without torchrun there is one, and everything here does nothing.

    The network's parts are called one by one and never as a whole, which is why gradients are averaged here and not by
    torch's wrapper for whole modules.
    """

    def __init__(self, device: torch.device) -> None:
        """Meet the others, if torchrun's variables say that there are any. device: of the network."""
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.device = device
        if self.world > 1:
            # A GPU for each process of a machine, as torchrun counts them.
            if device.type == "cuda":
                self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
                torch.cuda.set_device(self.device)
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")

    @property
    def is_first(self) -> bool:
        """Whether this process writes logs and states."""
        return self.rank == 0

    @torch.no_grad()
    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes; one that no process has stays absent."""
        if self.world == 1:
            return
        wanted = list(parameters)
        has = torch.tensor([float(p.grad is not None) for p in wanted], device=self.device)
        distributed.all_reduce(has)
        used = [p for p, count in zip(wanted, has.tolist(), strict=True) if count]
        if not used:
            return
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in used])
        distributed.all_reduce(flat)
        flat /= self.world
        start = 0
        for p in used:
            p.grad = flat[start : start + p.numel()].reshape(p.shape).clone(memory_format=torch.preserve_format)
            start += p.numel()

    @torch.no_grad()
    def average_buffers(self, module: nn.Module) -> None:
        """Replace statistics that each process gathered of its own batches by their mean over the processes."""
        if self.world == 1:
            return
        for buffer in module.buffers():
            if buffer.is_floating_point():
                distributed.all_reduce(buffer)
                buffer /= self.world

    def decided(self, choice: bool) -> bool:
        """The first process's choice, for all: clocks differ."""
        if self.world == 1:
            return choice
        said = torch.tensor([int(choice)], device=self.device)
        distributed.broadcast(said, 0)
        return bool(said.item())

    def gathered(self, words: Any) -> list[Any]:
        """What every process says, by rank."""
        if self.world == 1:
            return [words]
        said: list[Any] = [None] * self.world
        distributed.all_gather_object(said, words)
        return said

    def leave(self) -> None:
        """Part from the others at the end."""
        if self.world > 1:
            distributed.barrier()
            distributed.destroy_process_group()
