"""The hubs are up."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest

from harness.base import http
from harness.hub.api import Hub
from harness.people.link import EXAMPLE

AT_ONCE = 5.0
"""Seconds in which a hub has an answer that waits for nothing, on a machine that is busy."""


def test_both_hubs_are_healthy(hub: Hub, authoring_hub: Hub) -> None:
    """Both hubs answer, on loopback, through their proxies."""
    for one in (hub, authoring_hub):
        answer = http.get(f"{one.url}/hub/health", timeout=10)
        assert answer.status_code == 200, f"{one.release}: /hub/health answered {answer.status_code}"


@pytest.mark.touches("the hub's time to answer")
def test_api_does_not_wait_for_a_server(hub: Hub, deleted_after: Callable[[str], None]) -> None:
    """Who asks the hub's API for a server is answered at once, and not when the server is there."""
    user = f"/users/{uuid4()}"
    hub.api.post(user).raise_for_status()
    deleted_after(user.removeprefix("/users/"))
    answer = hub.api.post(f"{user}/server", json={"course": EXAMPLE.course})
    took = answer.elapsed.total_seconds()
    assert (answer.status_code, took < AT_ONCE) == (202, True), (
        f"the API answered {answer.status_code} after {took:.1f} s, expected 202 at once: "
        "has the hub lost JupyterHub.tornado_settings['slow_spawn_timeout'], which the chart sets to 0?"
    )
