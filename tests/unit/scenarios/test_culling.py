"""The background: a test that takes something away waits for the end of its starts."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

import pytest

from harness.scenarios.culling import Background


@pytest.mark.parametrize("how", ["opened", "failed", "no servers"])
def test_starts_are_waited_for(how: str) -> None:
    hub: Future[Any] = Future()
    servers: Future[Any] | None = None if how == "no servers" else Future()
    opened = threading.Event()
    background = Background(hub, servers, opened)
    waiting = threading.Thread(target=background.wait_until_opened, daemon=True)
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive(), "the hub is not there yet"
    hub.set_result(None)
    if servers:
        waiting.join(0.1)
        assert waiting.is_alive(), "its servers are not there yet"
        opened.set() if how == "opened" else servers.set_exception(ValueError("no server"))
    waiting.join(10)
    assert not waiting.is_alive()
