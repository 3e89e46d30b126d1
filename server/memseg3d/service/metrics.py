"""What an administrator's monitoring reads at /v1/metrics, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

MEDIA_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300)


class Metrics:
    """Counters of one worker; they hold numbers and fixed words, never an id or a name."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "memseg3d_requests", "HTTP requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self.refused_callers = Counter(
            "memseg3d_refused_callers", "Requests without the right token.", ["reason"], registry=self.registry
        )
        self.rounds = Counter("memseg3d_rounds", "Rounds that ended.", ["status"], registry=self.registry)
        self.slices = Counter("memseg3d_slices", "Slices segmented.", registry=self.registry)
        self.slices_ahead = Counter(
            "memseg3d_slices_ahead", "Slices whose features were computed ahead of need.", registry=self.registry
        )
        self.step_seconds = Histogram(
            "memseg3d_step_seconds", "Time of one step of a round.", ["phase"], buckets=_SECONDS, registry=self.registry
        )
        self.first_mask_seconds = Histogram(
            "memseg3d_first_mask_seconds",
            "From the request to the first mask.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.round_seconds = Histogram(
            "memseg3d_round_seconds",
            "From the request to the end of the round.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.wait_seconds = Histogram(
            "memseg3d_wait_seconds",
            "From a round's request to its first step.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.turns = Gauge(
            "memseg3d_turns_waiting", "Rounds that wait for their next step.", ["kind"], registry=self.registry
        )
        self.features = Gauge(
            "memseg3d_features",
            "Features of slices that were asked for: found on the device, brought back to it, or encoded.",
            ["from"],
            registry=self.registry,
        )
        # Memory, open descriptors and processor time of this process, where the system tells them.
        ProcessCollector(registry=self.registry)
        self.sessions = Gauge("memseg3d_sessions_loaded", "Sessions in memory.", registry=self.registry)
        self.running = Gauge("memseg3d_rounds_running", "Rounds being computed.", registry=self.registry)
        self.disk_bytes = Gauge(
            "memseg3d_disk_bytes", "Bytes in the data folder, when last looked at.", registry=self.registry
        )

    def set_turns(self, waiting: Mapping[str, int]) -> None:
        """How many rounds wait, by kind."""
        for kind, count in waiting.items():
            self.turns.labels(kind).set(count)

    def set_features(self, counts: Mapping[str, int]) -> None:
        """Where features came from so far."""
        for place, count in counts.items():
            self.features.labels(place).set(count)

    def text(self) -> bytes:
        """All metrics as Prometheus reads them."""
        return generate_latest(self.registry)
