"""Kubernetes' client: every call has a limit, and names itself when it reaches it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cluster.client import NoAnswerError
from harness.cluster.kind import Cluster
from tests.unit.cluster.builders import KUBECONFIG, cluster


class TestBounded:
    @pytest.fixture
    def silent(self, place: Path) -> Iterator[Cluster]:
        """A cluster whose API server takes a connection and says nothing."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            it = cluster(place)
            it.kubeconfig.write_text(KUBECONFIG.format(server=f"http://127.0.0.1:{server.getsockname()[1]}"))
            yield it

    def test_by_default(self, silent: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("harness.cluster.client.API_TIMEOUT", 0.2)
        message = r"\AGET /api/v1/nodes/worker: no answer of the API server within 0\.2 s: "
        with pytest.raises(NoAnswerError, match=message):
            silent.core.read_node("worker")

    def test_as_the_caller_says(self, silent: Cluster) -> None:
        with pytest.raises(NoAnswerError, match=r" within 0\.1 s: "):
            silent.apps.list_namespaced_deployment("jupyter", _request_timeout=0.1)

    def test_logs_of_a_silent_one_are_empty(self, silent: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("harness.cluster.client.API_TIMEOUT", 0.2)
        assert silent.pods("jupyter").logs("hub") == ""
