"""The hubs are up."""

from __future__ import annotations

import httpx

from harness.hub import Hub


def test_both_hubs_are_healthy(hub: Hub, authoring_hub: Hub) -> None:
    """Both hubs answer, on loopback, through their proxies."""
    for one in (hub, authoring_hub):
        answer = httpx.get(f"{one.url}/hub/health", timeout=10)
        assert answer.status_code == 200, f"{one.release}: /hub/health answered {answer.status_code}"
