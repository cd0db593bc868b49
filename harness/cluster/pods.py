"""The pods of a namespace: a look at them, and a watch that returns when one changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import TypeVar

from kubernetes import client, watch
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from harness.base.errors import HarnessError
from harness.base.wait import NotYet, wait_until
from harness.cluster import pod_health
from harness.cluster.client import NoAnswerError
from harness.cluster.pod_health import Disappearance, PodFacts

T = TypeVar("T")
USER_LABEL = "hub.jupyter.org/username"
"""The label with the user of a server's pod (kubespawner, _build_common_labels)."""


class PodWatch:
    """The pods of one namespace: a look at them, and a watch that returns when one changes."""

    def __init__(self, core: client.CoreV1Api, namespace: str) -> None:
        self._core = core
        self.namespace = namespace
        self._version = ""
        self._facts = PodFacts(
            log=lambda pod, container, previous: self.logs(pod, container, previous=previous),
            nodes=lambda: list(self._core.list_node(_request_timeout=30).items),
            warnings=self._warnings,
        )

    def look(self, selector: str = "") -> list[client.V1Pod]:
        """Return the pods that match a label selector, now."""
        found = self._core.list_namespaced_pod(self.namespace, label_selector=selector, _request_timeout=30)
        self._version = found.metadata.resource_version
        return list(found.items)

    def change(self, seconds: float) -> None:
        """Return when a pod changed since the last look, after the seconds given, or after two seconds."""
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
        """Return Kubernetes' events about a pod, oldest first."""
        found = self._core.list_namespaced_event(self.namespace, field_selector=f"involvedObject.name={pod}")
        return sorted(found.items, key=_when)

    def logs(
        self, pod: str, container: str | None = None, *, previous: bool = False, seconds: float | None = None
    ) -> str:
        """Return the last lines that a pod's container wrote; empty where there is nothing, or nothing is left.

        Args:
            previous: of the container before its last restart.
            seconds: only what it wrote within so many seconds before now, and of that more lines.
        """
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

    def stuck_reason(self, pods: Collection[client.V1Pod]) -> str | None:
        """Return why pods of this namespace will never be ready, as pod_health.stuck_reason decides it."""
        return pod_health.stuck_reason(pods, self._facts)

    def server_probe(self, user: str) -> Callable[[], str | None]:
        """Return a probe that explains why the user's server can no longer start; it returns None while it can."""
        disappearance = Disappearance()

        def probe() -> str | None:
            found = self.look(server_of(user))
            return disappearance.reason(found) or self.stuck_reason(found)

        return probe

    def last_warning(self) -> list[str]:
        """Return the newest warning about a pod, such as of a probe that fails; none where there is no warning."""
        return [f"{newest.involved_object.name}: {newest.message}" for newest in self._warnings()[-1:]]

    def _warnings(self) -> list[client.CoreV1Event]:
        """Return warnings about pods, oldest first."""
        about_pods = "type=Warning,involvedObject.kind=Pod"
        found = self._core.list_namespaced_event(self.namespace, field_selector=about_pods, _request_timeout=30)
        return sorted(found.items, key=_when)


def wait_for_pods(
    pods: PodWatch, selector: str, what: str, check: Callable[[list[client.V1Pod]], T | NotYet], timeout: float
) -> T:
    """Wait as `wait_until` does, until the pods that match a selector pass a check; one that is stuck ends it."""

    def stuck() -> str | None:
        return pods.stuck_reason(pods.look(selector))

    return wait_until(what, lambda: check(pods.look(selector)), timeout=timeout, fail_if=stuck, change=pods.change)


def _when(event: client.CoreV1Event) -> str:
    return str(event.last_timestamp or event.event_time or "")


def server_of(user: str) -> str:
    """Return the label selector of a user's server.

    Raises:
        HarnessError: the user has no name: the hub never named one, because it never started a server.
    """
    if not user:
        raise HarnessError("No user to look up a server of: the journey named none. See where it ended, and why.")
    return f"{USER_LABEL}={user}"
