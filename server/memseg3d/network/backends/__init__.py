"""Libraries that compute networks on processors faster than torch does: one file each, and the measured choice."""

from memseg3d.network.backends.choosing import BACKENDS, BackendMissing, backend_of, choose_backend, installed

__all__ = ["BACKENDS", "BackendMissing", "backend_of", "choose_backend", "installed"]
