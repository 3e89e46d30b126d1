"""Libraries that compute networks on processors faster than torch does: one file each, and the measured choice."""

from memseg3d.network.backends.choosing import (
    BACKENDS,
    INT8_LIBRARY,
    BackendMissing,
    backend_of,
    choose_backend,
    choose_int8,
    installed,
    named_backend,
)

__all__ = [
    "BACKENDS",
    "INT8_LIBRARY",
    "BackendMissing",
    "backend_of",
    "choose_backend",
    "choose_int8",
    "installed",
    "named_backend",
]
