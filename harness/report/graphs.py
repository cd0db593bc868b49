"""The graphs of a run, on the clock of the picture of its time: SVG that stands alone, and within a page."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from harness.monitoring.graphs import Graph, in_words
from harness.report import render
from harness.report.picture import LABEL, LEFT, RIGHT, WIDTH, Scale
from harness.report.run_record import Record

DRAWN_BY = "Drawn by the harness from what Prometheus answers to the dashboard. This is no picture of Grafana."
COLOURS = 6
"""Lines that are told apart by their colour."""
TOP, HEIGHT, GAP, LINE = 58, 64, 12, 15
"""Begin of the first graph; height of a graph, room below it, and height of a line of its legend."""
LETTERS = 88
"""Letters of a line of the legend."""


@dataclass(frozen=True)
class Curve:
    """A line of a graph, in the picture's units."""

    name: str
    colour: int
    points: str


@dataclass(frozen=True)
class Strip:
    """A graph: its title in lines of text, its place, its lines, and its greatest value in words."""

    title: tuple[str, ...]
    y: int
    highest: str
    curves: tuple[Curve, ...]
    legend: tuple[tuple[Curve, ...], ...]

    @property
    def bottom(self) -> int:
        return self.y + HEIGHT

    @property
    def end(self) -> int:
        return self.bottom + LINE * len(self.legend) + GAP


def graphs_picture(run: Record) -> str:
    """Draw the graphs of a run; empty where the run had no monitoring."""
    if not run.graphs:
        return ""
    scale = Scale(run)
    strips = list(_strips(run.graphs, scale))
    return render(
        "graphs.svg.jinja",
        {},
        strips=strips,
        ticks=list(scale.ticks()),
        drawn_by=DRAWN_BY,
        width=WIDTH,
        height=strips[-1].end,
        left=LEFT,
        right=RIGHT,
        top=TOP,
        line=LINE,
        strip_height=HEIGHT,
    )


def _strips(found: list[Graph], scale: Scale) -> Iterator[Strip]:
    y = TOP
    for graph in found:
        # A graph of zeros has a line at its bottom.
        highest = graph.highest or 1.0
        curves = tuple(
            Curve(each.name, number % COLOURS, " ".join(_points(each.points, scale, y, highest)))
            for number, each in enumerate(graph.series)
        )
        title, highest_in_words = tuple(textwrap.wrap(graph.title, LABEL)), in_words(graph.highest, graph.unit)
        strip = Strip(title, y, highest_in_words, curves, tuple(_legend(graph, curves)))
        yield strip
        y = strip.end


def _points(points: tuple[tuple[float, float], ...], scale: Scale, y: int, highest: float) -> Iterator[str]:
    for at, value in points:
        yield f"{scale.x(at - scale.start):.1f},{y + HEIGHT * (1 - max(0.0, value) / highest):.1f}"


def _legend(graph: Graph, curves: tuple[Curve, ...]) -> Iterator[tuple[Curve, ...]]:
    """Yield a graph's lines by name, as many as fit in each line of text; what is left out has no colour."""
    rest = (Curve(f"and {graph.left_out} more", -1, ""),) if graph.left_out else ()
    line: tuple[Curve, ...] = ()
    for curve in (*curves, *rest):
        if line and sum(len(each.name) + 4 for each in (*line, curve)) > LETTERS:
            yield line
            line = ()
        line = (*line, curve)
    if line:
        yield line
