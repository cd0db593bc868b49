"""The panels over a time: what each of them showed, for reports and for evidence."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.monitoring.client import Monitoring
from harness.monitoring.panels import PANELS, Panel

POINTS = 150
"""Points of a series, at most."""
MOST = 6
"""Series of a panel, at most: those with the greatest values."""
LEAST_STEP = 3.0
"""Seconds between two points, at least: a scrape is no more often."""


@dataclass(frozen=True)
class GraphSeries:
    """A line of a graph: pairs of time.time() and value."""

    name: str
    points: tuple[tuple[float, float], ...]

    @property
    def highest(self) -> float:
        return max(value for _, value in self.points)


@dataclass(frozen=True)
class Graph:
    """The lines that a panel showed.

    Attributes:
        left_out: series beyond those that are kept.
    """

    title: str
    unit: str
    series: tuple[GraphSeries, ...]
    left_out: int = 0

    @property
    def highest(self) -> float:
        return max(each.highest for each in self.series)


def graphs(
    monitoring: Monitoring, start: float, end: float, panels: Iterable[Panel] = PANELS, *, namespaces: str = "jupyter.*"
) -> list[Graph]:
    """Return what panels showed between two times; one without data is left out.

    Args:
        namespaces: of the hubs, a regular expression.

    Raises:
        MonitoringError: Prometheus does not answer.
    """
    step = max(LEAST_STEP, (end - start) / POINTS)
    found = []
    for panel in panels:
        lines = [
            GraphSeries(_legend(panel.legend, each.labels), points)
            for each in monitoring.series(panel.query(namespaces), start, end, step)
            # The share of nothing is no number.
            if (points := tuple((at, value) for at, value in each.points if math.isfinite(value)))
        ]
        lines.sort(key=lambda line: (-line.highest, line.name))
        if lines:
            found.append(Graph(panel.title, panel.unit, tuple(lines[:MOST]), max(0, len(lines) - MOST)))
    return found


def in_words(value: float, unit: str) -> str:
    """Return a value as a person reads it."""
    if unit == "percentunit":
        return f"{value:.0%}"
    if unit == "bytes":
        return f"{value / 2**20:.1f} MiB"
    return f"{value:.3g}{' s' if unit == 's' else ''}"


def describe(found: Iterable[Graph]) -> str:
    """Return graphs in words, a line a series: its first value, its last, its lowest and its highest."""
    lines = []
    for graph in found:
        lines.append(graph.title)
        for each in graph.series:
            values = [value for _, value in each.points]
            first, last, low, high = (
                in_words(value, graph.unit) for value in (values[0], values[-1], min(values), max(values))
            )
            lines.append(f"  {each.name}: {first} at first, {last} at last, between {low} and {high}")
        if graph.left_out:
            lines.append(f"  and {graph.left_out} more")
    return "".join(f"{line}\n" for line in lines)


def _legend(template: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda label: labels.get(label[1], ""), template)
