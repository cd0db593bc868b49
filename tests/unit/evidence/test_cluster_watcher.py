"""What is heard from a cluster, whose API server is a script: its lists, watches and logs are given line by line."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from kubernetes import client

from harness.base.timeline import Timeline
from harness.cluster.kind import Cluster
from harness.evidence import cluster_watcher
from harness.evidence.cluster_watcher import ClusterWatcher, watch_cluster

ME = "11111111-2222-4333-8444-555555555555"
NAMESPACES = ("jupyter", "jupyter-authoring")
DROP, END = "drop", "end"
"""In place of a line: the connection breaks, or the answer ends as it should."""

Object = dict[str, Any]


def stamp(at: float) -> str:
    """As the kubelet writes it, to the nanosecond."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "789Z"


def pod(
    name: str = f"jupyter-{ME}",
    *,
    component: str = "singleuser-server",
    user: str = ME,
    phase: str = "Pending",
    namespace: str = "jupyter",
    node: str = "",
    deleted: bool = False,
    condition: Object | None = None,
    **containers: Object,
) -> Object:
    labels = {"component": component, **({"hub.jupyter.org/username": user} if user else {})}
    about: Object = {"name": name, "namespace": namespace, "uid": f"uid of {name}", "labels": labels}
    return {
        "metadata": {**about, "resourceVersion": "2", **({"deletionTimestamp": "now"} if deleted else {})},
        "spec": {"nodeName": node} if node else {},
        "status": {
            "phase": phase,
            "conditions": [condition] if condition else [],
            "containerStatuses": [{"name": name, **status} for name, status in containers.items()],
        },
    }


def running(number: int = 1, **more: Any) -> Object:
    return {"state": {"running": {}}, "containerID": f"containerd://{number}", "ready": True, **more}


def event(message: str, *, name: str = f"jupyter-{ME}", uid: str = "1", count: int = 1, **more: Any) -> Object:
    return {
        "metadata": {"namespace": "jupyter", "uid": uid, "resourceVersion": "2"},
        "involvedObject": {"kind": "Pod", "name": name},
        "type": "Normal",
        "reason": "Pulling",
        "message": message,
        "count": count,
        **more,
    }


class FakeApi:
    """An API server; `pods` and `events` are what it lists."""

    def __init__(self) -> None:
        self.pods: list[Object] = []
        self.events: list[Object] = []
        self.asked: list[str] = []
        self.refuses: list[int] = []
        """Statuses of the next answers."""
        self.answers: dict[str, Queue[str]] = defaultdict(Queue)
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                api.asked.append(self.path)
                url = urlsplit(self.path)
                kind = url.path.removeprefix("/api/v1/")
                if api.refuses:
                    self.send_error(api.refuses.pop(0))
                elif kind in ("pods", "events") and "watch" not in parse_qs(url.query):
                    items = {"pods": api.pods, "events": api.events}[kind]
                    body = json.dumps({"metadata": {"resourceVersion": "1"}, "items": items}).encode()
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                else:
                    self._stream(api.answers[kind])

            def _stream(self, lines: Queue[str]) -> None:
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.close_connection = True
                while (line := lines.get()) not in (DROP, END):
                    data = f"{line}\n".encode()
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                if line == END:
                    self.wfile.write(b"0\r\n\r\n")

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # who asked has gone

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def says(self, kind: str, about: Object, what: str = "MODIFIED") -> None:
        """One line of a watch."""
        self.answers[kind].put(json.dumps({"type": what, "object": about}))

    def writes(self, name: str, text: str, at: float | None = None, namespace: str = "jupyter") -> None:
        """One line of a log."""
        self.log(name, namespace).put(f"{stamp(time.time() if at is None else at)} {text}")

    def log(self, name: str, namespace: str = "jupyter") -> Queue[str]:
        return self.answers[f"namespaces/{namespace}/pods/{name}/log"]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Heard(Timeline):
    """A timeline that one can wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[tuple[str, str, str]] = []
        self._new = threading.Condition()

    def add(self, source: str, text: str, *, who: str = "", at: float | None = None, place: str = "") -> None:
        super().add(source, text, who=who, at=at, place=place)
        with self._new:
            self.all.append((source, who, text))
            self._new.notify_all()

    def until(self, text: str) -> list[tuple[str, str, str]]:
        """Everything so far but the sign of life, once somebody has said that."""
        with self._new:
            assert self._new.wait_for(lambda: any(text in line for _, _, line in self._heard()), 10), self.all
            return self._heard()

    def begun(self) -> None:
        """Return when both watches have given a sign of life."""
        with self._new:
            assert self._new.wait_for(lambda: {source for source, _, _ in self.all} >= {"pod", "event"}, 60), self.all

    def _heard(self) -> list[tuple[str, str, str]]:
        return [each for each in self.all if not each[2].startswith("sign: ")]


@pytest.fixture
def api() -> Iterator[FakeApi]:
    api = FakeApi()
    yield api
    api.close()


@pytest.fixture
def listen(api: FakeApi) -> Iterator[Callable[[], Heard]]:
    """Begin to listen to the cluster."""
    settings = client.Configuration()
    settings.host, settings.retries = api.url, False
    watcher = ClusterWatcher(client.CoreV1Api(client.ApiClient(settings)), NAMESPACES, Heard(), again=0.01)

    def begin() -> Heard:
        watcher.start()
        heard = cast(Heard, watcher.timeline)
        # What was listed has been looked at when what is watched is told.
        api.says("pods", pod("sign", component="", user=""), "ADDED")
        api.says("events", event("of life", name="sign", uid="sign"), "ADDED")
        heard.begun()
        return heard

    yield begin
    started = time.monotonic()
    watcher.stop()
    assert time.monotonic() - started < cluster_watcher.LAST / 2, "a watcher ends at once"
    assert not [thread for thread in threading.enumerate() if thread.name == "timeline"]


def pods(moments: list[tuple[str, str, str]]) -> list[str]:
    return [text for source, _, text in moments if source == "pod"]


class TestPods:
    def test_changes_are_told_and_nothing_else(self, api: FakeApi, listen: Callable[[], Heard]) -> None:
        heard = listen()
        waits = {"state": {"waiting": {"reason": "ContainerCreating"}}}
        api.says("pods", pod(), "ADDED")
        api.says("pods", pod(node="worker", notebook=waits))
        api.says("pods", pod(node="worker", notebook=waits))
        api.says("pods", pod(node="worker", phase="Running", notebook=running()))
        api.says("pods", pod(node="worker", phase="Running", notebook=running(), deleted=True))
        api.says("pods", pod(node="worker", phase="Running", notebook=running(), deleted=True), "DELETED")
        assert pods(heard.until("gone")) == [
            f"jupyter-{ME}: Pending",
            f"jupyter-{ME}: on worker, notebook waits: ContainerCreating",
            f"jupyter-{ME}: Running, notebook running, ready",
            f"jupyter-{ME}: is to go",
            f"jupyter-{ME}: gone",
        ]
        assert {who for source, who, text in heard.all if ME in text} == {ME}

    @pytest.mark.parametrize(
        ("status", "state"),
        [
            (
                {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image x"}}},
                "notebook waits: ImagePullBackOff: Back-off pulling image x",
            ),
            (
                {"state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}, "restartCount": 2},
                "notebook ended: OOMKilled, 137, restart 2",
            ),
            ({"state": {"running": {}}, "restartCount": 1}, "notebook running, restart 1"),
        ],
    )
    def test_states_are_in_the_words_of_kubernetes(
        self, api: FakeApi, listen: Callable[[], Heard], status: Object, state: str
    ) -> None:
        heard = listen()
        api.says("pods", pod(notebook=status))
        assert pods(heard.until("Pending")) == [f"jupyter-{ME}: Pending, {state}"]

    def test_a_pod_that_has_no_place(self, api: FakeApi, listen: Callable[[], Heard]) -> None:
        heard = listen()
        why = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}
        api.says("pods", pod(condition=why))
        assert pods(heard.until("Pending")) == [f"jupyter-{ME}: Pending, Unschedulable: 0/2 nodes"]

    def test_what_was_there_before_is_not_told(self, api: FakeApi, listen: Callable[[], Heard]) -> None:
        api.pods = [pod(phase="Running")]
        api.events = [event("long ago", uid="0")]
        heard = listen()
        api.says("pods", pod(phase="Failed"))
        api.says("events", event("long ago", uid="0"))
        api.says("events", event("just now", uid="2"))
        assert pods(heard.until("Failed")) == [f"jupyter-{ME}: Failed"]
        assert not [text for _, _, text in heard.until("just now") if "long ago" in text]

    def test_another_namespace_is_named_or_none_of_ours(self, api: FakeApi, listen: Callable[[], Heard]) -> None:
        heard = listen()
        api.says("pods", pod("etcd", namespace="kube-system"), "ADDED")
        api.says("pods", pod("jupyter-admin", user="admin", namespace="jupyter-authoring"), "ADDED")
        assert pods(heard.until("admin")) == ["jupyter-authoring: jupyter-admin: Pending"]
        [moment] = heard.slice(0, time.time(), ["admin"], ["jupyter-authoring"])
        assert moment.place == "jupyter-authoring", "a test of the other hub is spared this moment"
        assert ("pod", "admin", "jupyter-authoring: jupyter-admin: Pending") in heard.all

    @pytest.mark.parametrize("trouble", [DROP, "no JSON", '{"half": 1}'])
    def test_a_watch_that_breaks_is_begun_anew(self, api: FakeApi, listen: Callable[[], Heard], trouble: str) -> None:
        heard = listen()
        api.pods = [pod(phase="Running")]
        api.refuses = [500, 503]
        for line in dict.fromkeys((trouble, DROP)):
            api.answers["pods"].put(line)
        assert f"jupyter-{ME}: Running" in pods(heard.until("Running"))
        api.says("pods", pod(phase="Succeeded"))
        assert pods(heard.until("Succeeded"))[-1] == f"jupyter-{ME}: Succeeded"

    def test_a_version_that_is_too_old(self, api: FakeApi, listen: Callable[[], Heard]) -> None:
        """What vanished meanwhile is told too."""
        heard = listen()
        api.says("pods", pod(), "ADDED")
        heard.until("Pending")
        api.pods = [pod("hub-1", component="hub", user="", phase="Running")]
        api.says("pods", {"kind": "Status", "code": 410, "message": "too old resource version"}, "ERROR")
        lines = pods(heard.until("hub-1"))
        assert lines[-2:] == [f"jupyter-{ME}: gone", "hub-1: Running"]

    def test_a_watch_goes_on_where_it_ended(self, api: FakeApi, listen: Callable[[], Heard]) -> None:
        heard = listen()
        api.says("pods", {"metadata": {"resourceVersion": "77"}}, "BOOKMARK")
        api.answers["pods"].put(END)
        api.says("pods", pod(), "ADDED")
        heard.until("Pending")
        watches = [path for path in api.asked if path.startswith("/api/v1/pods") and "watch=true" in path.lower()]
        assert [parse_qs(urlsplit(path).query)["resourceVersion"] for path in watches] == [["1"], ["77"]]


class TestEvents:
    def test_are_told_each_time(self, api: FakeApi, listen: Callable[[], Heard]) -> None:
        heard = listen()
        failed: Object = {"type": "Warning", "reason": "Failed"}
        api.says("events", event("no such image", **failed), "ADDED")
        api.says("events", event("no such image", **failed))
        api.says("events", event("no such image", count=2, **failed))
        api.says("events", event("no such image", count=2, **failed), "DELETED")
        api.says("events", event("the end", uid="3"), "ADDED")
        lines = [text for source, _, text in heard.until("the end") if source == "event"]
        assert lines == [
            f"jupyter-{ME}: Warning, Failed: no such image",
            f"jupyter-{ME}: Warning, Failed: no such image (2 times)",
            f"jupyter-{ME}: Pulling: the end",
        ]

    def test_are_whose_the_pod_is(self, api: FakeApi, listen: Callable[[], Heard]) -> None:
        heard = listen()
        api.says("pods", pod("jupyter-admin", user="admin"), "ADDED")
        heard.until("jupyter-admin")
        api.says("events", event("an image", name="jupyter-admin", uid="4"), "ADDED")
        api.says("events", event("another image", name="hub-1", uid="5"), "ADDED")
        moments = heard.until("another")
        assert ("event", "admin", "jupyter-admin: Pulling: an image") in moments
        assert ("event", "", "hub-1: Pulling: another image") in moments


class TestLogs:
    def test_of_hub_proxy_and_servers_are_followed(self, api: FakeApi, listen: Callable[[], Heard]) -> None:
        heard = listen()
        for name, component, user in (("hub-1", "hub", ""), ("proxy-1", "proxy", ""), ("jupyter-me", "", ME)):
            component = component or "singleuser-server"
            api.says("pods", pod(name, component=component, user=user, main=running()), "ADDED")
            api.writes(name, f"{name} is up")
        api.says("pods", pod("puller-1", component="continuous-image-puller", user="", main=running()), "ADDED")
        for name in ("hub-1", "proxy-1", "jupyter-me"):
            moments = heard.until(f"{name} is up")
        assert ("hub", "", "hub-1 is up") in moments
        assert ("proxy", "", "proxy-1 is up") in moments
        assert ("notebook", ME, "jupyter-me is up") in moments
        asked = [path for path in api.asked if "/log?" in path]
        assert len(asked) == 3
        for wanted in ("follow=true", "timestamps=true", "container=main"):
            assert all(wanted in path.lower() for path in asked)
        assert not [path for path in asked if "sinceSeconds" in path], "a new server's log is told from its beginning"

    def test_lines_have_their_own_time_and_no_second_one(self, api: FakeApi, listen: Callable[[], Heard]) -> None:
        heard = listen()
        api.says("pods", pod("hub-1", component="hub", user="", hub=running()), "ADDED")
        api.writes("hub-1", "[I 2026-07-30 12:00:00.123 JupyterHub log:191] 200 GET /hub/home", at=1000.5)
        api.writes("hub-1", "12:00:00.123 [ConfigProxy] info: Adding route /", at=1001.5)
        heard.until("Adding route")
        assert [(moment.at, moment.text) for moment in heard.slice(1000, 1002, [])] == [
            (1000.5, "[I JupyterHub log:191] 200 GET /hub/home"),
            (1001.5, "[ConfigProxy] info: Adding route /"),
        ]

    def test_the_time_behind_a_colour_is_left_out_too(self, api: FakeApi, listen: Callable[[], Heard]) -> None:
        heard = listen()
        api.says("pods", pod(notebook=running()), "ADDED")
        api.writes(f"jupyter-{ME}", "\x1b[32m[I 2026-07-30 12:00:00.123 ServerApp]\x1b[m nbgrader is up")
        assert ("notebook", ME, "[I ServerApp] nbgrader is up") in heard.until("is up")

    def test_a_traceback_is_whose_the_message_above_it_is(self, api: FakeApi, listen: Callable[[], Heard]) -> None:
        heard = listen()
        api.says("pods", pod("hub-1", component="hub", user="", hub=running()), "ADDED")
        for line in (
            f"[E 2026-07-30 12:00:00.123 JupyterHub user:884] Unhandled error starting {ME}",
            "    Traceback (most recent call last):",
            "[I 2026-07-30 12:00:00.124 JupyterHub log:191] 200 GET /hub/home",
            "    nobody's",
        ):
            api.writes("hub-1", line)
        moments = [each for each in heard.until("nobody's") if each[0] == "hub"]
        assert moments[1:] == [
            ("hub", ME, "    Traceback (most recent call last):"),
            ("hub", "", "[I JupyterHub log:191] 200 GET /hub/home"),
            ("hub", "", "    nobody's"),
        ]

    @pytest.mark.parametrize(
        "line",
        [
            "[D 2026-07-30 12:00:00.123 JupyterHub log:191] 200 GET /hub/health (@10.244.0.1) 0.60ms",
            "[I 2026-07-30 12:00:00.123 JupyterHub log:191] 200 GET /hub/api/users (harness@::ffff:10.244.0.1) 9.1ms",
            "[I 2026-07-30 12:00:00.123 JupyterHub log:191] 200 GET /hub/metrics (prometheus@10.244.0.15) 22.50ms",
        ],
    )
    def test_probes_are_left_out_unless_they_fail(self, api: FakeApi, listen: Callable[[], Heard], line: str) -> None:
        heard = listen()
        api.says("pods", pod("hub-1", component="hub", user="", hub=running()), "ADDED")
        api.writes("hub-1", line)
        api.writes("hub-1", line.replace("] 200", "] 503"))
        assert [text[:3] for source, _, text in heard.until("503") if source == "hub" and " 200 " in text] == []

    def test_of_what_was_there_before_only_what_is_new(self, api: FakeApi, listen: Callable[[], Heard]) -> None:
        api.pods = [pod("hub-1", component="hub", user="", phase="Running", hub=running())]
        api.writes("hub-1", "yesterday", at=time.time() - 1000)
        heard = listen()
        api.writes("hub-1", "today")
        assert "yesterday" not in [text for _, _, text in heard.until("today")]
        [asked] = [path for path in api.asked if "/log?" in path]
        assert int(parse_qs(urlsplit(asked).query)["sinceSeconds"][0]) <= 3

    @pytest.mark.parametrize("trouble", [DROP, END])
    def test_one_that_breaks_goes_on_without_telling_twice(
        self, api: FakeApi, listen: Callable[[], Heard], trouble: str
    ) -> None:
        heard = listen()
        api.says("pods", pod("hub-1", component="hub", user="", hub=running()), "ADDED")
        at = time.time()
        api.writes("hub-1", "one", at=at)
        heard.until("one")
        api.refuses = [404]
        api.log("hub-1").put(trouble)
        api.log("hub-1").put("unable to retrieve container logs for containerd://1")
        api.writes("hub-1", "one", at=at)
        api.writes("hub-1", "two", at=at + 1)
        lines = [text for source, _, text in heard.until("two") if source == "hub"]
        assert lines == ["one", "two"]

    def test_a_restarted_container_is_followed_again_and_one_that_ended_is_not(
        self, api: FakeApi, listen: Callable[[], Heard]
    ) -> None:
        heard = listen()

        def says(**status: Any) -> None:
            api.says("pods", pod("hub-1", component="hub", user="", hub=status))

        says(**running(1))
        api.writes("hub-1", "first life")
        heard.until("first life")
        says(state={"terminated": {"reason": "Error", "exitCode": 1}}, containerID="containerd://1")
        heard.until("ended: Error, 1")
        api.log("hub-1").put(END)
        says(**running(2, restartCount=1))
        api.writes("hub-1", "second life")
        heard.until("second life")
        assert len([path for path in api.asked if "/log?" in path]) == 2

    def test_one_whose_pod_vanishes_ends(self, api: FakeApi, listen: Callable[[], Heard]) -> None:
        heard = listen()
        api.says("pods", pod(notebook=running()), "ADDED")
        api.writes(f"jupyter-{ME}", "up")
        heard.until("up")
        api.says("pods", pod(notebook=running()), "DELETED")
        heard.until("gone")
        there = {thread for thread in threading.enumerate() if thread.name == "timeline"}
        api.log(f"jupyter-{ME}").put(DROP)
        deadline = time.monotonic() + 10
        for thread in there:
            while thread.is_alive() and time.monotonic() < deadline:
                thread.join(0.01)
                if len([each for each in there if each.is_alive()]) == 2:
                    return
        raise AssertionError("somebody still asks for the log of a pod that is gone")


class TestTheEnd:
    def test_a_cluster_that_goes_away_is_asked_again(self, api: FakeApi, listen: Callable[[], Heard]) -> None:
        listen()
        api.close()
        times = 0
        with socket.create_server(("127.0.0.1", api.port)) as nothing, suppress(TimeoutError):
            nothing.settimeout(10)
            api.answers["pods"].put(DROP)
            while times < 3:
                connection, _ = nothing.accept()
                connection.close()
                times += 1
        assert times == 3, f"the watcher asked {times} times for a cluster that is gone, and gave up"

    @pytest.mark.usefixtures("api")
    def test_a_cluster_that_never_was(self) -> None:
        settings = client.Configuration()
        settings.host, settings.retries = "http://127.0.0.1:1", False
        watcher = ClusterWatcher(client.CoreV1Api(client.ApiClient(settings)), NAMESPACES, Timeline(), again=0.01)
        watcher.start()
        watcher.stop()
        assert watcher.timeline.slice(0, time.time(), []) == []


def test_watch_cluster(api: FakeApi, tmp_path: Path) -> None:
    """The cluster's own kubeconfig is used, and connections of its own."""
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "kind",
        "clusters": [{"name": "kind", "cluster": {"server": api.url}}],
        "users": [{"name": "kind", "user": {}}],
        "contexts": [{"name": "kind", "context": {"cluster": "kind", "user": "kind"}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    cluster = cast(Cluster, SimpleNamespace(kubeconfig=tmp_path / "kubeconfig"))
    timeline = Timeline()
    with watch_cluster(cluster, NAMESPACES, timeline):
        assert timeline.slice(0, time.time(), []) == []
    assert not [thread for thread in threading.enumerate() if thread.name == "timeline"]
