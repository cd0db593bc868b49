"""Write a cluster's pods, events, and logs of hubs, proxies and servers into a timeline while a run goes on.

The watcher never asks twice: it has one watch of all pods, one of all events, and a thread for each log, and all of
them wait for the API server to send something. A call that fails is tried again, and fails no test.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.watch.watch import iter_resp_lines
from urllib3 import HTTPResponse
from urllib3.exceptions import HTTPError

from harness.base.timeline import UUID, Timeline, plain
from harness.cluster.kind import Cluster
from harness.cluster.pods import USER_LABEL

LOGS = {"hub": "hub", "proxy": "proxy", "singleuser-server": "notebook"}
"""The pods whose logs are followed, by the label component (chart and kubespawner set it), and the logs' source."""
CONNECT, WATCH, QUIET = 5, 60, 300
"""Seconds: for a connection, for one watch, and for a log without a new line before it is asked for again."""
AGAIN = 2.0
"""Seconds until a call that failed is tried again."""
LAST = 2.0
"""Seconds that the end may take; a thread that is stuck in a dead connection ends with the process."""

_OF_NO_INTEREST = re.compile(
    r"\b200 (?:GET|HEAD) (?:\S*/health\b|/hub/api/users/? \(harness@|/hub/metrics \(prometheus@)"
)
"""Lines about probes, about scrapes of the monitoring, and about the harness's own requests while it waits for the end
of a user."""
_OWN_TIME = re.compile(r"(?P<level>\[[A-Z] )?\d{4}-\d\d-\d\d [\d:.]+ |\d\d:\d\d:\d\d\.\d+ ")
"""The beginning of a message of a hub or server (jupyterhub/log.py, CoroutineLogFormatter), or of a proxy."""
_TROUBLE = (ApiException, HTTPError, OSError, ValueError, LookupError)
"""The errors of a broken connection and of half an answer."""

Object = dict[str, Any]
"""An object as Kubernetes sends it: the client's own classes take a hundred times as long to make."""


def load_client() -> None:
    """Begin to load the client of Kubernetes, which takes two seconds, while the run waits for Docker and Helm."""
    threading.Thread(target=lambda: client.CoreV1Api, name="kubernetes", daemon=True).start()


@contextmanager
def watch_cluster(cluster: Cluster, namespaces: Sequence[str], timeline: Timeline) -> Iterator[None]:
    """Write what happens in the cluster into a timeline while the block runs.

    Args:
        namespaces: those to listen to; the first is the one that is not named in each moment.
    """
    settings = client.Configuration()
    settings.retries = False  # urllib3 would warn of each retry, in the log of the test that runs
    settings.connection_pool_maxsize = 64  # a class has a log each, and the pool warns when it is full
    with config.new_client_from_config(str(cluster.kubeconfig), client_configuration=settings) as api:
        watcher = ClusterWatcher(client.CoreV1Api(api), namespaces, timeline)
        watcher.start()
        try:
            yield
        finally:
            watcher.stop()


@dataclass(frozen=True)
class _Container:
    """One run of a container whose log is followed."""

    namespace: str
    pod: str
    name: str
    id: str
    """Kubernetes' own; a restarted container has another."""
    source: str
    user: str


class ClusterWatcher:
    """The watches of a cluster, which write into a timeline between start and stop.

    Args:
        core: a client of its own, whose connections are closed with the watcher.
        again: seconds until a call that failed is tried again.
    """

    def __init__(
        self, core: client.CoreV1Api, namespaces: Sequence[str], timeline: Timeline, again: float = AGAIN
    ) -> None:
        self.timeline = timeline
        self._core = core
        self._namespaces = tuple(namespaces)
        self._again = again
        self._began = 0.0
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._open: set[HTTPResponse] = set()
        self._threads: list[threading.Thread] = []
        self._pods: dict[str, _Pod] = {}
        """By uid."""
        self._users: dict[tuple[str, str], str] = {}
        """The user of each pod, of one that is gone too, by namespace and name."""
        self._events: dict[str, int] = {}
        """The count of each event when it was written down, by its uid."""
        self._followed: set[_Container] = set()

    def start(self) -> None:
        """Begin to listen, and return at once."""
        self._began = time.time()
        self._spawn(self._listen, self._core.list_pod_for_all_namespaces, self._look_at_pods, self._hear_of_pod)
        self._spawn(self._listen, self._core.list_event_for_all_namespaces, self._look_at_events, self._hear_of_event)

    def stop(self) -> None:
        """End within LAST seconds, in any state of the cluster."""
        self._over.set()
        with self._lock:
            for response in self._open:
                # Its reader finds the end; a response that has ended by itself has nothing to shut down.
                with suppress(OSError, ValueError, RuntimeError):
                    response.shutdown()
            threads = list(self._threads)
        deadline = time.monotonic() + LAST
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _spawn(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, name="timeline", daemon=True)
        with self._lock:
            self._threads = [*(each for each in self._threads if each.is_alive()), thread]
            thread.start()

    def _lines(self, ask: Callable[..., HTTPResponse], quiet: float) -> Iterator[str]:
        """Yield the lines of an answer until it ends, the watcher is stopped, or no line comes for `quiet` seconds."""
        response = ask(_preload_content=False, _request_timeout=(CONNECT, quiet))
        with self._lock:
            self._open.add(response)
        try:
            # From here on stop() shuts it down, unless stop() has come already.
            if not self._over.is_set():
                yield from iter_resp_lines(response)
        finally:
            with self._lock:
                self._open.discard(response)
            response.close()

    def _listen(
        self,
        list_: Callable[..., HTTPResponse],
        look: Callable[[list[Object], bool], None],
        hear: Callable[[Object, bool], None],
    ) -> None:
        """List all objects of a kind and watch their changes; list them again when the watch breaks."""
        first = True
        while not self._over.is_set():
            try:
                found = json.loads(list_(_preload_content=False, _request_timeout=(CONNECT, WATCH)).data)
                look([each for each in found["items"] if each["metadata"]["namespace"] in self._namespaces], first)
                first = False
                self._watch(list_, found["metadata"]["resourceVersion"], hear)
            except _TROUBLE:
                self._over.wait(self._again)

    def _watch(self, list_: Callable[..., HTTPResponse], version: str, hear: Callable[[Object, bool], None]) -> None:
        while not self._over.is_set():
            request = partial(list_, watch=True, resource_version=version, allow_watch_bookmarks=True)
            started = time.monotonic()
            for line in self._lines(partial(request, timeout_seconds=WATCH), WATCH + CONNECT):
                change = json.loads(line)
                if change["type"] == "ERROR":
                    # Most often 410: the version is too old to watch from.
                    raise ApiException(status=change["object"].get("code"), reason=change["object"].get("message"))
                about = change["object"]["metadata"]
                version = about["resourceVersion"]
                if change["type"] != "BOOKMARK" and about["namespace"] in self._namespaces:
                    hear(change["object"], change["type"] == "DELETED")
            if time.monotonic() - started < 1:
                self._over.wait(self._again)  # an API server that is shutting down ends each watch at once

    def _look_at_pods(self, pods: list[Object], first: bool) -> None:
        there = {pod["metadata"]["uid"] for pod in pods}
        for uid in [uid for uid in self._pods if uid not in there]:
            self._forget(uid)
        for pod in pods:
            self._hear_of_pod(pod, first=first)

    def _hear_of_pod(self, pod: Object, gone: bool = False, *, first: bool = False) -> None:
        """Write down what is new of a pod, and follow the logs of its containers."""
        about, now = pod["metadata"], _Pod.read(pod)
        before = self._pods.get(about["uid"])
        self._pods[about["uid"]] = now
        self._users[now.namespace, now.name] = now.user
        known = before.facts if before else {}
        new = [fact for what, fact in now.facts.items() if known.get(what) != fact]
        if new and not first:
            self._write("pod", now.namespace, f"{now.name}: {', '.join(new)}", now.user)
        for container in now.containers - self._followed:
            self._followed.add(container)
            # The past of a pod that was there before is not part of this run.
            self._spawn(self._follow, container, about["uid"], self._began if first else 0.0)
        if gone:
            self._forget(about["uid"])

    def _forget(self, uid: str) -> None:
        pod = self._pods.pop(uid)
        self._followed -= pod.containers
        self._write("pod", pod.namespace, f"{pod.name}: gone", pod.user)

    def _look_at_events(self, events: list[Object], first: bool) -> None:
        for event in events:
            self._hear_of_event(event, first=first)

    def _hear_of_event(self, event: Object, gone: bool = False, *, first: bool = False) -> None:
        about, of = event["metadata"], event["involvedObject"]
        times = (event.get("series") or event).get("count") or 1
        if gone or self._events.get(about["uid"]) == times:
            return
        self._events[about["uid"]] = times
        if not first:
            kind = "" if event.get("type") == "Normal" else f"{event.get('type')}, "
            again = f" ({times} times)" if times > 1 else ""
            text = f"{of.get('name')}: {kind}{event.get('reason')}: {event.get('message')}{again}"
            self._write("event", about["namespace"], text, self._users.get((about["namespace"], of.get("name")), ""))

    def _follow(self, container: _Container, uid: str, since: float) -> None:
        """Put the log of a container into the timeline until the container ends.

        Args:
            since: the time of the last known line; 0 for the whole log.
        """
        speaks_of = ""
        while not self._over.is_set():
            with suppress(*_TROUBLE):
                for at, text in self._log(container, since):
                    since, begins = at, _OWN_TIME.match(text)
                    if begins:
                        speaks_of = next(iter(re.findall(UUID, text)), "")
                        text = (begins["level"] or "") + text[begins.end() :]
                    if not _OF_NO_INTEREST.search(text):
                        # The lines of a traceback name no user: they belong to the user of the message above them.
                        who = container.user or ("" if begins else speaks_of)
                        self._write(container.source, container.namespace, text, who, at)
            pod = self._pods.get(uid)
            if not pod or container not in pod.running:
                return
            self._over.wait(self._again)

    def _log(self, container: _Container, since: float) -> Iterator[tuple[float, str]]:
        ask = partial(
            self._core.read_namespaced_pod_log,
            container.pod,
            container.namespace,
            container=container.name,
            follow=True,
            timestamps=True,
            # In whole seconds; what was there already comes again, and is left out below.
            since_seconds=int(time.time() - since) + 1 if since else None,
        )
        for line in self._lines(ask, QUIET):
            stamp, _, text = line.partition(" ")
            try:
                at = datetime.fromisoformat(stamp).timestamp()
            except ValueError:
                continue  # the kubelet's own words, where there is no log
            if at > since:
                yield at, plain(text)

    def _write(self, source: str, namespace: str, text: str, who: str = "", at: float | None = None) -> None:
        prefix = "" if namespace == self._namespaces[0] else f"{namespace}: "
        self.timeline.add(source, prefix + text, who=who, at=at, place=namespace)


@dataclass(frozen=True)
class _Pod:
    """The known facts about a pod."""

    namespace: str
    name: str
    user: str
    """The user whose server it is; empty for a pod of the system."""
    facts: dict[str, str]
    """The facts that are written down when they change, by their subject."""
    containers: frozenset[_Container]
    """Containers that have begun and whose log is followed."""
    running: frozenset[_Container]
    """Containers of these that have not ended."""

    @classmethod
    def read(cls, pod: Object) -> _Pod:
        about, labels = pod["metadata"], pod["metadata"].get("labels", {})
        namespace, name, user = about["namespace"], about["name"], labels.get(USER_LABEL, "")
        source = LOGS.get(labels.get("component", ""), "")
        begun = {
            _Container(namespace, name, status["name"], status["containerID"], source, user): status.get("state", {})
            for status in pod["status"].get("containerStatuses", ())
            if source and status.get("containerID")
        }
        running = frozenset(container for container, state in begun.items() if "terminated" not in state)
        return cls(namespace, name, user, _facts(pod), frozenset(begun), running)


def _facts(pod: Object) -> dict[str, str]:
    status = pod["status"]
    facts = {"phase": status.get("phase", "Unknown")}
    if node := pod["spec"].get("nodeName"):
        facts["node"] = f"on {node}"
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            facts["scheduled"] = f"{condition.get('reason')}: {condition.get('message')}"
    for container in [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]:
        facts[f"container {container['name']}"] = f"{container['name']} {_state(container)}"
    if "deletionTimestamp" in pod["metadata"]:
        facts["deletion"] = "is to go"
    return facts


def _state(container: Object) -> str:
    """Describe a container's state: "running, ready", "waits: ImagePullBackOff: …", "ended: OOMKilled, 137"."""
    state = container.get("state", {})
    restarts = f", restart {container['restartCount']}" if container.get("restartCount") else ""
    if waiting := state.get("waiting"):
        return "waits: " + ": ".join(filter(None, (waiting.get("reason"), waiting.get("message")))) + restarts
    if ended := state.get("terminated"):
        return f"ended: {ended.get('reason')}, {ended.get('exitCode')}{restarts}"
    return "running" + (", ready" if container.get("ready") else "") + restarts
