"""Tests of the receiver of alerts, over loopback."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from harness.monitoring.in_receiver import Receiver


@pytest.fixture
def receiver() -> Iterator[str]:
    """The address of a receiver that runs."""
    server = Receiver(0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_was_sent_comes_back_with_its_time(receiver: str) -> None:
    before = time.time()
    sent = {"alerts": [{"status": "firing", "labels": {"alertname": "a"}}, {"status": "resolved", "labels": {}}]}
    assert httpx.get(receiver).json() == []
    httpx.post(receiver, json=sent).raise_for_status()
    first, second = httpx.get(receiver).json()
    assert (first["labels"], second["status"]) == ({"alertname": "a"}, "resolved")
    assert before <= first["received"] <= time.time()
