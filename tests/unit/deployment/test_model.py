"""A copy of the deployment: its hubs, its versions, and the parts of production that it cannot show."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.base.shell import CommandError
from harness.charts.chart import Chart
from harness.deployment.model import NO_POLICIES, Deployment
from harness.plan.hubs import AUTHORING, SCALED, STUDENT
from harness.plan.plan import Plan

Planner = Callable[..., Plan]


def deployment(plan: Plan, kubectl: Callable[..., str] = lambda *_: "{}", **artifacts: Any) -> Deployment:
    parts: Any = dict.fromkeys(("helm", "releases", "objects", "services"))
    made: Any = SimpleNamespace(**{"images": {}, **artifacts})
    hubs: Any = {"student": "the students' hub", "authoring": "the authors' hub"}
    cluster: Any = SimpleNamespace(kubectl=kubectl)
    chart = Chart(Path("chart"), "4.4.1", "chart repository")
    return Deployment(plan=plan, artifacts=made, chart=chart, cluster=cluster, **parts, **hubs)


class TestVersions:
    def test_the_cluster_is_asked(self, planned: Planner) -> None:
        def kubectl(*args: str) -> str:
            assert args == ("version", "--output=json")
            return json.dumps({"serverVersion": {"gitVersion": "v1.36.4"}})

        assert deployment(planned(), kubectl).ask_versions() == {
            "chart": "4.4.1, chart repository",
            "spawner": "dynamicImageConfig.py",
            "Kubernetes": "v1.36.4",
        }

    def test_one_that_does_not_answer_is_left_out(self, planned: Planner) -> None:
        def kubectl(*_: str) -> str:
            raise CommandError("kubectl version", "timed out")

        assert set(deployment(planned(), kubectl).ask_versions()) == {"chart", "spawner"}


def test_hubs(planned: Planner) -> None:
    found: Any = deployment(planned())
    assert (found.hub(STUDENT), found.hub(AUTHORING)) == ("the students' hub", "the authors' hub")
    with pytest.raises(KeyError):
        found.hub(SCALED)


def test_what_cannot_be_shown_depends_on_the_node_image(planned: Planner) -> None:
    assert NO_POLICIES not in deployment(planned()).unchecked
    built = deployment(planned(), images={"quay.io/hub": None}).unchecked
    assert NO_POLICIES in built
