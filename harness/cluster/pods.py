"""The pods of a namespace: a look at them, and a watch that returns when one changes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta

from kubernetes import client, watch
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from harness.cluster.client import NoAnswerError
from harness.cluster.pod_health import _lost, why_stuck

MOUNTS_TRIED = 5
"""Times that the kubelet looks in vain for what a pod mounts, over a quarter of a minute, before it is said to lack."""
MADE_ANEW_WITHIN = 5.0
"""Seconds in which kubespawner makes a pod anew that it takes for an old one (_make_create_pod_request, at a 409)."""
BEGINS_WITHIN = timedelta(seconds=5)
"""In which a pod's first container usually begins. Only later are events read: the API server reads all of them."""


class PodWatch:
    """The pods of one namespace: a look at them, and a watch that returns when one changes."""

    def __init__(self, core: client.CoreV1Api, namespace: str) -> None:
        self._core = core
        self.namespace = namespace
        self._version = ""

    def look(self, selector: str = "") -> list[client.V1Pod]:
        """The pods that match a label selector, now."""
        found = self._core.list_namespaced_pod(self.namespace, label_selector=selector, _request_timeout=30)
        self._version = found.metadata.resource_version
        return list(found.items)

    def change(self, seconds: float) -> None:
        """Return when a pod changed since the last look, after the seconds given, or after two, whichever is first."""
        limit = max(1, int(min(seconds, 2)))
        watching = watch.Watch()
        try:
            for _ in watching.stream(
                self._core.list_namespaced_pod,
                self.namespace,
                resource_version=self._version,
                timeout_seconds=limit,
                _request_timeout=limit + 3,
            ):
                break
        except NoAnswerError:
            raise
        except HTTPError as error:  # in the middle of the answer
            raise NoAnswerError(f"The watch on the pods of {self.namespace} broke off: {error}") from error
        except ApiException as error:
            if error.status != 410:  # 410: the version is too old to watch from; the next look gets a new one.
                raise
        finally:
            watching.stop()

    def events(self, pod: str) -> list[client.CoreV1Event]:
        """What Kubernetes says of a pod, oldest first."""
        found = self._core.list_namespaced_event(self.namespace, field_selector=f"involvedObject.name={pod}")
        return sorted(found.items, key=_when)

    def logs(
        self, pod: str, container: str | None = None, *, previous: bool = False, seconds: float | None = None
    ) -> str:
        """As Cluster.logs."""
        since = {} if seconds is None else {"since_seconds": max(1, math.ceil(seconds))}
        try:
            answer = self._core.read_namespaced_pod_log(
                pod,
                self.namespace,
                container=container,
                previous=previous,
                tail_lines=500 if seconds is None else 5000,  # a class at once writes thousands
                _preload_content=False,
                **since,
            )
        except (ApiException, HTTPError):
            return ""
        return str(answer.data.decode(errors="replace"))

    def why_stuck(self, pods: Collection[client.V1Pod]) -> str | None:
        """Why pods will never be ready, by their status or by what is said of them."""

        def log(pod: str, container: str, before: bool) -> str:
            return self.logs(pod, container, previous=before)

        return why_stuck(pods, log) or self._why_not_begun(pods)

    def why_stuck_server(self, user: str) -> Callable[[], str | None]:
        """Of a server that is to come up from now on: says, look by look, why it will never do so."""
        was, missed = "", float("inf")

        def look() -> str | None:
            nonlocal was, missed
            found, now = self.look(server_of(user)), time.monotonic()
            missed = min(missed, now) if was and not found else float("inf")
            if now - missed > MADE_ANEW_WITHIN:
                return f"pod {was} is gone, and was not the hub's to stop: deleted, evicted, or its node went"
            was = next((pod.metadata.name for pod in found if not pod.metadata.deletion_timestamp), was)
            return self.why_stuck(found)

        return look

    def _why_not_begun(self, pods: Iterable[client.V1Pod]) -> str | None:
        """Why no container of a pod begins: its node is lost, what it is to mount is not there, or it has no memory.

        The kubelet has looked many times for what is said to be not there.
        """
        late = [
            pod
            for pod in pods
            if pod.status.phase == "Pending" and datetime.now(UTC) - pod.metadata.creation_timestamp > BEGINS_WITHIN
        ]
        if not late:
            return None
        lost = _lost(self._core.list_node(_request_timeout=30).items)
        for pod in late:
            if why := lost.get(pod.spec.node_name):
                return f"pod {pod.metadata.name} waits for node {pod.spec.node_name}, which is lost: {why}"
        waiting = {pod.metadata.uid: pod.metadata.name for pod in late}
        for event in self._warnings():
            name = waiting.get(event.involved_object.uid)
            in_vain = event.reason == "FailedMount" and (event.count or 1) >= MOUNTS_TRIED
            if name and in_vain and "not found" in (event.message or ""):
                return f"pod {name} waits for what is not there, FailedMount: {event.message}"
            if name and event.reason == "FailedCreatePodSandBox" and "OOM-killed" in (event.message or ""):
                return f"pod {name} has too little memory to begin, FailedCreatePodSandBox: {event.message}"
        return None

    def last_warning(self) -> list[str]:
        """The newest warning about a pod, such as of a probe that fails; none where there is nothing to warn of."""
        return [f"{newest.involved_object.name}: {newest.message}" for newest in self._warnings()[-1:]]

    def _warnings(self) -> list[client.CoreV1Event]:
        """Warnings about pods, oldest first."""
        about_pods = "type=Warning,involvedObject.kind=Pod"
        found = self._core.list_namespaced_event(self.namespace, field_selector=about_pods, _request_timeout=30)
        return sorted(found.items, key=_when)


def _when(event: client.CoreV1Event) -> str:
    return str(event.last_timestamp or event.event_time or "")


def server_of(user: str) -> str:
    """Label selector of a user's server (kubespawner, _build_common_labels)."""
    return f"hub.jupyter.org/username={user}"
