"""Users whom nobody needs any more: they leave while the run goes on."""

from __future__ import annotations

import threading
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
        self._given_up = threading.Event()

    def add(self, hub: Hub, user: str) -> None:
        """Begin to delete a user."""
        self._under_way.append(self._pool.submit(self._delete, hub, user))

    def _delete(self, hub: Hub, user: str) -> None:
        if hub.is_starting(user):
            # The hub deletes no user whose server is on its way, and one that never comes is so for startTimeout.
            self._cluster.remove_server(hub.namespace, user)
        hub.delete_user(user, fail_if=lambda: self._pointless(hub))

    def _pointless(self, hub: Hub) -> str | None:
        return "nobody waits any more" if self._given_up.is_set() else hopeless(self._cluster, hub.namespace)

    def wait(self) -> None:
        """Return when everybody is gone.

        Raises:
            HarnessError: somebody does not go.
        """
        while self._under_way:
            self._under_way.pop().result()

    def close(self) -> None:
        """Begin no other deletion, and end those under way at their next look; nobody waits for them."""
        self._given_up.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
