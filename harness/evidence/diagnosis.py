"""The likely cause of a failure, where Docker, Kubernetes or the hub names one.

What is named is what happened since the test began, or what is wrong still; where nobody names anything, there is none.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import PurePath

from kubernetes import client
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from harness.charts.chart import SPAWNER_NAME
from harness.cluster.kind import Cluster
from harness.cluster.pod_health import HOPELESS, is_ready, memory_limit, why_stuck
from harness.cluster.pods import server_of
from harness.host import docker
from harness.plan.hubs import HUBS, SCALED

NAMESPACES = tuple(role.namespace for role in (*HUBS, SCALED))
HUB, PROXY = "hub", "proxy"
NEEDED = (HUB, PROXY)
"""The parts without which nothing of a release answers."""
PARTS = (*NEEDED, "user-scheduler")
"""The release's own pods by their label `component`, the likeliest cause first."""
"""What the spawner's file is called."""
SPAWNER_IN_TRACEBACK = (SPAWNER_NAME, "<string>")
"""What a traceback calls it: by its name, or as text, which is how the upstream chart has it run."""
OF_A_POD_THAT_WENT = ("Failed", "FailedCreatePodSandBox", "Evicted")
"""Reasons of warnings that still tell something when their pod is gone; others are of its ordinary end."""
LOOK_TIMEOUT = 8.0
"""Seconds for each question to Kubernetes."""
LONGEST = 400
"""Characters of a cause."""


def likely_cause(
    cluster: Cluster, *, since: float, users: Collection[str] = (), services: Collection[str] = ()
) -> str | None:
    """What is likely to have made a test fail, in one line; None where nobody names a cause.

    Args:
        since: when the test began, as time.time(); what was over by then is no cause.
        users: the test's users, as far as they are known; those whose servers began after `since` are added.
        services: names of the services that have to run beside the cluster.
    """
    beside = [f"{cluster.name}-{service}" for service in services]
    # First, because of a node that is paused Kubernetes only says that it does not answer.
    if cause := docker.stopped(cluster.name, (*cluster.nodes, *beside)):
        return _line(cause)
    try:
        seen = _Scene(cluster, since, users)
        cause = next((cause for cause in seen.causes() if cause), None)
    except (ApiException, HTTPError) as error:
        cause = f"the cluster's API does not answer: {getattr(error, 'reason', None) or error}"
    return _line(cause) if cause else None


def why_unrecoverable(cluster: Cluster, namespace: str, user: str = "") -> str | None:
    """Why waiting on a hub, or on a user's server in it, is pointless: it, its hub or its proxy cannot run any more.

    Of what Kubernetes does not answer just now, nothing is said.
    """
    if cause := docker.stopped(cluster.name):
        return _line(cause)
    pods = cluster.pods(namespace)
    try:
        server = pods.why_stuck(pods.look(server_of(user))) if user else None
        parts = pods.look(f"component in ({', '.join(NEEDED)})")
        missing = [part for part in NEEDED if part not in {_label(pod, _COMPONENT) for pod in parts}]
        cause = server or pods.why_stuck(parts)
        cause = cause or next((why for part in missing if (why := _why_none(cluster, namespace, part))), None)
    except (ApiException, HTTPError):
        return None
    return _line(cause) if cause else None


def _why_none(cluster: Cluster, namespace: str, part: str) -> str | None:
    """Why there will be no pod of a part; None where its Deployment is about to make one."""
    wanted = cluster.apps.read_namespaced_deployment(part, namespace, _request_timeout=LOOK_TIMEOUT).spec.replicas
    return None if wanted else f"there is no pod of the {part} in {namespace}: its Deployment wants none"


def says(text: str, cause: str) -> bool:
    """Whether a message has a cause in it already, in these words or in others of the same container."""
    if " ".join(cause.split()) in " ".join(text.split()):
        return True
    container = re.match(r"pod \S+: container [\w-]+", cause)
    return bool(container and container[0] in text and any(word in text for word in (*HOPELESS, "OOMKilled")))


def last_error(log: str, users: Collection[str] = ()) -> str | None:
    """How the telling traceback of a hub's log ends: the exception, and where in the spawner's own file it rose.

    The last one that goes through the spawner's file, or else the last that names one of the users, or else the last.
    """
    told = []
    for found in _TRACEBACK.finditer(log):
        own = [frame for frame in _FRAME.findall(found["frames"]) if PurePath(frame[0]).name in SPAWNER_IN_TRACEBACK]
        before = log[: found.start()].rstrip().rpartition("\n")[2]
        named = any(user in f"{before} {found['error']}" for user in users)
        where = f" ({SPAWNER_NAME}, line {own[-1][1]}, in {own[-1][2]})" if own else ""
        told.append(((bool(own), named, found.start()), f"{found['error'].strip()}{where}"))
    return max(told)[1] if told else None


_TRACEBACK = re.compile(
    r"^(?P<indent>[ \t]*)Traceback \(most recent call last\):\n"
    r"(?P<frames>(?:(?P=indent)[ \t]+[^\n]*\n)*)"
    r"(?P=indent)(?P<error>\S[^\n]*)",
    re.MULTILINE,
)
_FRAME = re.compile(r'File "([^"]*)", line (\d+), in (\S+)')


class _Scene:
    """The pods of the hubs as they are, and what to make of them."""

    def __init__(self, cluster: Cluster, since: float, users: Collection[str]) -> None:
        self._cluster = cluster
        # Kubernetes counts in whole seconds.
        self._since = float(int(since))
        listed = cluster.core.list_pod_for_all_namespaces(_request_timeout=LOOK_TIMEOUT)
        self._pods: list[client.V1Pod] = [pod for pod in listed.items if pod.metadata.namespace in NAMESPACES]
        servers = [pod for pod in self._pods if _label(pod, _USER)]
        self._servers = [
            pod for pod in servers if _label(pod, _USER) in users or self._is_new(pod.metadata.creation_timestamp)
        ]
        self._users = {*users, *(_label(pod, _USER) for pod in self._servers)}

    def causes(self) -> Iterator[str | None]:
        """Each possible cause, the likeliest first."""
        parts = [pod for part in PARTS for pod in self._pods if _label(pod, _COMPONENT) == part]
        yield why_stuck(self._servers)
        yield self._ended(self._servers)
        yield self._crashed(parts)
        yield self._went_away()
        yield self._ended(parts)
        yield self._warning([*self._servers, *parts])
        yield self._missing()
        yield self._hub_error()

    def _is_new(self, when: datetime | None) -> bool:
        return when is not None and when.timestamp() >= self._since

    def _ended(self, pods: Iterable[client.V1Pod]) -> str | None:
        """A container that ended badly since the test began, though it may have started again."""
        for pod in pods:
            for status in pod.status.container_statuses or []:
                for state in (status.state, status.last_state):
                    ended = state and state.terminated
                    if not ended or not ended.exit_code or not self._is_new(ended.finished_at):
                        continue
                    what = f"pod {pod.metadata.name}: container {status.name}"
                    if ended.reason == "OOMKilled":
                        return f"{what} was OOMKilled: over its limit of {memory_limit(pod, status.name)}"
                    # Whoever is asked to go ends so; a server does at the end of each life.
                    if ended.exit_code != _TERMINATED:
                        return f"{what} ended with exit code {ended.exit_code} ({ended.reason})"
        return None

    def _crashed(self, parts: Sequence[client.V1Pod]) -> str | None:
        """Why a part of the release cannot run, for a hub with its own last words."""
        for pod in parts:
            if stuck := why_stuck([pod]):
                # Of a crash that began before the test too, for it is one still.
                words = last_error(self._log(pod)) if _label(pod, _COMPONENT) == HUB else None
                return f"{words}: {stuck}" if words else stuck
        return None

    def _went_away(self) -> str | None:
        """A part that a release cannot do without, and that has been told to end before another one is there."""
        for (_, part), pods in self._parts().items():
            if all(pod.metadata.deletion_timestamp for pod in pods):
                return f"the {part} is going away: pod {pods[0].metadata.name} was told to end"
        return None

    def _missing(self) -> str | None:
        """A part that a release cannot do without, where there is not even a pod of it."""
        there = self._parts()
        released = sorted({namespace for namespace, _ in there})
        missing = [(place, part) for place in released for part in NEEDED if (place, part) not in there]
        return next((f"there is no pod of the {part} in {namespace}" for namespace, part in missing), None)

    def _parts(self) -> dict[tuple[str, str], list[client.V1Pod]]:
        """The pods of each part that a release cannot do without, by its namespace and its name."""
        found: dict[tuple[str, str], list[client.V1Pod]] = {}
        for pod in self._pods:
            if (part := _label(pod, _COMPONENT)) in NEEDED:
                found.setdefault((pod.metadata.namespace, part), []).append(pod)
        return found

    def _warning(self, pods: Sequence[client.V1Pod]) -> str | None:
        """The newest telling warning about a pod that is not ready, or about one of the test's users that is gone."""
        selector = {"field_selector": "type=Warning", "_request_timeout": LOOK_TIMEOUT}
        found = self._cluster.core.list_event_for_all_namespaces(**selector).items
        waiting = {pod.metadata.name for pod in pods if not is_ready(pod)}
        there = {pod.metadata.name for pod in self._pods}

        def tells(event: client.CoreV1Event) -> bool:
            about = event.involved_object
            if about.namespace not in NAMESPACES or not self._is_new(_when(event)):
                return False
            if about.kind != "Pod":
                return bool(event.reason == "FailedCreate")
            if about.name in there:
                return about.name in waiting
            return event.reason in OF_A_POD_THAT_WENT and any(user in about.name for user in self._users)

        # The kubelet repeats a cause as "Error: ImagePullBackOff", and says its reason only once.
        told = sorted(filter(tells, found), key=lambda event: (not event.message.startswith("Error: "), _when(event)))
        if not told:
            return None
        newest = told[-1]
        about = newest.involved_object
        # Of a hub that another one has followed, the time is what says so.
        born = next(
            (
                pod.metadata.creation_timestamp
                for pod in self._pods
                if pod.metadata.name == about.name and _label(pod, _COMPONENT) in NEEDED
            ),
            None,
        )
        of = f", of {born:%H:%M:%S}" if self._is_new(born) else ""
        return f"{about.kind.lower()} {about.name}{of}: {newest.reason}: {newest.message}"

    def _hub_error(self) -> str | None:
        for pod in (each for each in self._pods if _label(each, _COMPONENT) == HUB):
            if found := last_error(self._log(pod, time.time() - self._since), self._users):
                return f"the hub's log, {pod.metadata.namespace}: {found}"
        return None

    def _log(self, pod: client.V1Pod, seconds: float | None = None) -> str:
        """What a hub wrote, before its last restart and after it."""
        at = (pod.metadata.namespace, pod.metadata.name, HUB)
        return "".join(self._cluster.logs(*at, previous=previous, seconds=seconds) for previous in (True, False))


_USER, _COMPONENT = "hub.jupyter.org/username", "component"
_TERMINATED = 143
"""Exit code of a program that SIGTERM ended."""


def _label(pod: client.V1Pod, name: str) -> str:
    return str((pod.metadata.labels or {}).get(name, ""))


def _when(event: client.CoreV1Event) -> datetime | None:
    found: datetime | None = event.last_timestamp or event.event_time or event.metadata.creation_timestamp
    return found


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
