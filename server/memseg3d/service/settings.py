"""What an administrator decides about the service: where data lie, who may come in, how much and how long is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from memseg3d.service.users.issuer import Issuer


@dataclass(frozen=True)
class Limits:
    """Sizes above which a request is refused with `too_large` or `disk_full`."""

    volume_bytes: int = 4 * 2**30
    """Voxels of one volume, uncompressed."""
    request_bytes: int = 64 * 2**20
    """Any other request body (a round with its masks)."""
    prompts: int = 1000
    """Prompts of one round."""
    points: int = 100_000
    """Points of all strokes and lassos of one round."""
    drawn_voxels: int = 2**28
    """Voxels of the slices that one round's strokes, lassos and masks lie on, and of the extents of its voxels."""
    disk_bytes: int = 64 * 2**30
    """The whole data folder."""
    rounds: int = 64
    """Rounds that are computed at once."""
    user_rounds: int = 8
    """Of these, rounds of one user."""


@dataclass(frozen=True)
class UserLimits:
    """What one user may have; None: as much as the worker has. Administrators, and who shares one token, have none."""

    bytes: int | None = None
    """Volumes and sessions on the disk together."""
    sessions: int | None = None
    rounds_per_minute: int | None = None
    stored_days: float | None = None
    """Volumes and sessions are deleted so long after they came, also where they are used."""


@dataclass(frozen=True)
class AuditSettings:
    """Where it is written who did what kind of thing when; `files` of `file_bytes` at most, the oldest go."""

    path: Path
    file_bytes: int = 16 * 2**20
    files: int = 10


@dataclass(frozen=True)
class Settings:
    """Everything the service is told when it starts."""

    data_folder: Path
    token: str | None = None
    """The one token that all share. None, and no `tokens`: none is asked for; only sensible on loopback."""
    limits: Limits = field(default_factory=Limits)
    retention_hours: float = 24.0
    """A volume or session that nobody touched for so long is deleted."""
    unload_minutes: float = 30.0
    """An idle session leaves the memory after so long; its journal brings it back."""
    sweep_seconds: float = 60.0
    """How often the two above are looked at."""
    heartbeat_seconds: float = 5.0
    """A quiet stream sends an empty line this often, so that proxies keep it open."""
    tokens: Path | None = None
    """The file of users' own tokens."""
    issuer: Issuer | None = None
    """Whose sign-in opens the worker, too."""
    user_limits: UserLimits = field(default_factory=UserLimits)
    audit: AuditSettings | None = None
    encryption_key: bytes | None = field(default=None, repr=False)
    """256 bits with which volumes and journals are sealed on the disk."""
