"""Follows a cluster while a run goes on: pods, events, and the logs of hubs, proxies and servers, into a timeline.

It only ever listens: one watch of all pods, one of all events, and a thread for each log, which all wait for the API
server to speak. What goes wrong in it is tried again and fails nothing.
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

from harness.base.timeline import UUID, Timeline
from harness.cluster.kind import Cluster

LOGS = {"hub": "hub", "proxy": "proxy", "singleuser-server": "notebook"}
"""Whose logs are followed, by the label component (chart and kubespawner set it), and what they are to a timeline."""
CONNECT, WATCH, QUIET = 5, 60, 300
"""Seconds: for a connection, for one watch, and for a log to say nothing before it is asked for anew."""
AGAIN = 2.0
"""Seconds until something that went wrong is tried again."""
LAST = 2.0
"""Seconds that the end may take; a thread that is stuck in a dead connection is left to die with the process."""

_USER = "hub.jupyter.org/username"
"""The label that says whose a server's pod is (kubespawner, _build_common_labels)."""
_OF_NO_INTEREST = re.compile(r"\b200 (?:GET|HEAD) (?:\S*/health\b|/hub/api/users/? \(harness@)")
"""Lines about probes, and about the harness's own looks at the users while it waits for one to go."""
_OWN_TIME = re.compile(r"(?P<level>\[[A-Z] )?\d{4}-\d\d-\d\d [\d:.]+ |\d\d:\d\d:\d\d\.\d+ ")
"""How a message begins in the log of a hub or server (jupyterhub/log.py, CoroutineLogFormatter), or of a proxy."""
_TROUBLE = (ApiException, HTTPError, OSError, ValueError, LookupError)
"""What a broken connection and half an answer raise."""

Object = dict[str, Any]
"""An object as Kubernetes writes it: the client's own classes take a hundred times as long to make."""


def load_client() -> None:
    """Begin to load the client of Kubernetes: two seconds of a processor, while Docker and Helm are waited for."""
    threading.Thread(target=lambda: client.CoreV1Api, name="kubernetes", daemon=True).start()


@contextmanager
def recorded(cluster: Cluster, namespaces: Sequence[str]) -> Iterator[Timeline]:
    """A timeline, and what happens in the cluster goes into it while the block runs.

    Args:
        namespaces: those to listen to; the first is the one that is not named in each moment.
    """
    settings = client.Configuration()
    settings.retries = False  # urllib3 would warn of each retry, in the log of the test that runs
    settings.connection_pool_maxsize = 64  # a class has a log each, and the pool warns when it is full
    with config.new_client_from_config(str(cluster.kubeconfig), client_configuration=settings) as api:
        recorder = ClusterWatcher(client.CoreV1Api(api), namespaces, Timeline())
        recorder.start()
        try:
            yield recorder.timeline
        finally:
            recorder.stop()


@dataclass(frozen=True)
class _Container:
    """One life of a container whose log is followed."""

    namespace: str
    pod: str
    name: str
    id: str
    """Kubernetes' own, which is another after a restart."""
    source: str
    user: str


class ClusterWatcher:
    """Writes down in a timeline what it hears from a cluster, between start and stop.

    Args:
        core: a client of its own; what it says is not heard when somebody else closes its connections.
        again: seconds until something that went wrong is tried again.
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
        """Whose each pod is or was, by namespace and name."""
        self._events: dict[str, int] = {}
        """How often each event had happened when it was told, by its uid."""
        self._followed: set[_Container] = set()

    def start(self) -> None:
        """Begin to listen; returns at once."""
        self._began = time.time()
        self._spawn(self._listen, self._core.list_pod_for_all_namespaces, self._look_at_pods, self._hear_of_pod)
        self._spawn(self._listen, self._core.list_event_for_all_namespaces, self._look_at_events, self._hear_of_event)

    def stop(self) -> None:
        """Listen no more; returns within LAST seconds, whatever state the cluster is in."""
        self._over.set()
        with self._lock:
            for response in self._open:
                # Whoever reads from it finds its end. One that has come to it by itself has nothing to shut down.
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
        """Lines of an answer as they come, until it ends, the recorder is stopped, or it is quiet for too long."""
        response = ask(_preload_content=False, _request_timeout=(CONNECT, quiet))
        with self._lock:
            self._open.add(response)
        try:
            # From here on stop() knows of it; if it came too late to, it has said so before.
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
        """Look at all objects of a kind, and hear of each change; after trouble, look again."""
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
                self._over.wait(self._again)  # a server that is going away says goodbye at once

    def _look_at_pods(self, pods: list[Object], first: bool) -> None:
        there = {pod["metadata"]["uid"] for pod in pods}
        for uid in [uid for uid in self._pods if uid not in there]:
            self._forget(uid)
        for pod in pods:
            self._hear_of_pod(pod, first=first)

    def _hear_of_pod(self, pod: Object, gone: bool = False, *, first: bool = False) -> None:
        """Tell what is new of a pod, and follow the logs of its containers."""
        about, now = pod["metadata"], _Pod.read(pod)
        before = self._pods.get(about["uid"])
        self._pods[about["uid"]] = now
        self._users[now.namespace, now.name] = now.user
        known = before.facts if before else {}
        new = [fact for what, fact in now.facts.items() if known.get(what) != fact]
        if new and not first:
            self._tell("pod", now.namespace, f"{now.name}: {', '.join(new)}", now.user)
        for container in now.containers - self._followed:
            self._followed.add(container)
            # What was there before has a past that is no part of this run.
            self._spawn(self._follow, container, about["uid"], self._began if first else 0.0)
        if gone:
            self._forget(about["uid"])

    def _forget(self, uid: str) -> None:
        pod = self._pods.pop(uid)
        self._followed -= pod.containers
        self._tell("pod", pod.namespace, f"{pod.name}: gone", pod.user)

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
            self._tell("event", about["namespace"], text, self._users.get((about["namespace"], of.get("name")), ""))

    def _follow(self, container: _Container, uid: str, since: float) -> None:
        """Put the log of a container into the timeline until the container ends.

        Args:
            since: time of the last line that is known; 0 for the whole log.
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
                        # The lines of a traceback name nobody: they are whose the message above them is.
                        who = container.user or ("" if begins else speaks_of)
                        self._tell(container.source, container.namespace, text, who, at)
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
                yield at, text

    def _tell(self, source: str, namespace: str, text: str, who: str = "", at: float | None = None) -> None:
        place = "" if namespace == self._namespaces[0] else f"{namespace}: "
        self.timeline.add(source, place + text, who=who, at=at)


@dataclass(frozen=True)
class _Pod:
    """What is known of a pod."""

    namespace: str
    name: str
    user: str
    """Whose server it is; empty for one of the system."""
    facts: dict[str, str]
    """What is told of it when it changes, by what it is about."""
    containers: frozenset[_Container]
    """Those whose log is followed and that have begun."""
    running: frozenset[_Container]
    """Those that have not ended."""

    @classmethod
    def read(cls, pod: Object) -> _Pod:
        about, labels = pod["metadata"], pod["metadata"].get("labels", {})
        namespace, name, user = about["namespace"], about["name"], labels.get(_USER, "")
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
    """What a container does: "running, ready", "waits: ImagePullBackOff: …", "ended: OOMKilled, 137"."""
    state = container.get("state", {})
    restarts = f", restart {container['restartCount']}" if container.get("restartCount") else ""
    if waiting := state.get("waiting"):
        return "waits: " + ": ".join(filter(None, (waiting.get("reason"), waiting.get("message")))) + restarts
    if ended := state.get("terminated"):
        return f"ended: {ended.get('reason')}, {ended.get('exitCode')}{restarts}"
    return "running" + (", ready" if container.get("ready") else "") + restarts
