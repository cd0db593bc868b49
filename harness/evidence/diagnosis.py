"""The likely cause of a failure, where Docker, Kubernetes or the hub names one.

A cause happened since the test began, or is there still. Whether a pod is stuck is decided in cluster/pod_health.py.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from pathlib import PurePath
from urllib.parse import urlsplit

from kubernetes import client
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from harness.charts.chart import SPAWNER_NAME
from harness.cluster.kind import Cluster
from harness.cluster.pod_health import UNRECOVERABLE, bad_end, is_ready, no_pod_reason, stuck_reason
from harness.cluster.pods import USER_LABEL
from harness.host import docker
from harness.hub.api import Hub
from harness.people.journey import user_in

HUB, PROXY = "hub", "proxy"
NEEDED = (HUB, PROXY)
"""The parts without which nothing of a release answers."""
PARTS = (*NEEDED, "user-scheduler")
"""The release's own pods by their label `component`, the likeliest cause first."""
SPAWNER_IN_TRACEBACK = (SPAWNER_NAME, "<string>")
"""The spawner's file in a traceback: its name, or text, which is how the upstream chart runs it."""
AFTER_REMOVAL = ("Failed", "FailedCreatePodSandBox", "Evicted")
"""Reasons of warnings that still matter when their pod is gone; others belong to its ordinary end."""
LOOK_TIMEOUT = 8.0
"""Seconds for each question to Kubernetes."""
BODY = 2000
"""Characters below an ApiException that may hold the body of the answer."""
LONGEST_CAUSE = 400
"""Characters of a cause."""


def likely_cause(
    cluster: Cluster,
    namespaces: Collection[str],
    *,
    since: float,
    users: Collection[str] = (),
    services: Collection[str] = (),
) -> str | None:
    """Return in one line what is likely to have made a test fail; None where no cause is named.

    Args:
        namespaces: of the hubs.
        since: when the test began, as time.time(); what had ended by then is no cause.
        users: the test's users, as far as they are known; those whose servers began after `since` are added.
        services: names of the services that have to run beside the cluster.
    """
    beside = [f"{cluster.name}-{service}" for service in services]
    # First: about a paused node Kubernetes only reports that it does not answer.
    if cause := docker.stopped(cluster.name, (*cluster.nodes, *beside)):
        return _line(cause)
    try:
        symptoms = _Symptoms(cluster, namespaces, since, users)
        cause = next((cause for cause in symptoms.causes() if cause), None)
    except (ApiException, HTTPError) as error:
        cause = f"the cluster's API does not answer: {getattr(error, 'reason', None) or error}"
    return _line(cause) if cause else None


def why_unrecoverable(cluster: Cluster, namespace: str, server: Callable[[], str | None] = lambda: None) -> str | None:
    """Return why waiting on a hub, or on a server in it, is pointless: it, its hub or its proxy cannot run any more.

    None while it may still come, and while Kubernetes does not answer.

    Args:
        server: of a server that is waited for, PodWatch.server_probe.
    """
    if cause := docker.stopped(cluster.name):
        return _line(cause)
    pods = cluster.pods(namespace)
    try:
        parts = pods.look(f"component in ({', '.join(NEEDED)})")
        missing = [part for part in NEEDED if part not in {_label(pod, _COMPONENT) for pod in parts}]
        read = cluster.apps.read_namespaced_deployment
        absent = (no_pod_reason(read(part, namespace, _request_timeout=LOOK_TIMEOUT)) for part in missing)
        cause = server() or pods.stuck_reason(parts) or next(filter(None, absent), None)
    except (ApiException, HTTPError):
        return None
    return _line(cause) if cause else None


def page_probe(cluster: Cluster, *hubs: Hub) -> Callable[[str], str | None]:
    """Return a probe that explains, for the URL of a page on one of these hubs, why its server or hub cannot run."""
    servers: dict[tuple[str, str], Callable[[], str | None]] = {}

    def probe(url: str) -> str | None:
        hub = next((each for each in hubs if url.startswith(f"{each.url}/")), hubs[0])
        user = user_in(urlsplit(url).path)
        if not user:
            return why_unrecoverable(cluster, hub.namespace)
        at = (hub.namespace, user)
        # One probe for all looks at a server: it remembers the pod that was there.
        servers[at] = servers.get(at) or cluster.pods(hub.namespace).server_probe(user)
        return why_unrecoverable(cluster, hub.namespace, servers[at])

    return probe


def mentions_cause(text: str, cause: str) -> bool:
    """Return True if a message has a cause in it already, in these words or in others about the same container."""
    if " ".join(cause.split()) in " ".join(text.split()):
        return True
    container = re.match(r"pod \S+: container [\w-]+", cause)
    return bool(container and container[0] in text and any(word in text for word in (*UNRECOVERABLE, "OOMKilled")))


def last_error(log: str, users: Collection[str] = ()) -> str | None:
    """Return the exception of the traceback in a hub's log that matters most, with its place in the spawner's file.

    The last one that goes through the spawner's file, or else the last that names one of the users, or else the last.
    """
    ranked = []
    for found in _TRACEBACK.finditer(log):
        own = [frame for frame in _FRAME.findall(found["frames"]) if PurePath(frame[0]).name in SPAWNER_IN_TRACEBACK]
        before = log[: found.start()].rstrip().rpartition("\n")[2]
        named = any(user in f"{before} {found['error']}" for user in users)
        where = f" ({SPAWNER_NAME}, line {own[-1][1]}, in {own[-1][2]})" if own else ""
        refusal = _refusal(log[: found.end() + BODY]) if "ApiException" in found["error"] else ""
        ranked.append(((bool(own), named, found.start()), f"{found['error'].strip()}{refusal}{where}"))
    return max(ranked)[1] if ranked else None


def _refusal(log: str) -> str:
    """Return how Kubernetes refused what a hub asked for last, in its own words after a colon; empty for no words."""
    words = [found["line"] or found["body"].replace('\\"', '"') for found in _REFUSAL.finditer(log)]
    return f": {words[-1]}" if words else ""


_REFUSAL = re.compile(r'Message: (?P<line>[^\n]+)|"message": ?"(?P<body>(?:[^"\\\n]|\\.)+)"')
"""Kubernetes' words in a line of kubespawner's reflector, or in the body of the answer below an ApiException."""


_TRACEBACK = re.compile(
    r"^(?P<indent>[ \t]*)Traceback \(most recent call last\):\n"
    r"(?P<frames>(?:(?P=indent)[ \t]+[^\n]*\n)*)"
    r"(?P=indent)(?P<error>\S[^\n]*)",
    re.MULTILINE,
)
_FRAME = re.compile(r'File "([^"]*)", line (\d+), in (\S+)')


class _Symptoms:
    """The pods of the hubs as they are, and the causes that they point to."""

    def __init__(self, cluster: Cluster, namespaces: Collection[str], since: float, users: Collection[str]) -> None:
        self._cluster, self._namespaces = cluster, namespaces
        # Kubernetes' times are whole seconds.
        self._since = float(int(since))
        listed = cluster.core.list_pod_for_all_namespaces(_request_timeout=LOOK_TIMEOUT)
        self._pods: list[client.V1Pod] = [pod for pod in listed.items if pod.metadata.namespace in self._namespaces]
        servers = [pod for pod in self._pods if _label(pod, USER_LABEL)]
        self._servers = [
            pod for pod in servers if _label(pod, USER_LABEL) in users or self._is_new(pod.metadata.creation_timestamp)
        ]
        self._users = {*users, *(_label(pod, USER_LABEL) for pod in self._servers)}

    def causes(self) -> Iterator[str | None]:
        """Yield each possible cause, the likeliest first."""
        parts = [pod for part in PARTS for pod in self._pods if _label(pod, _COMPONENT) == part]
        yield stuck_reason(self._servers)
        yield bad_end(self._servers, self._since)
        yield self._crashed(parts)
        yield self._went_away()
        yield bad_end(parts, self._since)
        yield self._warning([*self._servers, *parts])
        yield self._missing()
        yield self._hub_error()

    def _is_new(self, when: datetime | None) -> bool:
        return when is not None and when.timestamp() >= self._since

    def _crashed(self, parts: Sequence[client.V1Pod]) -> str | None:
        """Return why a part of the release cannot run, for a hub with the exception in its log."""
        for pod in parts:
            if stuck := stuck_reason([pod]):
                # A crash that began before the test counts too, for it goes on.
                words = last_error(self._log(pod)) if _label(pod, _COMPONENT) == HUB else None
                return f"{words}: {stuck}" if words else stuck
        return None

    def _went_away(self) -> str | None:
        """Return a needed part of a release that is ending before another pod of it is there."""
        for (_, part), pods in self._parts().items():
            if all(pod.metadata.deletion_timestamp for pod in pods):
                return f"the {part} is going away: pod {pods[0].metadata.name} is being deleted"
        return None

    def _missing(self) -> str | None:
        """Return a needed part of a release of which there is not even a pod."""
        there = self._parts()
        released = sorted({namespace for namespace, _ in there})
        missing = [(place, part) for place in released for part in NEEDED if (place, part) not in there]
        return next((f"there is no pod of the {part} in {namespace}" for namespace, part in missing), None)

    def _parts(self) -> dict[tuple[str, str], list[client.V1Pod]]:
        """Return the pods of each needed part of a release, by its namespace and its name."""
        found: dict[tuple[str, str], list[client.V1Pod]] = {}
        for pod in self._pods:
            if (part := _label(pod, _COMPONENT)) in NEEDED:
                found.setdefault((pod.metadata.namespace, part), []).append(pod)
        return found

    def _warning(self, pods: Sequence[client.V1Pod]) -> str | None:
        """Return the newest warning about a pod that is not ready, or about a removed server of the test's users."""
        selector = {"field_selector": "type=Warning", "_request_timeout": LOOK_TIMEOUT}
        found = self._cluster.core.list_event_for_all_namespaces(**selector).items
        waiting = {pod.metadata.name for pod in pods if not is_ready(pod)}
        there = {pod.metadata.name for pod in self._pods}

        def matters(event: client.CoreV1Event) -> bool:
            about = event.involved_object
            if about.namespace not in self._namespaces or not self._is_new(_when(event)):
                return False
            if about.kind != "Pod":
                return bool(event.reason == "FailedCreate")
            if about.name in there:
                return about.name in waiting
            return event.reason in AFTER_REMOVAL and any(user in about.name for user in self._users)

        # The kubelet repeats a cause as "Error: ImagePullBackOff", and gives its reason only once.
        ranked = sorted(
            filter(matters, found), key=lambda event: (not event.message.startswith("Error: "), _when(event))
        )
        if not ranked:
            return None
        newest = ranked[-1]
        about = newest.involved_object
        # The time distinguishes a hub's pod from its successor.
        created = next(
            (
                pod.metadata.creation_timestamp
                for pod in self._pods
                if pod.metadata.name == about.name and _label(pod, _COMPONENT) in NEEDED
            ),
            None,
        )
        of = f", of {created:%H:%M:%S}" if self._is_new(created) else ""
        return f"{about.kind.lower()} {about.name}{of}: {newest.reason}: {newest.message}"

    def _hub_error(self) -> str | None:
        for pod in (each for each in self._pods if _label(each, _COMPONENT) == HUB):
            if found := last_error(self._log(pod, time.time() - self._since), self._users):
                return f"the hub's log, {pod.metadata.namespace}: {found}"
        return None

    def _log(self, pod: client.V1Pod, seconds: float | None = None) -> str:
        """Return a hub's log, from before its last restart and after it."""
        pods = self._cluster.pods(pod.metadata.namespace)
        return "".join(pods.logs(pod.metadata.name, HUB, previous=which, seconds=seconds) for which in (True, False))


_COMPONENT = "component"


def _label(pod: client.V1Pod, name: str) -> str:
    return str((pod.metadata.labels or {}).get(name, ""))


def _when(event: client.CoreV1Event) -> datetime | None:
    found: datetime | None = event.last_timestamp or event.event_time or event.metadata.creation_timestamp
    return found


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_CAUSE else f"{line[: LONGEST_CAUSE - 1]}…"
