"""Alert rules: as production would have them, and with all times divided for a running copy."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.base.errors import HarnessError
from harness.base.files import read_text

RULES, RULE_TESTS = "monitoring/rules.yaml", "monitoring/rules_test.yaml"
"""Our rules, and promtool's tests of them, in a checkout."""
HUBS = 'namespace=~"jupyter.*"'
"""The selector by which our rules choose the hubs."""
CULLER_GROUP = "culler"
"""The group of rules about the culler, whose times are the hub's and not the machine's."""
METRIC = re.compile(r"\b(?:kube|container|jupyterhub|pg|process)_[a-z_]+\b(?=\s*[{\[)]|\s|$)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+)(ms|[smhd])")
_IN_EXPRESSION = re.compile(r"(?<=\[)[\dsmhd]+(?=\])|(?<=offset )[\dsmhd]+\b")


@dataclass(frozen=True)
class Rule:
    """An alert rule.

    Attributes:
        wait: seconds for which the expression has to hold.
    """

    name: str
    group: str
    expression: str
    wait: float
    severity: str
    summary: str
    action: str


def read_rules(file: Path) -> dict[str, Any]:
    """Read rules as YAML has them.

    Raises:
        HarnessError: the file cannot be read, or has no groups of rules.
    """
    try:
        content = yaml.safe_load(read_text(file, "rules"))
    except yaml.YAMLError as error:
        raise HarnessError(f"{file}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not content.get("groups"):
        raise HarnessError(f"{file}: expected groups of alert rules, found none")
    return content


def rules_in(content: Mapping[str, Any]) -> Iterator[Rule]:
    """Yield the rules of all groups."""
    for group in content["groups"]:
        for rule in group["rules"]:
            notes = rule.get("annotations", {})
            yield Rule(
                name=rule["alert"],
                group=group["name"],
                expression=rule["expr"],
                wait=seconds(rule.get("for", "0s")),
                severity=rule.get("labels", {}).get("severity", ""),
                summary=notes.get("summary", ""),
                action=notes.get("action", ""),
            )


def scaled(
    content: Mapping[str, Any], factor: float, culler: str, namespaces: Iterable[str] = ("jupyter.*",)
) -> dict[str, Any]:
    """Return rules whose times are all divided by one factor: the wait, and the windows of the expressions.

    Args:
        namespaces: of the hubs, in place of production's.
        culler: namespace of the hub whose culler runs at that pace. The rules about the culler look at that hub alone:
            the others' look every few minutes, as in production.
    """
    found: dict[str, Any] = copy.deepcopy(dict(content))
    namespaces = list(namespaces)
    for group in found["groups"]:
        for rule in group["rules"]:
            rule["expr"] = _IN_EXPRESSION.sub(lambda window: _divided(window[0], factor), rule["expr"])
            rule["expr"] = rule["expr"].replace(HUBS, f'namespace=~"{"|".join(namespaces)}"')
            if "for" in rule:
                rule["for"] = _divided(rule["for"], factor)
            if group["name"] == CULLER_GROUP:
                rule["expr"] = rule["expr"].replace('job="jupyterhub"', f'job="jupyterhub", namespace="{culler}"')
    return found


def seconds(duration: str) -> float:
    """Return a duration of Prometheus in seconds.

    Raises:
        HarnessError: it is none.
    """
    parts = _DURATION.findall(duration)
    if "".join(number + unit for number, unit in parts) != duration or not parts:
        raise HarnessError(f"{duration!r}: expected a duration of Prometheus, such as 5m")
    return sum(int(number) * _UNITS[unit] for number, unit in parts)


def metrics_in(expression: str) -> set[str]:
    """Return the names of the metrics that an expression asks for."""
    return set(METRIC.findall(expression))


def _divided(duration: str, factor: float) -> str:
    return f"{max(1, math.ceil(seconds(duration) / factor))}s"
