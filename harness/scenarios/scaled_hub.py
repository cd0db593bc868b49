"""A second students' hub, whose culler's times are short enough for a test."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import yaml

from harness.base.wait import NotYet
from harness.charts.chart import Release
from harness.charts.manifests import hub_values
from harness.deployment import releases, rollout
from harness.deployment.model import Deployment
from harness.evidence.diagnosis import why_unrecoverable
from harness.hub.api import Hub
from harness.hub.culler import Times, configured
from harness.plan.hubs import SCALED, STUDENT

LIFE_FACTOR = 120
"""Divisor of what ends a server, a login or a kernel at an age."""
FACTOR = 45
"""Divisor of the times without activity, and between two looks and reports. With a much larger one, a server that is
used would look idle between two reports on a busy machine."""
ACTIVITY_INTERVAL = 300
"""Seconds between two reports of a server's activity to the hub (JUPYTERHUB_ACTIVITY_INTERVAL's default)."""
DIVISOR = "HARNESS_TIMES_DIVISOR"
"""Variable by which scaled_server.py, in a server, knows LIFE_FACTOR."""
SERVER_SETTINGS = ("/usr/local/etc/jupyter/jupyter_server_config.py", "/etc/jupyter/jupyter_server_config.py")
"""Files that a Jupyter server reads beside all others, in any image (jupyter_core, SYSTEM_CONFIG_PATH)."""
LAST = "zzz-harness-scaled-times"
"""Key of the part of the hub's configuration that comes after all others: they are executed in order of their keys."""
HUB_SETTINGS = f"""
c.JupyterHub.cookie_max_age_days = c.JupyterHub.get("cookie_max_age_days", 14) / {LIFE_FACTOR}
if "oauth_token_expires_in" in c.JupyterHub:
    c.JupyterHub.oauth_token_expires_in = max(1, round(c.JupyterHub.oauth_token_expires_in / {LIFE_FACTOR}))
_cookies = dict(c.JupyterHub.tornado_settings.get("cookie_options", {{}}))
if _cookies.get("expires_days") is not None:
    _cookies["expires_days"] /= {LIFE_FACTOR}
    c.JupyterHub.tornado_settings["cookie_options"] = _cookies
"""
"""Configuration by which a login lasts as much shorter as a server lives shorter."""


def scaled_times(times: Times) -> Times:
    """Return production's times for the hub: each divided by its factor."""
    return dataclasses.replace(times / FACTOR, max_age=times.max_age / LIFE_FACTOR)


def scaled_values(times: Times, files: Mapping[str, Any]) -> dict[str, Any]:
    """Return values that bring production's times down, and switch off all that plays no part in culling.

    Args:
        files: `singleuser.extraFiles` of production.
    """
    scaled = scaled_times(times)
    cull = {"every": round(scaled.every), "timeout": round(scaled.timeout), "maxAge": round(scaled.max_age)}
    activity = round(ACTIVITY_INTERVAL / FACTOR)
    taken = {file["mountPath"] for file in files.values()}
    settings = {
        "mountPath": next(place for place in SERVER_SETTINGS if place not in taken),
        "stringData": Path(__file__).with_name("scaled_server.py").read_text(),
    }
    return {
        "cull": cull,
        "singleuser": {
            "extraEnv": {"JUPYTERHUB_ACTIVITY_INTERVAL": str(activity), DIVISOR: str(LIFE_FACTOR)},
            "extraFiles": {"harness_scaled_times": settings},
        },
        "hub": {
            # A server that ends itself is found out at once.
            "config": {"JupyterHub": {"last_activity_interval": 1}, "KubeSpawner": {"poll_interval": 1}},
            "extraConfig": {LAST: HUB_SETTINGS},
        },
        "prePuller": {"continuous": {"enabled": False}, "hook": {"enabled": False}},
        "scheduling": {"userScheduler": {"enabled": False}, "userPlaceholder": {"enabled": False}},
    }


@contextmanager
def scaled_hub(running: Deployment) -> Iterator[Hub]:
    """Install the students' release a second time, its culler's times divided by FACTOR; remove it at the end."""
    plan, cluster = running.plan, running.cluster
    secret = releases.read_secrets(plan.secrets)
    student = running.helm.template(running.chart, running.releases[STUDENT])
    values = plan.state / "scaled-times.yaml"
    files = hub_values(student)["singleuser"].get("extraFiles") or {}
    values.write_text(yaml.safe_dump(scaled_values(configured(student), files)))
    releases.write_run_values(plan, SCALED, secret)
    bare = releases.release(plan, SCALED)
    release = dataclasses.replace(bare, values=(*bare.values, Path(values)))
    objects = running.helm.template(running.chart, release)
    remove(running, release)
    running.database.create_database(SCALED.database)
    cluster.apply(SCALED.namespace, *releases.prerequisites(objects, SCALED, running.database))
    try:
        running.helm.upgrade_install(running.chart, release)
        rollout.wait_until_ready(cluster, SCALED.namespace)
        url = cluster.hub_url(SCALED.node_port)
        hub = Hub(url, SCALED.namespace, SCALED.release, SCALED.database, secret[SCALED.name])
        rollout.wait_for_answer(hub, lambda: why_unrecoverable(cluster, hub.namespace))
        yield hub
    finally:
        remove(running, release)


def remove(running: Deployment, release: Release) -> None:
    """Remove a hub, and the servers that it has left running, of which the next one under its name knows nothing."""
    running.helm.uninstall(release)
    running.cluster.remove_workloads(release.namespace)


@dataclass
class ServerLifetime:
    """One server under the culler."""

    user: str
    started: float
    """When it was ready, as time.monotonic()."""
    starting: float = 0.0
    """Seconds from the hub's order until it was ready: the culler counts a server's age from the order."""
    last_seen: float = 0.0
    """Seconds from its start to the last look that found it."""
    gone_at: float | None = None
    """Seconds from its start to the first look that did not find it; None while it is there."""

    @property
    def ready_at(self) -> float:
        """Return when it was ready, as time.time()."""
        return self.started + (time.time() - time.monotonic())

    @property
    def seen_last(self) -> float:
        """Return the time of the last look that found it, as time.time()."""
        return self.ready_at + self.last_seen

    @property
    def ended(self) -> float:
        """Return the time of the first look that did not find it, or of the last look, as time.time()."""
        return self.ready_at + (self.last_seen if self.gone_at is None else self.gone_at)

    @property
    def end(self) -> str:
        """Return in words what is known of its end."""
        if self.gone_at is None:
            return f"was last seen after {self.last_seen:.0f} s"
        return f"went after {self.gone_at:.0f} s"


class LifetimeWatch:
    """A record of how long each of a hub's servers was there."""

    def __init__(self, hub: Hub) -> None:
        self.lifetimes: dict[str, ServerLifetime] = {}
        self._hub = hub

    def add(self, user: str) -> None:
        """Watch a user's server, which is ready now."""
        ready, ordered = time.time(), self._hub.users()[user]["servers"].get("", {}).get("started")
        starting = ready - datetime.fromisoformat(ordered).timestamp() if ordered else 0.0
        self.lifetimes[user] = ServerLifetime(user, time.monotonic(), starting)

    def all_gone(self) -> bool | NotYet:
        """Look once, and return True if every server is gone, and its user with it."""
        try:
            users = self._hub.users()
        except httpx.HTTPError as error:
            return NotYet(f"the hub does not answer: {error}")
        now = time.monotonic()
        there = [each for each in self.lifetimes.values() if each.gone_at is None]
        for each in there:
            if users.get(each.user, {}).get("servers"):
                each.last_seen = now - each.started
            else:
                each.gone_at = now - each.started
        left = [f"{each.user} after {each.last_seen:.0f} s" for each in there if each.gone_at is None]
        return NotYet(f"there are {', '.join(left)}") if left else True
