"""Changes to a running copy that are taken back at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.charts.chart import Release
from harness.deployment.model import Deployment
from harness.deployment.rollout import wait_for_answer, wait_until_ready
from harness.deployment.state import STATE, State, release_fingerprint
from harness.evidence.diagnosis import why_unrecoverable
from harness.plan.hubs import HubSpec
from harness.plan.plan import Plan


@contextmanager
def changed(running: Deployment, hub_spec: HubSpec, release: Release) -> Iterator[None]:
    """Have a hub run another release while the block runs; its own is back at the end."""
    hub = running.hub(hub_spec)
    namespace = running.releases[hub_spec].namespace

    def install(wanted: Release) -> None:
        running.helm.upgrade_install(running.chart, wanted)
        wait_until_ready(running.cluster, namespace)
        wait_for_answer(hub, lambda: why_unrecoverable(running.cluster, namespace))

    # A run that is killed in between leaves what no later run may take for the hub's own.
    known = State(running.plan.state / STATE)
    known.forget(hub_spec.name)
    try:
        install(release)
        yield
    finally:
        install(running.releases[hub_spec])
        known.set(hub_spec.name, release_fingerprint(running.chart, running.releases[hub_spec]))


@contextmanager
def images_changed(plan: Plan) -> Iterator[None]:
    """Restore the registry's images after a block that changes them; if it is killed, the next run restores them."""
    known = State(plan.state / STATE)
    before = known.get("images")
    known.forget("images")
    yield
    if before:
        known.set("images", before)
