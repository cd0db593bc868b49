"""Tests of the monitoring of a copy: what it is made of, and when it is removed."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from rich.console import Console

from harness.artifacts import resolve
from harness.base.errors import EnvironmentFault, HarnessError
from harness.base.progress import Steps
from harness.deployment import monitoring, releases
from harness.deployment.releases import create_secrets, metrics_token, read_secrets, release, write_run_values
from harness.monitoring.addon import AS_WRITTEN, NAMESPACE, RECEIVER
from harness.monitoring.panels import DASHBOARD
from harness.plan.hubs import HUBS, SCALED, STUDENT
from harness.plan.plan import Plan
from tests.unit.deployment.doubles import FakeCluster, context_of, running_copy

ROOT = Path(__file__).parents[3]
HUB = {
    "kind": "Deployment",
    "metadata": {"name": "hub"},
    "spec": {"template": {"spec": {"containers": [{"image": "quay.io/jupyterhub/k8s-hub:1"}]}}},
}


@pytest.fixture
def monitored(planned: Callable[..., Plan], checkout: Path) -> Plan:
    """The plan of a run that has a test of the monitoring."""
    (checkout / "monitoring").symlink_to(ROOT / "monitoring")

    return dataclasses.replace(planned(), monitored=True)


class TestSettings:
    @pytest.fixture(params=["build"])
    def settings(self, monitored: Plan, request: pytest.FixtureRequest) -> Any:
        create_secrets(monitored.secrets)
        cluster = SimpleNamespace(nodes=("one", "two"))
        database = SimpleNamespace(url=lambda name: f"postgresql://here/{name}")
        made: Any = SimpleNamespace(how=request.param)
        copy = running_copy(monitored, cluster, objects={STUDENT: [HUB]}, database=database, artifacts=made)
        return monitoring.settings_of(copy, 45)

    @pytest.mark.parametrize(("settings", "there"), [("build", False), ("pull", True)], indirect=["settings"])
    def test_grafana_is_there_where_its_image_can_be_pulled(self, settings: Any, there: bool) -> None:
        assert bool(settings.grafana) is there
        assert settings.dashboard == (ROOT / DASHBOARD).read_text()

    def test_each_hub_has_a_token_of_its_own(self, settings: Any, monitored: Plan) -> None:
        secret = read_secrets(monitored.secrets)
        assert settings.tokens == {spec: secret[metrics_token(spec)] for spec in (*HUBS, SCALED)}
        assert len(set(settings.tokens.values())) == 3

    def test_the_receiver_runs_on_the_hubs_image(self, settings: Any) -> None:
        assert settings.images[RECEIVER] == "quay.io/jupyterhub/k8s-hub:1"

    def test_rules_run_scaled_and_lie_beside_as_they_are_written(self, settings: Any) -> None:
        as_written = (ROOT / "monitoring/rules.yaml").read_text()
        assert settings.files[AS_WRITTEN] == as_written
        assert yaml.safe_load(settings.files["rules_test.yaml"])["rule_files"] == [AS_WRITTEN]
        assert "for: 7s" in settings.rules
        assert "for: 7s" not in as_written


class TestValues:
    """A hub lets itself be read in a monitored run, and in no other."""

    def values_of(self, plan: Plan) -> dict[str, Any]:
        create_secrets(plan.secrets)
        write_run_values(plan, STUDENT, read_secrets(plan.secrets))
        found: dict[str, Any] = yaml.safe_load(releases.run_values_file(plan, STUDENT).read_text())
        return found

    def test_in_a_monitored_run(self, monitored: Plan) -> None:
        token = read_secrets(monitored.secrets)[metrics_token(STUDENT)] if monitored.secrets.exists() else ""
        services = self.values_of(monitored)["hub"]["services"]
        assert services["prometheus"]["apiToken"] != token
        beneath, *_ = release(monitored, STUDENT).values
        assert beneath == monitored.monitoring_values
        assert any("helm/values/monitoring.yaml, beneath both hubs" in line for line in monitored.describe())

    def test_in_any_other(self, planned: Callable[..., Plan]) -> None:
        plan = planned()
        assert "prometheus" not in self.values_of(plan)["hub"]["services"]
        assert plan.monitoring_values not in release(plan, STUDENT).values
        assert not any("monitoring.yaml" in line for line in plan.describe())

    def test_production_never_has_them(self, monitored: Plan) -> None:
        assert monitored.monitoring_values not in releases.production(monitored, STUDENT).values


class TestBuild:
    """The parts of the monitoring are built with the other artifacts, and cost no more than their tests."""

    def test_one_that_does_not_build_is_told_and_ends_no_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        output = io.StringIO()
        monkeypatch.setattr(resolve, "get_addons", raising(HarnessError("kube-state-metrics: no answer")))
        monitoring.build_monitoring("build", tmp_path, Steps(Console(file=output, width=200)))
        assert output.getvalue().split(maxsplit=1) == ["monitoring:", "kube-state-metrics: no answer\n"]

    def test_a_fault_of_the_machine_ends_it(
        self, tmp_path: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(resolve, "get_addons", raising(EnvironmentFault("the disk is full")))
        with pytest.raises(EnvironmentFault, match="the disk is full"):
            monitoring.build_monitoring("build", tmp_path, steps)


def raising(error: Exception) -> Callable[..., None]:
    """Return a function that raises an error."""

    def fail(*_: object) -> None:
        raise error

    return fail


class TestRemoval:
    def cluster(self) -> Any:
        cluster: Any = FakeCluster()
        cluster.kubectl = lambda *arguments, **_: cluster.done.append(" ".join(arguments[:3])) or ""
        return cluster

    def test_what_an_earlier_run_left_is_removed(self, planned: Callable[..., Plan], steps: Steps) -> None:
        cluster = self.cluster()
        context = context_of(planned(), steps, cluster)
        context.state.set(NAMESPACE, "made")
        monitoring.remove_monitoring(context)
        monitoring.remove_monitoring(context)
        assert cluster.done == [f"delete namespace {NAMESPACE}"]
        assert context.state.get(NAMESPACE) is None

    def test_where_there_is_none_nothing_is_asked(self, planned: Callable[..., Plan], steps: Steps) -> None:
        cluster = self.cluster()
        monitoring.remove_monitoring(context_of(planned(), steps, cluster))
        assert cluster.done == []
