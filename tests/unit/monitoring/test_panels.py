"""Tests of the panels, and of the dashboard that is made of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness.monitoring import panels
from harness.monitoring.dashboard import dashboard_json
from harness.monitoring.panels import DASHBOARD, EXPOSED_BY, PANELS, Panel, panel

ROOT = Path(__file__).parents[3]


def test_the_committed_dashboard_is_what_the_code_makes() -> None:
    assert (ROOT / DASHBOARD).read_text() == dashboard_json(), (
        f"{DASHBOARD} is not what the panels make: tox -e dashboard writes it anew"
    )


def test_the_dashboard_has_each_panel_once_and_asks_what_it_asks() -> None:
    drawn = {each["title"]: each for each in json.loads(dashboard_json())["panels"] if each["type"] != "row"}
    assert list(drawn) == [each.title for each in PANELS]
    for each in PANELS:
        [target] = drawn[each.title]["targets"]
        assert target["expr"] == each.expression
        assert drawn[each.title]["fieldConfig"]["defaults"]["unit"] == each.unit
        assert drawn[each.title]["description"] == each.description


@pytest.mark.parametrize("each", PANELS, ids=lambda each: each.title)
class TestPanel:
    def test_its_metrics_are_known_and_so_is_what_exposes_them(self, each: Panel) -> None:
        assert each.metrics
        assert {name.partition("_")[0] for name in each.metrics} <= EXPOSED_BY.keys()
        assert all(name in each.description for name in each.metrics)
        assert "scraped by production" in each.description

    def test_the_operators_page_has_its_row(self, each: Panel) -> None:
        metrics, scraped = ", ".join(f"`{name}`" for name in each.metrics), "yes" if each.in_production else "**no**"
        row = f"| {each.title} | {metrics} | {' and '.join(each.exposed_by)} | {scraped} |"
        assert row in (ROOT / "docs/monitoring.md").read_text(), f"docs/monitoring.md lacks the row {row}"

    def test_its_query_has_no_variable_of_grafana_left(self, each: Panel) -> None:
        assert "$__" not in each.query()
        assert "$hub" not in each.query()

    def test_its_legend_names_labels_that_the_query_keeps(self, each: Panel) -> None:
        for label in re.findall(r"{{(\w+)}}", each.legend):
            assert label in each.expression or label in ("deployment", "namespace"), label


def test_the_two_metrics_of_the_owners_document_need_nothing_that_production_lacks() -> None:
    for title in (panels.IMAGES, panels.RESTARTS, panels.MEMORY_KILLS):
        assert panel(title).in_production, f"{title}: production's collector drops one of {panel(title).metrics}"


def test_what_production_does_not_scrape_is_told() -> None:
    assert [each.title for each in PANELS if not each.in_production] == [
        panels.SERVERS,
        panels.USERS,
        panels.REMOVED,
        panels.START_TIMES,
        panels.START_FAILURES,
        panels.LATENCY,
        panels.DATABASE,
    ]
