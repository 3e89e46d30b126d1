"""The environment variables of child processes: nothing of Slicer's own Python, but the user's proxies and CA."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.request import getproxies

# Slicer's launcher sets these for its own Python and its own libraries; another Python dies of them.
FOREIGN_VARIABLES = (
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONNOUSERSITE",
    "PYTHONSTARTUP",
    "PYTHONEXECUTABLE",
    "PYTHONSAFEPATH",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "DYLD_FRAMEWORK_PATH",
    "LD_PRELOAD",
    "SSL_CERT_FILE",
    "QT_PLUGIN_PATH",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
)

# Settings of the user's own uv and pip would bend what is installed; their indexes are given on purpose, as data.
_PACKAGE_TOOLS = re.compile(r"(UV|PIP)_", re.IGNORECASE)
_PROXIES = {"http": "HTTP_PROXY", "https": "HTTPS_PROXY", "all": "ALL_PROXY", "no": "NO_PROXY"}


def worker_environment(base: Mapping[str, str]) -> dict[str, str]:
    """`base` without what belongs to Slicer's own Python; threads that wait leave the processor to others."""
    environment = {name: value for name, value in base.items() if name.upper() not in FOREIGN_VARIABLES}
    # Spinning threads of a computer whose cores are busy wait for each other: a round took six times as long.
    if "OMP_WAIT_POLICY" not in {name.upper() for name in environment}:
        environment["OMP_WAIT_POLICY"] = "passive"
    environment["PYTHONUNBUFFERED"] = "1"
    environment["PYTHONIOENCODING"] = "utf-8"
    return environment


def installer_environment(base: Mapping[str, str], ca_file: str | None = None) -> dict[str, str]:
    """`worker_environment` for uv: without the user's settings of uv and pip, with proxies and certificates.

    Proxies that only the system's settings know (Windows, macOS) are added. Certificates: those of the system, or those
    of `ca_file` where one is given.
    """
    environment = {name: value for name, value in worker_environment(base).items() if not _PACKAGE_TOOLS.match(name)}
    has_proxy = any(name.lower() in {known.lower() for known in _PROXIES.values()} for name in environment)
    if not has_proxy:
        for scheme, address in getproxies().items():
            if scheme in _PROXIES:
                environment[_PROXIES[scheme]] = address
    environment["UV_NO_CONFIG"] = "1"
    environment["UV_NO_PROGRESS"] = "1"
    # Both names of one setting: uv renamed it.
    environment["UV_NATIVE_TLS"] = environment["UV_SYSTEM_CERTS"] = "1"
    if ca_file:
        environment["SSL_CERT_FILE"] = str(Path(ca_file))
    return environment


def without_secrets(text: str) -> str:
    """A line without user names and passwords of addresses, as it may go into a log."""
    return re.sub(r"(?<=://)[^/\s]+@", "***@", text)
