"""The hub whose culler's times are divided, and the lifetimes of its servers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from harness.base.wait import NotYet
from harness.hub.api import Hub
from harness.hub.culler import Times
from harness.scenarios.scaled_hub import LifetimeWatch, ServerLifetime, scaled_times, scaled_values


def test_scale() -> None:
    values = scaled_values(Times(300, 900, 14400))
    assert values["cull"] == {"every": 7, "timeout": 20, "maxAge": 120}
    assert values["singleuser"]["extraEnv"] == {"JUPYTERHUB_ACTIVITY_INTERVAL": "7"}


@pytest.mark.parametrize(("age", "scaled"), [(14400, 120), (1800, 40), (0, 0)], ids=["long", "short", "none"])
def test_age_is_a_few_idle_times_at_most(age: float, scaled: float) -> None:
    """A server's age is cut to a few idle times; a shorter one, or none, stays as production has it."""
    assert scaled_times(Times(300, 900, age)).max_age == scaled


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
