"""The students' hub once more, its culler's times brought down to what a test can wait for."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from harness.base.wait import NotYet
from harness.deployment import releases, rollout
from harness.deployment.model import Deployment
from harness.evidence.diagnosis import why_unrecoverable
from harness.hub.api import Hub
from harness.hub.culler import Times, configured
from harness.plan.hubs import SCALED, STUDENT

FACTOR = 45
"""What production's times are divided by. Much more, and a server that is used would look idle between two reports on a
busy machine."""
ACTIVITY_INTERVAL = 300
"""Seconds between two reports of a server's activity to the hub (JUPYTERHUB_ACTIVITY_INTERVAL's default)."""


def scaled_values(times: Times) -> dict[str, Any]:
    """Values that bring production's times down, and nothing into the cluster that has no part in it."""
    scaled = times / FACTOR
    cull = {"every": round(scaled.every), "timeout": round(scaled.timeout), "maxAge": round(scaled.max_age)}
    activity = round(ACTIVITY_INTERVAL / FACTOR)
    return {
        "cull": cull,
        "singleuser": {"extraEnv": {"JUPYTERHUB_ACTIVITY_INTERVAL": str(activity)}},
        "hub": {"config": {"JupyterHub": {"last_activity_interval": 1}}},
        "prePuller": {"continuous": {"enabled": False}, "hook": {"enabled": False}},
        "scheduling": {"userScheduler": {"enabled": False}, "userPlaceholder": {"enabled": False}},
    }


@contextmanager
def scaled_hub(running: Deployment) -> Iterator[Hub]:
    """The students' release once more beside the others, its culler's times divided by FACTOR; gone at the end."""
    plan, cluster = running.plan, running.cluster
    secret = releases.read_secrets(plan.secrets)
    student = running.helm.template(running.chart, running.releases[STUDENT])
    values = plan.state / "scaled-times.yaml"
    values.write_text(yaml.safe_dump(scaled_values(configured(student))))
    releases.write_run_values(plan, SCALED, secret)
    bare = releases.release(plan, SCALED)
    release = dataclasses.replace(bare, values=(*bare.values, Path(values)))
    objects = running.helm.template(running.chart, release)
    running.helm.uninstall(release)
    running.database.create_database(SCALED.database)
    cluster.apply(SCALED.namespace, *releases.prerequisites(objects, SCALED, running.database))
    try:
        running.helm.upgrade_install(running.chart, release)
        rollout.wait_until_ready(cluster, SCALED.namespace)
        url = cluster.hub_url(SCALED.node_port)
        hub = Hub(url, SCALED.namespace, SCALED.release, SCALED.database, secret[SCALED.release])
        rollout.wait_for_answer(hub, lambda: why_unrecoverable(cluster, hub.namespace))
        yield hub
    finally:
        running.helm.uninstall(release)


@dataclass
class ServerLifetime:
    """One server under the culler."""

    user: str
    born: float
    """When it was ready, as time.monotonic()."""
    seen: float = 0.0
    """Seconds of its life when it was last seen."""
    gone: float | None = None
    """Seconds of its life when it was first seen to be gone; None while it is there."""

    @property
    def end(self) -> str:
        """What is known of its end, in words."""
        return f"was last seen after {self.seen:.0f} s" if self.gone is None else f"went after {self.gone:.0f} s"


class Watch:
    """Looks at a hub's servers, and writes down until when each was there."""

    def __init__(self, hub: Hub) -> None:
        self.lives: dict[str, ServerLifetime] = {}
        self._hub = hub

    def add(self, user: str) -> None:
        """Watch a user's server, which is ready now."""
        self.lives[user] = ServerLifetime(user, time.monotonic())

    def all_gone(self) -> bool | NotYet:
        """Look once: whether every server is gone, and its user with it."""
        try:
            users = self._hub.users()
        except httpx.HTTPError as error:
            return NotYet(f"the hub does not answer: {error}")
        now = time.monotonic()
        there = [life for life in self.lives.values() if life.gone is None]
        for life in there:
            if users.get(life.user, {}).get("servers"):
                life.seen = now - life.born
            else:
                life.gone = now - life.born
        left = [f"{life.user} after {life.seen:.0f} s" for life in there if life.gone is None]
        return NotYet(f"there are {', '.join(left)}") if left else True
