"""Users whom nobody needs any more: they leave while the run goes on."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from harness.cluster import Cluster
from harness.diagnosis import hopeless
from harness.hub import Hub

AT_ONCE = 4
"""Deletions under way at a time; each is mostly a wait for the end of a pod."""


class Departures:
    """Deletes users, servers and all, behind the back of whoever goes on."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._under_way: list[Future[None]] = []

    def add(self, hub: Hub, user: str) -> None:
        """Begin to delete a user."""
        self._under_way.append(self._pool.submit(self._delete, hub, user))

    def _delete(self, hub: Hub, user: str) -> None:
        if hub.is_starting(user):
            # The hub deletes no user whose server is on its way, and one that never comes is so for startTimeout.
            self._cluster.remove_server(hub.namespace, user)
        hub.delete_user(user, fail_if=lambda: hopeless(self._cluster, hub.namespace))

    def wait(self) -> None:
        """Return when everybody is gone.

        Raises:
            HarnessError: somebody does not go.
        """
        while self._under_way:
            self._under_way.pop().result()

    def close(self) -> None:
        """Begin no other deletion, and return when those under way have ended."""
        self._pool.shutdown(cancel_futures=True)
