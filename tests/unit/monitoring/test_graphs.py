"""Tests of what the panels showed over a time."""

from __future__ import annotations

from typing import Any

from harness.monitoring import panels
from harness.monitoring.client import Series
from harness.monitoring.graphs import MOST, Graph, GraphSeries, describe, graphs
from harness.monitoring.panels import panel


def played(*answers: Series, asked: list[tuple[float, float, float]] | None = None) -> Any:
    """A monitoring that answers every query the same."""

    def series(expression: str, start: float, end: float, step: float) -> list[Series]:
        if asked is not None:
            asked.append((start, end, step))
        return list(answers)

    return type("Played", (), {"series": lambda self, *given: series(*given)})()


def line(value: float, **labels: str) -> Series:
    return Series(labels, ((1.0, value), (2.0, value)))


def test_a_series_has_the_name_that_the_panel_gives_it() -> None:
    [graph] = graphs(played(line(3, namespace="jupyter", course="a")), 0, 9, [panel(panels.IMAGES)])
    assert (graph.title, graph.unit, graph.highest) == (panels.IMAGES, "short", 3)
    assert [each.name for each in graph.series] == ["jupyter: a"]


def test_a_panel_without_data_is_left_out() -> None:
    assert graphs(played(), 0, 9) == []
    assert graphs(played(Series({}, ((1.0, float("nan")),))), 0, 9) == []


def test_the_greatest_series_are_kept_and_the_others_counted() -> None:
    [graph] = graphs(played(*(line(n, namespace=str(n)) for n in range(MOST + 2))), 0, 9, [panel(panels.SERVERS)])
    assert [each.highest for each in graph.series] == list(range(MOST + 1, 1, -1))
    assert graph.left_out == 2


def test_points_are_no_closer_than_scrapes_and_no_more_than_a_page_can_show() -> None:
    asked: list[tuple[float, float, float]] = []
    graphs(played(asked=asked), 0, 30, [panel(panels.SERVERS)])
    graphs(played(asked=asked), 0, 1500, [panel(panels.SERVERS)])
    assert asked == [(0, 30, 3.0), (0, 1500, 10.0)]


def test_in_words() -> None:
    memory = Graph("Memory", "percentunit", (GraphSeries("hub", ((1, 0.5), (2, 0.75))),), left_out=1)
    size = Graph("Size", "bytes", (GraphSeries("db", ((1, 2**20), (2, 3 * 2**20))),))
    assert describe([memory, size]) == (
        "Memory\n  hub: 50% at first, 75% at last, between 50% and 75%\n  and 1 more\n"
        "Size\n  db: 1.0 MiB at first, 3.0 MiB at last, between 1.0 MiB and 3.0 MiB\n"
    )
