"""Tests of the owners' rules: how they are read, and evaluated as Grafana does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import HarnessError
from harness.monitoring.client import Sample
from harness.monitoring.owners import CLUSTER_RULES, PIPELINE, RULES_DIRECTORY, OwnersRule, read_owners_rules

PIPELINE_CODE = """
def _rule_data(expr):
    return [{"evaluator": {"type": "gt", "params": []}, "operator": {"type": "and"}, "type": "query"},
            {"evaluator": {"type": "gt", "params": [0]}, "operator": {"type": "and"}, "type": "query"}]
"""
RULES_CODE = """
def create(folder_uid, rd, resource_opts):
    alerting.RuleGroup("general", rules=[
        alerting.RuleGroupRuleArgs(
            name="NodeNotReady", for_="5m", labels={"severity": "critical"},
            datas=rd('sum by (node) '
                     '(kube_node_status_condition == 0)'),
        ),
        alerting.RuleGroupRuleArgs(name="Computed", labels={}, datas=rd(_expr("10m"))),
    ])
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with two rules."""
    for name, code in ((PIPELINE, PIPELINE_CODE), (CLUSTER_RULES, RULES_CODE)):
        file = tmp_path / RULES_DIRECTORY / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)
    return tmp_path


def test_rules_are_read_without_running_anything(checkout: Path) -> None:
    found = read_owners_rules(checkout, CLUSTER_RULES)
    rule = found["NodeNotReady"]
    assert rule.expression == "sum by (node) (kube_node_status_condition == 0)"
    assert (rule.wait, rule.severity, rule.line) == ("5m", "critical", 4)
    assert (found["Computed"].expression, found["Computed"].severity) == ("", "")


def test_a_file_without_rules_is_told(checkout: Path) -> None:
    (checkout / RULES_DIRECTORY / CLUSTER_RULES).write_text("pass\n")
    with pytest.raises(HarnessError, match=r"eks_general.py: expected alert rules, RuleGroupRuleArgs\(name=…\)"):
        read_owners_rules(checkout, CLUSTER_RULES)


def test_another_way_to_evaluate_them_is_told(checkout: Path) -> None:
    (checkout / RULES_DIRECTORY / PIPELINE).write_text(PIPELINE_CODE.replace("[0]", "[-1]"))
    with pytest.raises(HarnessError, match="expected rules that fire for a last value above zero, found"):
        read_owners_rules(checkout, CLUSTER_RULES)


def test_what_matches_with_a_value_of_zero_does_not_fire() -> None:
    rule = OwnersRule("a", "up", "5m", "critical", "file", 1)
    answers = [Sample({"node": "one"}, 0.0), Sample({"node": "other"}, 1.0)]
    monitoring: Any = type("Played", (), {"query": lambda self, expression, at: answers})()
    assert rule.matches(monitoring) == answers
    assert rule.fires(monitoring) == answers[1:]
