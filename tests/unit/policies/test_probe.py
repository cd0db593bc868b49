"""Tests of the probe, on this machine's loopback."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from harness.base.errors import HarnessError
from harness.policies.probe import Place, from_kernel, from_pod, from_proxy, missed, reached


@pytest.fixture
def places() -> Iterator[dict[str, Place]]:
    """One that listens, and one that does not."""
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        yield {
            "open": Place("127.0.0.1", listening.getsockname()[1]),
            "closed": Place("127.0.0.1", silent.getsockname()[1]),
        }


def test_from_a_pod(places: dict[str, Place]) -> None:
    def execute(namespace: str, pod: str, *command: str) -> str:
        assert (namespace, pod, command[0]) == ("jupyter", "stranger", "python3")
        return subprocess.run(
            [sys.executable, *command[1:]], check=True, capture_output=True, timeout=30
        ).stdout.decode()

    cluster: Any = SimpleNamespace(execute=execute)
    seen = from_pod(cluster, "jupyter", "stranger", places)
    assert reached(seen) == ["open"]
    assert missed(seen) == ["closed ([Errno 111] Connection refused)"]


def test_from_a_proxy_which_has_node_alone(places: dict[str, Place]) -> None:
    def execute(namespace: str, pod: str, *command: str, container: str) -> str:
        assert (namespace, pod, command[:2], container) == ("jupyter", "proxy", ("node", "-e"), "chp")
        asked = json.loads(command[3])
        assert asked["open"] == ["127.0.0.1", places["open"].port, 4.0]
        return json.dumps(dict.fromkeys(asked, "no answer within 4 s"))

    cluster: Any = SimpleNamespace(execute=execute)
    assert missed(from_proxy(cluster, "jupyter", "proxy", places)) == [
        "open (no answer within 4 s)",
        "closed (no answer within 4 s)",
    ]


def test_from_a_kernel(places: dict[str, Place]) -> None:
    def run(cell: str) -> str:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(cell, {"__name__": "__main__"})
        return out.getvalue()

    assert reached(from_kernel(run, places)) == ["open"]


def test_a_probe_that_does_not_run_says_so() -> None:
    with pytest.raises(HarnessError, match="expected the answers of a probe, found 'no python3'"):
        from_kernel(lambda cell: "no python3", {})
