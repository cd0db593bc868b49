"""The hub whose culler's times are divided, and the lifetimes of its servers."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from traitlets.config import Config

from harness.base.wait import NotYet
from harness.charts.chart import Release
from harness.hub.api import Hub
from harness.hub.culler import Times
from harness.scenarios.scaled_hub import (
    HUB_SETTINGS,
    LIFE_FACTOR,
    SERVER_SETTINGS,
    LifetimeWatch,
    ServerLifetime,
    remove,
    scaled_values,
)


def test_scale() -> None:
    values = scaled_values(Times(300, 900, 14400), {})
    assert values["cull"] == {"every": 7, "timeout": 20, "maxAge": 120}
    assert values["singleuser"]["extraEnv"] == {"JUPYTERHUB_ACTIVITY_INTERVAL": "7", "HARNESS_TIMES_DIVISOR": "120"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # JupyterHub's own defaults, and what the spawner file has.
        ({}, {"cookie_max_age_days": 14 / LIFE_FACTOR}),
        ({"tornado_settings": {"cookie_options": {"expires_days": 9}}}, {"expires_days": 9 / LIFE_FACTOR}),
        ({"tornado_settings": {"cookie_options": {"expires_days": None}}}, {"expires_days": None}),
        ({"cookie_max_age_days": 1}, {"cookie_max_age_days": 1 / LIFE_FACTOR}),
        ({"oauth_token_expires_in": 3600}, {"oauth_token_expires_in": 30}),
    ],
)
def test_logins_are_scaled(given: dict[str, Any], expected: dict[str, Any]) -> None:
    config = Config(JupyterHub={"tornado_settings": {"slow_spawn_timeout": 0}, **given})
    exec(HUB_SETTINGS, {"c": config})
    found = {**config.JupyterHub, **config.JupyterHub.tornado_settings.get("cookie_options", {})}
    assert {name: found[name] for name in expected} == expected
    assert ("oauth_token_expires_in" in found) == ("oauth_token_expires_in" in given)


def test_servers_end_with_their_hub() -> None:
    done: list[str] = []
    helm = SimpleNamespace(uninstall=lambda release: done.append(f"uninstall {release.name}"))
    cluster = SimpleNamespace(remove_workloads=lambda namespace: done.append(f"remove what runs in {namespace}"))
    running: Any = SimpleNamespace(helm=helm, cluster=cluster)
    remove(running, Release("jupyterhub-scaled", "jupyter-scaled", values=()))
    assert done == ["uninstall jupyterhub-scaled", "remove what runs in jupyter-scaled"]


@pytest.mark.parametrize("taken", SERVER_SETTINGS)
def test_settings_of_servers_take_no_place_that_is_taken(taken: str) -> None:
    values = scaled_values(Times(300, 900, 14400), {"theirs": {"mountPath": taken}})
    place = values["singleuser"]["extraFiles"]["harness_scaled_times"]["mountPath"]
    assert place in SERVER_SETTINGS
    assert place != taken


def test_watch() -> None:
    """A server is there while the hub knows it, and gone from the first look that does not find it."""
    there: dict[str, dict[str, object]] = {"a": {"": {}}, "b": {"": {}}}

    def answer(request: httpx.Request) -> httpx.Response:
        if there.get("broken"):
            return httpx.Response(503)
        users = [{"name": name, "servers": servers} for name, servers in there.items()]
        return httpx.Response(200, json={"items": users, "_pagination": {"next": None}})

    hub = Hub("http://hub", "jupyter", "jupyterhub", "jupyterhub", "token", httpx.MockTransport(answer))
    watch = LifetimeWatch(hub)
    watch.add("a")
    watch.add("b")
    assert isinstance(watch.all_gone(), NotYet)
    there["a"] = {}
    assert isinstance(watch.all_gone(), NotYet)
    there["broken"] = {"": {}}
    del there["b"]
    seen = watch.all_gone()
    assert isinstance(seen, NotYet)
    assert "does not answer" in seen.seen
    del there["broken"]
    assert watch.all_gone() is True
    a, b = watch.lifetimes["a"], watch.lifetimes["b"]
    assert a.gone_at is not None
    assert b.gone_at is not None
    assert a.last_seen <= a.gone_at
    assert a.started + a.gone_at <= b.started + b.gone_at


def test_age_counts_from_the_hubs_order() -> None:
    """A server that takes long to start is older than the time for which it was ready."""
    ordered = datetime.now(UTC) - timedelta(seconds=20)
    servers = {"": {"started": ordered.isoformat().replace("+00:00", "Z")}}
    answer = {"items": [{"name": "a", "servers": servers}], "_pagination": {"next": None}}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=answer))
    watch = LifetimeWatch(Hub("http://hub", "jupyter", "jupyterhub", "jupyterhub", "token", transport))
    watch.add("a")
    assert watch.lifetimes["a"].starting == pytest.approx(20, abs=5)


def test_life_is_open_at_first() -> None:
    assert ServerLifetime("a", 0.0).gone_at is None


def test_a_lifetime_has_the_times_of_a_clock() -> None:
    now = time.time()
    life = ServerLifetime("one", started=time.monotonic() - 100, last_seen=60, gone_at=None)
    assert life.seen_last == pytest.approx(now - 40, abs=1)
    assert life.ended == pytest.approx(now - 40, abs=1)
    life.gone_at = 70
    assert life.ended == pytest.approx(now - 30, abs=1)
