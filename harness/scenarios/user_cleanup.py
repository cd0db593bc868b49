"""Users who are no longer needed: they are deleted while the run goes on."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

from harness.base.wait import NeverError, TooLateError, seldom, wait_until
from harness.cluster.kind import Cluster
from harness.deployment.rollout import restart_hub
from harness.evidence.diagnosis import why_unrecoverable
from harness.hub.api import Hub

AT_ONCE = 4
"""Deletions at a time; each is mostly a wait for the end of a pod."""
START_TIMEOUT = 60.0
"""Seconds for a server that is starting, until its user can be deleted."""
CANCEL_TIMEOUT = 30.0
"""Seconds for a hub to delete the user of a server that it was asked to give up on."""


class UserCleanup:
    """The deletion of users and their servers in the background."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._deletions: list[tuple[Hub, str, Future[None]]] = []
        self._held: list[tuple[Hub, str]] = []
        """Users that their hub does not delete."""
        self._given_up = threading.Event()

    def add(self, hub: Hub, user: str) -> None:
        """Begin to delete a user."""
        if self._given_up.is_set():
            self._held.append((hub, user))
        else:
            self._deletions.append((hub, user, self._pool.submit(self._delete_or_hold, hub, user)))

    def delete(self, hub: Hub, user: str) -> None:
        """Delete a user, and wait until it is gone; a hub that does not let it go is restarted.

        A deletion that has begun is over then: it would meet the next user of that name.

        Raises:
            HarnessError: the user does not go.
        """
        begun = [each for each in self._deletions if each[:2] == (hub, user)]
        self._deletions = [each for each in self._deletions if each not in begun]
        for *_, deletion in begun:
            deletion.result()
        self._held = [each for each in self._held if each != (hub, user)]
        if not self._delete(hub, user):
            restart_hub(self._cluster, hub)
            self._delete_user(hub, user)

    def give_up(self) -> None:
        """Begin no further deletion, and end those under way at their next check: the hubs no longer answer."""
        self._given_up.set()

    def _delete_or_hold(self, hub: Hub, user: str) -> None:
        if not self._delete(hub, user):
            self._held.append((hub, user))

    def _delete(self, hub: Hub, user: str) -> bool:
        """Delete a user; return False where the hub holds it for a server that never comes."""
        stuck = self._cluster.pods(hub.namespace).server_probe(user)
        try:
            wait_until(
                f"the start or the end of {user}'s server",
                lambda: hub.is_settled(user),
                timeout=START_TIMEOUT,
                fail_if=seldom(lambda: self._why_pointless(hub) or stuck(), every=1),
            )
        except (NeverError, TooLateError):
            # The hub deletes no user whose server is starting, which lasts for startTimeout if it never comes up.
            return self._cancel(hub, user)
        self._delete_user(hub, user)
        return True

    def _cancel(self, hub: Hub, user: str) -> bool:
        """Have the hub give up on a server that never comes up, and delete its user; return False where it does not."""
        self._cluster.remove_server(hub.namespace, user)
        if self._given_up.is_set():
            return False
        hub.cancel_spawn(user)
        try:
            hub.delete_user(user, fail_if=lambda: self._why_pointless(hub), timeout=CANCEL_TIMEOUT)
        except (NeverError, TooLateError):
            return False
        return True

    def _delete_user(self, hub: Hub, user: str) -> None:
        hub.delete_user(user, fail_if=lambda: self._why_pointless(hub))

    def _why_pointless(self, hub: Hub) -> str | None:
        return (
            "the cleanup was given up" if self._given_up.is_set() else why_unrecoverable(self._cluster, hub.namespace)
        )

    def wait(self) -> None:
        """Wait until all users are gone; a hub that holds one is restarted, and forgets the servers that never came up.

        Raises:
            HarnessError: a user does not go.
        """
        while self._deletions:
            *_, deletion = self._deletions.pop()
            deletion.result()
        held, self._held = self._held, []
        for hub in {hub.namespace: hub for hub, _ in held}.values():
            restart_hub(self._cluster, hub)
        for hub, user in held:
            self._delete_user(hub, user)

    def close(self) -> list[tuple[Hub, str]]:
        """Give up, and return the users who may still be there."""
        gone = [deletion.done() and not deletion.exception() for *_, deletion in self._deletions]
        self.give_up()
        self._pool.shutdown(wait=False, cancel_futures=True)
        staying = [(hub, user) for (hub, user, _), is_gone in zip(self._deletions, gone, strict=True) if not is_gone]
        return [*staying, *self._held]
