"""Tests of the alert rules as they are written, and of how they are scaled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.base.errors import HarnessError
from harness.monitoring.rules import RULE_TESTS, RULES, Rule, metrics_in, read_rules, rules_in, scaled, seconds

ROOT = Path(__file__).parents[3]
OURS = read_rules(ROOT / RULES)


def rule(content: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for group in content["groups"] for each in group["rules"] if each["alert"] == name)


@pytest.mark.parametrize("each", list(rules_in(OURS)), ids=lambda each: each.name)
class TestOurs:
    def test_it_has_a_severity_and_says_what_to_do(self, each: Rule) -> None:
        assert each.severity in ("warning", "critical")
        assert each.summary
        assert each.action

    def test_promtool_tests_it_in_both_directions(self, each: Rule) -> None:
        tests = yaml.safe_load((ROOT / RULE_TESTS).read_text())["tests"]
        expected = [
            test["exp_alerts"] for it in tests for test in it["alert_rule_test"] if test["alertname"] == each.name
        ]
        assert any(expected), f"no test of promtool has {each.name} fire"

    def test_the_operators_page_leads_from_it_to_a_cause(self, each: Rule) -> None:
        assert each.name in (ROOT / "docs/monitoring.md").read_text()


class TestScaled:
    def test_waits_and_windows_are_divided_by_one_factor(self) -> None:
        found = scaled(OURS, 45, "jupyter-scaled")
        assert rule(found, "JupyterHubUnavailable")["for"] == "7s"
        assert "[14s]" in rule(found, "JupyterHubExited")["expr"]
        assert "offset 27s" in rule(found, "JupyterHubCullerSilent")["expr"]

    def test_no_number_but_a_time_is(self) -> None:
        found = scaled(OURS, 45, "jupyter-scaled")
        assert rule(found, "JupyterHubSpawnsSlow")["expr"].strip().endswith("> 180")
        assert "histogram_quantile(0.9," in rule(found, "JupyterHubSpawnsSlow")["expr"]

    def test_rules_about_the_culler_look_at_the_hub_whose_culler_is_scaled(self) -> None:
        found = scaled(OURS, 45, "jupyter-scaled")
        assert rule(found, "JupyterHubCullerSilent")["expr"].count('namespace="jupyter-scaled"') == 2
        assert "jupyter-scaled" not in rule(found, "JupyterHubExited")["expr"]

    def test_the_rules_as_written_stay_as_they_are(self) -> None:
        before = yaml.safe_dump(OURS)
        scaled(OURS, 45, "jupyter-scaled")
        assert yaml.safe_dump(OURS) == before


@pytest.mark.parametrize(("duration", "expected"), [("5m", 300), ("1h30m", 5400), ("250ms", 0.25), ("0s", 0)])
def test_seconds(duration: str, expected: float) -> None:
    assert seconds(duration) == expected


@pytest.mark.parametrize("duration", ["", "5", "five minutes", "5m "])
def test_what_is_no_duration_is_refused(duration: str) -> None:
    with pytest.raises(HarnessError, match=r"expected a duration of Prometheus, such as 5m"):
        seconds(duration)


def test_metrics_in_an_expression() -> None:
    expression = 'sum by (kube_pod) (rate(kube_pod_info{a="b"}[5m])) / on (pod) container_memory_rss > 0'
    assert metrics_in(expression) >= {"kube_pod_info", "container_memory_rss"}


@pytest.mark.parametrize(("text", "message"), [("a: [", "not YAML"), ("[]", "expected groups of alert rules")])
def test_a_file_without_rules_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "rules.yaml").write_text(text)
    with pytest.raises(HarnessError, match=message):
        read_rules(tmp_path / "rules.yaml")


def test_rules_look_at_the_namespaces_that_the_hubs_have() -> None:
    found = scaled(OURS, 45, "jupyter-scaled", ["notebooks", "jupyter-scaled"])
    assert 'namespace=~"notebooks|jupyter-scaled"' in rule(found, "JupyterHubExited")["expr"]
    assert "jupyter.*" not in yaml.safe_dump(found)
