"""Users whom nobody needs any more: they leave while the run goes on."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

from harness.base.wait import NeverError, TooLateError, seldom, wait_until
from harness.cluster.kind import Cluster
from harness.cluster.pods import server_of
from harness.deployment.rollout import restart_hub
from harness.evidence.diagnosis import why_unrecoverable
from harness.hub.api import Hub

AT_ONCE = 4
"""Deletions under way at a time; each is mostly a wait for the end of a pod."""
START_TIMEOUT = 60.0
"""Seconds for a server that is on its way to come, so that its user may go."""


class UserCleanup:
    """Deletes users, servers and all, behind the back of whoever goes on."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._under_way: list[tuple[Hub, str, Future[None]]] = []
        self._held: list[tuple[Hub, str]] = []
        """Those whom their hub does not let go."""
        self._given_up = threading.Event()

    def add(self, hub: Hub, user: str) -> None:
        """Begin to delete a user."""
        if self._given_up.is_set():
            self._held.append((hub, user))
        else:
            self._under_way.append((hub, user, self._pool.submit(self._delete, hub, user)))

    def give_up(self) -> None:
        """Begin no other deletion, and end those under way at their next look: nothing answers any more."""
        self._given_up.set()

    def _delete(self, hub: Hub, user: str) -> None:
        try:
            wait_until(
                f"the start or the end of {user}'s server",
                lambda: hub.is_settled(user),
                timeout=START_TIMEOUT,
                fail_if=seldom(lambda: self._pointless(hub) or self._why_stuck(hub, user)),
            )
        except (NeverError, TooLateError):
            # The hub deletes no user whose server is on its way, and one that never comes is so for startTimeout.
            self._cluster.remove_server(hub.namespace, user)
            self._held.append((hub, user))
        else:
            self._delete_now(hub, user)

    def _delete_now(self, hub: Hub, user: str) -> None:
        hub.delete_user(user, fail_if=lambda: self._pointless(hub))

    def _why_stuck(self, hub: Hub, user: str) -> str | None:
        pods = self._cluster.pods(hub.namespace)
        return pods.why_stuck(pods.look(server_of(user)))

    def _pointless(self, hub: Hub) -> str | None:
        return "nobody waits any more" if self._given_up.is_set() else why_unrecoverable(self._cluster, hub.namespace)

    def wait(self) -> None:
        """Return when everybody is gone; a hub that holds somebody is restarted, and forgets whom it was waiting for.

        Raises:
            HarnessError: somebody does not go.
        """
        while self._under_way:
            *_, deletion = self._under_way.pop()
            deletion.result()
        held, self._held = self._held, []
        for hub in {hub.namespace: hub for hub, _ in held}.values():
            restart_hub(self._cluster, hub)
        for hub, user in held:
            self._delete_now(hub, user)

    def close(self) -> list[tuple[Hub, str]]:
        """Give up, and return who may not be gone."""
        gone = [deletion.done() and not deletion.exception() for *_, deletion in self._under_way]
        self.give_up()
        self._pool.shutdown(wait=False, cancel_futures=True)
        staying = [(hub, user) for (hub, user, _), is_gone in zip(self._under_way, gone, strict=True) if not is_gone]
        return [*staying, *self._held]
