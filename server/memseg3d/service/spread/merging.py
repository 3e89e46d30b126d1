"""What all workers answer, as one answer: lists of sessions, and metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families


def merged_sessions(lists: Iterable[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Each session once, the one used last first; that it runs is known to the one that computes it alone."""
    found: dict[str, dict[str, Any]] = {}
    for each in (one for sessions in lists for one in sessions):
        known = found.setdefault(each["id"], each)
        if known["running"] is None:
            known["running"] = each["running"]
    return sorted(found.values(), key=lambda one: (one["idle_seconds"], one["id"]))


def merged_metrics(texts: Mapping[str, str]) -> bytes:
    """Metrics in Prometheus' text format, each sample with the name of the process that it is of as label `replica`."""
    families: dict[str, Metric] = {}
    for replica, text in texts.items():
        for family in text_string_to_metric_families(text):
            kept = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                kept.add_sample(sample.name, {**sample.labels, "replica": replica}, sample.value)
    registry = CollectorRegistry()
    registry.register(_Families(families.values()))
    return generate_latest(registry)


class _Families:
    """Families as the library's registry wants them."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> list[Metric]:
        """All of them."""
        return self._families
