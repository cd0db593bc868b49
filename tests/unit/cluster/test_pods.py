"""The pods of a namespace: a look, a watch, and a probe of a server that starts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from kubernetes import client

from harness.cluster.pods import PodWatch
from tests.unit.cluster.builders import container, late_pod, pod, state, warning


class Api:
    """A Kubernetes API with a list of pods, and a watch on them that says what it is told to."""

    def __init__(self) -> None:
        self.watch: list[dict[str, Any]] = []
        self.status = 200
        self.asked: list[dict[str, list[str]]] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                api.asked.append(query)
                listed = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": []}
                self.send_response(api.status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                for line in api.watch if "watch" in query else [listed]:
                    self.wfile.write(json.dumps(line).encode() + b"\n")

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        configuration = client.Configuration(host=f"http://127.0.0.1:{self._server.server_port}")
        self.pods = PodWatch(client.CoreV1Api(client.ApiClient(configuration)), "jupyter")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def api() -> Iterator[Api]:
    api = Api()
    yield api
    api.close()


class TestPodWatch:
    def test_watches_from_what_was_seen(self, api: Api) -> None:
        assert api.pods.look("component=hub") == []
        api.watch = [{"type": "MODIFIED", "object": {"kind": "Pod", "metadata": {"name": "hub"}}}] * 2
        api.pods.change(30)
        listed, watched = api.asked
        assert listed["labelSelector"] == ["component=hub"]
        assert watched["resourceVersion"] == ["7"]

    @pytest.mark.parametrize(("seconds", "asked"), [(0.3, "1"), (1.5, "1"), (600, "2")])
    def test_never_for_long(self, api: Api, seconds: float, asked: str) -> None:
        api.pods.look()
        api.watch = [{"type": "ADDED", "object": {"kind": "Pod", "metadata": {"name": "hub"}}}]
        api.pods.change(seconds)
        assert api.asked[-1]["timeoutSeconds"] == [asked]

    def test_a_version_that_is_too_old(self, api: Api) -> None:
        api.pods.look()
        api.watch = [
            {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "old"}}
        ]
        api.pods.change(1)
        assert "watch" in api.asked[1]

    def test_a_refusal_is_not_swallowed(self, api: Api) -> None:
        api.status = 403
        with pytest.raises(client.ApiException, match="403"):
            api.pods.change(1)


class TestStuck:
    """What a pod's own status lacks is read from Kubernetes: logs, nodes, events."""

    def test_logs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(PodWatch, "logs", lambda self, pod, container, previous: f"{pod} {container} {previous}")
        crashed = pod(container(state("CrashLoopBackOff"), state(ended="Error")))
        core: Any = SimpleNamespace(list_namespaced_event=lambda *_, **__: client.CoreV1EventList(items=[]))
        found = PodWatch(core, "jupyter").stuck_reason([crashed])
        assert found is not None
        assert "Last output: jupyter-1 notebook True" in found

    def test_nodes_and_events(self) -> None:
        listed: list[str] = []

        def events(namespace: str, **_: Any) -> client.CoreV1EventList:
            listed.append(namespace)
            return client.CoreV1EventList(items=[warning("FailedMount", 'secret "keys" not found', count=5)])

        core: Any = SimpleNamespace(list_namespaced_event=events, list_node=lambda **_: client.V1NodeList(items=[]))
        found = PodWatch(core, "jupyter").stuck_reason([late_pod()])
        assert found == 'pod hub-1 waits for what is not there, FailedMount: secret "keys" not found'
        assert listed == ["jupyter"]


class TestServerProbe:
    def probe(self, monkeypatch: pytest.MonkeyPatch, *looks: list[client.V1Pod]) -> list[str | None]:
        """What the probe of a server answers, look by look."""
        seen = iter(looks)

        def look(pods: PodWatch, selector: str) -> list[client.V1Pod]:
            assert selector == "hub.jupyter.org/username=7c1e"
            return next(seen)

        monkeypatch.setattr(PodWatch, "look", look)
        no_core: Any = None
        probe = PodWatch(no_core, "jupyter").server_probe("7c1e")
        return [probe() for _ in looks]

    def test_a_pod_that_is_stuck(self, monkeypatch: pytest.MonkeyPatch) -> None:
        nothing, stuck = self.probe(monkeypatch, [], [pod(container(state("ImagePullBackOff")))])
        assert nothing is None
        assert str(stuck).startswith("pod jupyter-1: container notebook: ImagePullBackOff, image ")

    def test_a_pod_that_is_gone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("harness.cluster.pod_health.RECREATED_WITHIN", -1.0)
        there = pod()
        there.metadata.creation_timestamp = datetime.now(UTC)
        *before, gone = self.probe(monkeypatch, [there], [])
        assert before == [None]
        assert str(gone).startswith("pod jupyter-1 is gone, and not by the hub")
