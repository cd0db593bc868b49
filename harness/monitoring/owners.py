"""The owners' alert rules about the cluster, read from their checkout and evaluated as Grafana does it for them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import HarnessError
from harness.base.files import parse_python
from harness.monitoring.client import Monitoring, Sample

RULES_DIRECTORY = Path("src/ol_infrastructure/infrastructure/grafana_alerting")
CLUSTER_RULES = "metric_rules/eks_general.py"
EDGE_RULES = ("metric_rules/apisix_edge.py", "log_rules/apisix_oidc.py")
"""Files of the rules about Kubernetes, and of those about the gate in front of the hubs."""
PIPELINE = "metric_rules/base.py"
"""File of `_rule_data`: a query, its last value, and a threshold."""
RULE = "RuleGroupRuleArgs"
THRESHOLD = 0.0


@dataclass(frozen=True)
class OwnersRule:
    """A rule as the owners write it.

    Attributes:
        expression: PromQL; empty where their code computes it.
        wait: how long it has to hold, as they write it.
        severity: the label by which a notification finds its receiver; empty for none.
    """

    name: str
    expression: str
    wait: str
    severity: str
    file: str
    line: int

    def matches(self, monitoring: Monitoring, at: float | None = None) -> list[Sample]:
        """Return what the query gives, now or at a time.time()."""
        return monitoring.query(self.expression, at)

    def fires(self, monitoring: Monitoring, at: float | None = None) -> list[Sample]:
        """Return what fires: Grafana's threshold lets pass a last value above zero, and nothing else."""
        return [each for each in self.matches(monitoring, at) if each.value > THRESHOLD]


def read_owners_rules(checkout: Path, *files: str) -> dict[str, OwnersRule]:
    """Read the rules of some of the owners' files, by name.

    Raises:
        HarnessError: a file is not there or has no rules, or the rules are evaluated in another way than this module's.
    """
    _check_pipeline(checkout / RULES_DIRECTORY / PIPELINE)
    found: dict[str, OwnersRule] = {}
    for file in files:
        path = checkout / RULES_DIRECTORY / file
        rules = {rule.name: rule for rule in _rules(parse_python(path, "--ol-infrastructure"), file)}
        if not rules:
            raise HarnessError(f"{path}: expected alert rules, {RULE}(name=…), found none")
        found |= rules
    return found


def _rules(module: ast.Module, file: str) -> Iterator[OwnersRule]:
    for call in ast.walk(module):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == RULE:
            given = {keyword.arg: keyword.value for keyword in call.keywords}
            query = given.get("datas")
            expression = query.args[0] if isinstance(query, ast.Call) and query.args else None
            labels = _literal(given.get("labels"))
            yield OwnersRule(
                name=str(_literal(given.get("name"))),
                expression=str(_literal(expression) or ""),
                wait=str(_literal(given.get("for_")) or ""),
                severity=str(labels.get("severity", "")) if isinstance(labels, dict) else "",
                file=file,
                line=call.lineno,
            )


def _literal(node: ast.expr | None) -> object:
    """Return the value of a literal; None for what is computed."""
    if node is None:
        return None
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def _check_pipeline(path: Path) -> None:
    """Check that the owners' rules fire for a last value above zero."""
    thresholds = [
        node
        for node in ast.walk(parse_python(path, "--ol-infrastructure"))
        if isinstance(node, ast.Dict) and {"evaluator", "operator", "type"} <= _keys(node)
    ]
    evaluators = [ast.literal_eval(node.values[_index(node, "evaluator")]) for node in thresholds]
    expected = {"type": "gt", "params": [THRESHOLD]}
    if expected not in evaluators:
        raise HarnessError(f"{path}: expected rules that fire for a last value above zero, found {evaluators}")


def _keys(node: ast.Dict) -> set[str]:
    return {key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}


def _index(node: ast.Dict, name: str) -> int:
    return next(index for index, key in enumerate(node.keys) if isinstance(key, ast.Constant) and key.value == name)
