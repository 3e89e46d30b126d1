"""Values computed from parameters alone: made once, kept until a parameter changes."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Derived(Generic[T]):
    """What `make` computes from parameters. While gradients are wanted it is computed anew at every call.

    The value does not travel with copies of the network: a copy makes its own.
    """

    def __init__(self, make: Callable[..., T]) -> None:
        self._make = make
        self._sources: list[tuple[Tensor, int]] = []
        self._value: T | None = None

    def of(self, *sources: Tensor) -> T:
        """The value for these parameters, in their present state."""
        learns = torch.is_grad_enabled() and any(source.requires_grad for source in sources)
        if learns or any(source.is_inference() for source in sources):
            # a change of an inference tensor cannot be seen
            return self._make(*sources)
        if self._value is None or not self._holds(sources):
            with torch.inference_mode(False), torch.no_grad():
                self._value = self._make(*sources)
            # an alias keeps the storage, so that its address is not given to another tensor
            self._sources = [(source.detach(), source._version) for source in sources]
        return self._value

    def _holds(self, sources: tuple[Tensor, ...]) -> bool:
        return len(sources) == len(self._sources) and all(
            source._version == version
            and source.data_ptr() == known.data_ptr()
            and source.dtype == known.dtype
            and source.device == known.device
            for source, (known, version) in zip(sources, self._sources, strict=True)
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Derived[T]:
        return Derived(self._make)

    def __getstate__(self) -> dict[str, Any]:
        return {"_make": self._make, "_sources": [], "_value": None}


class TensorCache:
    """Values computed from tensors that come and go: at most `limit` bytes, the least recently used dropped first.

    A value goes with its tensor, and does not travel with copies of the network. Use it from one thread at a time.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        self._kept: OrderedDict[int, tuple[weakref.ref[Tensor], Tensor]] = OrderedDict()

    def of(self, source: Tensor, make: Callable[[], Tensor]) -> Tensor:
        """The value kept for `source` itself (not for one that is equal), else what `make` computes."""
        if torch.is_grad_enabled():
            return make()
        kept = self._kept.get(id(source))
        if kept is not None and kept[0]() is source:
            self._kept.move_to_end(id(source))
            return kept[1]
        value = make()
        key = id(source)
        self._drop(key)
        self._kept[key] = (weakref.ref(source, lambda gone: self._gone(key, gone)), value)
        self.bytes += value.nbytes
        while self.bytes > self.limit and len(self._kept) > 1:
            self._drop(next(iter(self._kept)))
        return value

    def __len__(self) -> int:
        return len(self._kept)

    def _gone(self, key: int, gone: weakref.ref[Tensor]) -> None:
        kept = self._kept.get(key)
        if kept is not None and kept[0] is gone:
            self._drop(key)

    def _drop(self, key: int) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.bytes -= kept[1].nbytes

    def __deepcopy__(self, memo: dict[int, Any]) -> TensorCache:
        return TensorCache(self.limit)

    def __getstate__(self) -> dict[str, Any]:
        return {"limit": self.limit, "bytes": 0, "_kept": OrderedDict()}
