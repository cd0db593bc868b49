"""A hub, seen by its operator: its REST API with the harness's own admin token."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from harness.base import http
from harness.base.wait import NotYet, seldom, wait_until

DELETE_TIMEOUT = 240.0
"""Seconds for a user to go, server and all."""


@dataclass(frozen=True)
class Hub:
    """One JupyterHub: where it is, and the API with a token that the release was given for the harness."""

    url: str
    """Loopback URL of the proxy, without a slash at the end."""
    namespace: str
    release: str
    database: str
    token: str = field(repr=False)

    @functools.cached_property
    def api(self) -> httpx.Client:
        """Client of /hub/api, within 30 s a call."""
        headers = {"Authorization": f"token {self.token}"}
        return http.Client(base_url=f"{self.url}/hub/api", headers=headers, timeout=30)

    def users(self) -> dict[str, dict[str, Any]]:
        """The hub's users by name, each with the servers that run or are about to."""
        answer = self.api.get("/users").raise_for_status()
        return {user["name"]: user for user in answer.json()}

    def delete_user(self, name: str, *, fail_if: Callable[[], str | None] = lambda: None) -> None:
        """Delete a user, and with the user the server; a user that is gone already is fine.

        The hub refuses while the server is on its way up or down, or while the culler is deleting the user too.

        Args:
            fail_if: says why the hub will never do so, or why nobody waits any more; asked seldom.
        """

        def gone() -> bool | NotYet:
            try:
                answer = self.api.delete(f"/users/{name}")
            except httpx.TransportError as error:
                return _away(error)
            there = answer.is_error and answer.status_code != httpx.codes.NOT_FOUND
            return _refused(answer) if there else True

        wait_until(f"the end of user {name}", gone, timeout=DELETE_TIMEOUT, fail_if=seldom(fail_if))

    def is_settled(self, name: str) -> bool | NotYet:
        """Whether a user's server is not on its way up, nor a hub that has just begun finding out whether it is."""
        try:
            answer = self.api.get(f"/users/{name}")
        except httpx.TransportError as error:
            return _away(error)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return True
        if answer.is_error:
            return _refused(answer)
        pending = {each["pending"] for each in answer.json()["servers"].values()}
        return NotYet("on its way") if pending & {"spawn", "check"} else True

    def stop_server(self, name: str) -> None:
        """Stop a user's server, and return when it is gone."""
        self.api.delete(f"/users/{name}/server").raise_for_status()

        def gone() -> bool | NotYet:
            servers = self.users()[name]["servers"]
            return not servers or NotYet(f"pending: {servers['']['pending']}")

        wait_until(f"the end of {name}'s server", gone, timeout=60)

    def version(self) -> str:
        """JupyterHub's version, as the hub says it."""
        return str(self.api.get("/").raise_for_status().json()["version"])


def _refused(answer: httpx.Response) -> NotYet:
    """What was seen of a hub that does not do, or does not say, what it was asked for."""
    return NotYet(f"{answer.status_code} {answer.text[:200]}")


def _away(error: httpx.TransportError) -> NotYet:
    """What was seen of a hub that is being restarted, or whose proxy is."""
    return NotYet(str(error) or type(error).__name__)
