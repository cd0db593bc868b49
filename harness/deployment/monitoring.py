"""The monitoring of a running copy: built, brought into its cluster when a test asks for it, and removed again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import yaml

from harness.artifacts import resolve as artifacts
from harness.base.digest import fingerprint
from harness.base.errors import EnvironmentFault, HarnessError
from harness.base.progress import Steps
from harness.base.wait import NotYet, wait_until
from harness.charts.manifests import hub_image
from harness.cluster.kind import Cluster
from harness.deployment.context import BootContext
from harness.deployment.images import push_addons
from harness.deployment.model import Deployment
from harness.deployment.releases import metrics_token, read_secrets
from harness.deployment.rollout import wait_until_ready
from harness.deployment.state import STATE, State
from harness.monitoring.addon import ADDONS, AS_WRITTEN, NAMESPACE, RECEIVER, MonitoringSettings, objects
from harness.monitoring.client import Monitoring
from harness.monitoring.grafana import GRAFANA
from harness.monitoring.panels import DASHBOARD
from harness.monitoring.rules import RULE_TESTS, RULES, read_rules, scaled
from harness.plan.hubs import SCALED, STUDENT
from harness.plan.versions import read_versions

FIRST_SCRAPE = 60.0
"""Seconds until Prometheus has read its sources once."""


def build_monitoring(how: str, cache: Path, steps: Steps) -> None:
    """Build the parts of the monitoring beside the other artifacts; one that does not build only costs its tests.

    Args:
        how: 'build' or 'pull'.

    Raises:
        EnvironmentFault: Docker or the disk failed.
    """
    try:
        artifacts.get_addons(how, ADDONS, cache, steps)
    except EnvironmentFault:
        raise
    except HarnessError as error:
        # `start_monitoring` tries once more, and its error is the reason why nothing is checked.
        steps.say(f"{'monitoring:':<11} {error}")


def start_monitoring(running: Deployment, steps: Steps, factor: float) -> Monitoring:
    """Bring the monitoring into the cluster, and build what is missing of it; it comes up while the run goes on.

    Args:
        factor: divisor of all times of the alert rules.

    Raises:
        HarnessError: a part cannot be built, or the cluster refuses it.
    """
    built = artifacts.get_addons(running.artifacts.how, ADDONS, running.plan.cache, steps)
    with steps.step("Prometheus and its sources") as step:
        push_addons(running, built)
        settings = settings_of(running, factor)
        digests = sorted(image.digest for image in built.values())
        made_of = fingerprint([repr(dataclasses.astuple(settings)), *digests])
        state = State(running.plan.state / STATE)
        if state.get(NAMESPACE) != made_of:
            state.set(NAMESPACE, "starting")
            running.cluster.apply(NAMESPACE, *objects(settings, made_of))
            state.set(NAMESPACE, made_of)
        step.done(f"on their way up in the cluster; times of the alert rules divided by {factor:g}")
    return Monitoring(running.cluster)


def wait_for_monitoring(cluster: Cluster, monitoring: Monitoring) -> None:
    """Wait until all parts of the monitoring are up, and Prometheus has read the cluster's state once.

    Raises:
        HarnessError: a part does not come up; the message has the cause.
    """
    wait_until_ready(cluster, NAMESPACE)
    wait_until("the first scrape", lambda: _works(monitoring), timeout=FIRST_SCRAPE)


def settings_of(running: Deployment, factor: float) -> MonitoringSettings:
    """Return what the parts of a copy's monitoring are made of."""
    secret, checkout = read_secrets(running.plan.secrets), running.plan.checkout
    hubs = (*running.plan.hubs, SCALED)
    rules = scaled(read_rules(checkout / RULES), factor, SCALED.namespace, [spec.namespace for spec in hubs])
    images = {name: image.published for name, image in read_versions().addons().items()}
    return MonitoringSettings(
        images={**images, RECEIVER: hub_image(running.objects[STUDENT])},
        tokens={spec: secret[metrics_token(spec)] for spec in hubs},
        nodes=running.cluster.nodes,
        database_url=f"{running.database.url('postgres')}?sslmode=disable",
        rules=yaml.safe_dump(rules, sort_keys=False),
        files=_files_for_promtool(checkout),
        # There is no other source of its image.
        grafana=read_versions().get("published.images", GRAFANA) if running.artifacts.how == "pull" else "",
        dashboard=(checkout / DASHBOARD).read_text(),
    )


def remove_monitoring(context: BootContext) -> None:
    """Remove the monitoring that an earlier run left in a kept cluster; nothing to do where there is none."""
    if not context.state.get(NAMESPACE):
        return
    context.steps.say(f"{'kept:':<11}the monitoring is removed, for no test asks for it")
    _remove(context.cluster)
    context.state.forget(NAMESPACE)


def _remove(cluster: Cluster) -> None:
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=90s", timeout=100)


def _works(monitoring: Monitoring) -> bool | NotYet:
    trouble = monitoring.trouble()
    return NotYet(trouble) if trouble else True


def _files_for_promtool(checkout: Path) -> Mapping[str, str]:
    """Return the rules as they are written, and their tests, which name them by their file in the checkout."""
    tests = (checkout / RULE_TESTS).read_text()
    return {AS_WRITTEN: (checkout / RULES).read_text(), Path(RULE_TESTS).name: tests.replace("rules.yaml", AS_WRITTEN)}
