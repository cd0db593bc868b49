"""The hub whose culler's times are divided, and the lifetimes of its servers."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from traitlets.config import Config

from harness.base.wait import NotYet
from harness.hub.api import Hub
from harness.hub.culler import Times
from harness.scenarios.scaled_hub import (
    FACTOR,
    HUB_SETTINGS,
    SERVER_SETTINGS,
    LifetimeWatch,
    ServerLifetime,
    scaled_values,
)


def test_scale() -> None:
    values = scaled_values(Times(300, 900, 14400), {})
    assert values["cull"] == {"every": 7, "timeout": 20, "maxAge": 320}
    assert values["singleuser"]["extraEnv"] == {"JUPYTERHUB_ACTIVITY_INTERVAL": "7", "HARNESS_TIMES_DIVISOR": "45"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # JupyterHub's own defaults, and what the spawner file has.
        ({}, {"cookie_max_age_days": 14 / FACTOR}),
        ({"tornado_settings": {"cookie_options": {"expires_days": 9}}}, {"expires_days": 9 / FACTOR}),
        ({"tornado_settings": {"cookie_options": {"expires_days": None}}}, {"expires_days": None}),
        ({"cookie_max_age_days": 1}, {"cookie_max_age_days": 1 / FACTOR}),
        ({"oauth_token_expires_in": 3600}, {"oauth_token_expires_in": 80}),
    ],
)
def test_logins_are_scaled(given: dict[str, Any], expected: dict[str, Any]) -> None:
    config = Config(JupyterHub={"tornado_settings": {"slow_spawn_timeout": 0}, **given})
    exec(HUB_SETTINGS, {"c": config})
    found = {**config.JupyterHub, **config.JupyterHub.tornado_settings.get("cookie_options", {})}
    assert {name: found[name] for name in expected} == expected
    assert ("oauth_token_expires_in" in found) == ("oauth_token_expires_in" in given)


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
    assert a.last_seen <= a.gone_at <= b.gone_at


def test_life_is_open_at_first() -> None:
    assert ServerLifetime("a", 0.0).gone_at is None
