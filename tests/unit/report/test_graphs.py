"""Tests of the graphs of a run as a picture."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from harness.monitoring.graphs import Graph, GraphSeries
from harness.report.graphs import DRAWN_BY, graphs_picture
from harness.report.picture import LEFT, RIGHT
from harness.report.run_record import Record, parse_record

STARTED = "2026-01-01T00:00:00.000+00:00"
RUN = Record(started=STARTED, seconds=100.0)
SERIES = (GraphSeries("jupyter: a <course>", ((RUN.began, 0.0), (RUN.began + 50, 2.0), (RUN.began + 100, 1.0))),)
GRAPHS = [Graph("Running servers", "short", SERIES), Graph("Users", "short", SERIES, left_out=3)]


def test_a_run_without_a_monitoring_has_none() -> None:
    assert graphs_picture(RUN) == ""


def test_lines_are_on_the_clock_of_the_run() -> None:
    drawn = graphs_picture(Record(started=STARTED, seconds=100.0, graphs=GRAPHS))
    [first, *_] = re.findall(r'points="([^"]+)"', drawn)
    across = [float(point.partition(",")[0]) for point in first.split()]
    assert across == [LEFT, (LEFT + RIGHT) / 2, RIGHT]
    heights = [float(point.partition(",")[2]) for point in first.split()]
    assert heights[1] < heights[2] < heights[0], "the greatest value is at the top"


def test_it_says_that_it_is_no_picture_of_grafana() -> None:
    drawn = graphs_picture(Record(started=STARTED, seconds=100.0, graphs=GRAPHS))
    assert DRAWN_BY in drawn
    assert "no picture of Grafana" in DRAWN_BY


def test_names_are_escaped_and_what_is_left_out_is_counted() -> None:
    drawn = graphs_picture(Record(started=STARTED, seconds=100.0, graphs=GRAPHS))
    names = [element.text for element in ElementTree.fromstring(drawn).iter() if element.tag.endswith("}tspan")]
    assert names.count("jupyter: a <course>") == len(GRAPHS)
    assert names[-1] == "and 3 more"


def test_a_long_title_is_whole_in_two_lines() -> None:
    title = "Servers killed for memory by course"
    drawn = graphs_picture(Record(started=STARTED, seconds=100.0, graphs=[Graph(title, "short", SERIES)]))
    texts = [element.text or "" for element in ElementTree.fromstring(drawn).iter() if element.tag.endswith("}text")]
    assert "Servers killed for memory by" in texts
    assert "course" in texts


def test_a_record_keeps_them() -> None:
    run = Record(started=STARTED, seconds=100.0, graphs=GRAPHS)
    assert parse_record(run.to_json()).graphs == GRAPHS
