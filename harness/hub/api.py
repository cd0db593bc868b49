"""A hub, as its operator sees it: its REST API with the harness's own admin token."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from harness.base import http
from harness.base.errors import HarnessError
from harness.base.wait import NotYet, seldom, wait_until

DELETE_TIMEOUT = 240.0
"""Seconds for a user to go, server and all."""
PAGINATED = "application/jupyterhub-pagination+json"
"""Type of an answer that names its next page; without it a list ends at the hub's api_page_default_limit."""


@dataclass(frozen=True)
class Hub:
    """One JupyterHub: where it is, and the API with a token that the release was given for the harness.

    Attributes:
        transport: in place of the network.
    """

    url: str
    """Loopback URL of the proxy, without a slash at the end."""
    namespace: str
    release: str
    database: str
    token: str = field(repr=False)
    transport: httpx.BaseTransport | None = field(default=None, repr=False, compare=False)

    @functools.cached_property
    def api(self) -> httpx.Client:
        """Return a client of /hub/api with a limit of 30 s a call."""
        headers = {"Authorization": f"token {self.token}"}
        return http.Client(base_url=f"{self.url}/hub/api", headers=headers, timeout=30, transport=self.transport)

    def users(self) -> dict[str, dict[str, Any]]:
        """Return all of the hub's users by name, each with the servers that run or are about to, page by page."""
        found: dict[str, dict[str, Any]] = {}
        page: dict[str, int] | None = {"offset": 0}
        while page:
            answer = self.api.get("/users", params=page, headers={"Accept": PAGINATED}).raise_for_status().json()
            found |= {user["name"]: user for user in answer["items"]}
            following = answer["_pagination"]["next"]
            page = following and {key: following[key] for key in ("offset", "limit")}
        return found

    def delete_user(
        self, name: str, *, fail_if: Callable[[], str | None] = lambda: None, timeout: float | None = None
    ) -> None:
        """Delete a user, and with the user the server; a user that is gone already is fine.

        The hub refuses while the server is on its way up or down, or while the culler is deleting the user too.

        Args:
            fail_if: returns why the hub will never do so, or why the wait is over, or None; called seldom.
            timeout: seconds; DELETE_TIMEOUT unless given.
        """

        def gone() -> bool | NotYet:
            try:
                answer = self.api.delete(_user(name))
            except httpx.TransportError as error:
                return _away(error)
            there = answer.is_error and answer.status_code != httpx.codes.NOT_FOUND
            return _refused(answer) if there else True

        limit = DELETE_TIMEOUT if timeout is None else timeout
        wait_until(f"the end of user {name}", gone, timeout=limit, fail_if=seldom(fail_if))

    def cancel_spawn(self, name: str) -> None:
        """Ask the hub to give up on a user's server that is still on its way up; it may refuse."""
        with suppress(httpx.TransportError):
            self.api.delete(f"{_user(name)}/server")

    def is_settled(self, name: str) -> bool | NotYet:
        """Return True unless a user's server is on its way up, or a hub that has just started still looks for it."""
        try:
            answer = self.api.get(_user(name))
        except httpx.TransportError as error:
            return _away(error)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return True
        if answer.is_error:
            return _refused(answer)
        pending = {each["pending"] for each in answer.json()["servers"].values()}
        return NotYet("on its way") if pending & {"spawn", "check"} else True

    def stop_server(self, name: str) -> None:
        """Stop a user's server, and wait until it is gone."""
        self.api.delete(f"{_user(name)}/server").raise_for_status()

        def gone() -> bool | NotYet:
            servers = self.api.get(_user(name)).raise_for_status().json()["servers"]
            return not servers or NotYet(f"pending: {servers['']['pending']}")

        wait_until(f"the end of {name}'s server", gone, timeout=60)

    def restore_routes(self) -> bool | NotYet:
        """Have the hub give its proxy all routes, of which one that has just started has none for a minute."""
        try:
            answer = self.api.post("/proxy")
        except httpx.TransportError as error:
            return _away(error)
        return _refused(answer) if answer.is_error else True

    def version(self) -> str:
        """Return JupyterHub's version, as the hub reports it."""
        return str(self.api.get("/").raise_for_status().json()["version"])


def _user(name: str) -> str:
    if not name:
        raise HarnessError("No user to ask the hub about: the journey named none. See where it ended, and why.")
    return f"/users/{quote(name)}"


def _refused(answer: httpx.Response) -> NotYet:
    """Describe a hub that does not do, or does not answer, what it was asked for."""
    return NotYet(f"{answer.status_code} {answer.text[:200]}")


def _away(error: httpx.TransportError) -> NotYet:
    """Describe a hub that is being restarted, or whose proxy is."""
    return NotYet(str(error) or type(error).__name__)
