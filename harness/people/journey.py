"""A journey through a hub: every hop from the first URL to the last page, and the progress of the spawn on the way."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from uuid import uuid4

import httpx

from harness.base import http
from harness.base.errors import HarnessError
from harness.base.intervals import Span
from harness.base.names import Names
from harness.base.timeline import Timeline
from harness.base.wait import waiting
from harness.hub.api import Hub

MAX_HOPS = 20
SPAWN_TIMEOUT = 280.0
"""Seconds for a server to come up, pull included; production's own limit is 600 (singleuser.startTimeout).

Fewer than a test has (pyproject.toml), so that the message is about the spawn.
"""
SPAWN_PENDING = "/hub/spawn-pending/"
SPAWNING_PATHS = ("/tmplogin", "/hub/tmplogin", "/hub/spawn")
"""Paths that start a server at once if they name a course; without a course a hub may ask for one first."""


class JourneyError(HarnessError):
    """A journey ended where it should not; the message names the hop."""


class SpawnError(JourneyError):
    """A user's server did not come up; the message carries the hub's and Kubernetes' own words."""


@dataclass(frozen=True)
class Hop:
    """One request of a journey and its answer."""

    url: str
    """Path and query."""
    status: int
    location: str | None
    """Target of a redirect, as the server wrote it."""
    seconds: float
    at: float = 0.0
    """When it was sent, as time.time()."""
    method: str = "GET"
    request_headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    response_headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Headers as they were, cookies and all: for harness/evidence/har.py, which shows no secret of theirs."""
    size: int = 0
    """Bytes of the answer's body."""

    def __str__(self) -> str:
        to = f" -> {self.location}" if self.location else ""
        return f"{self.status} {self.url}{to} ({self.seconds:.2f} s)"


@dataclass
class Journey:
    """The record of one person's way through the system, from the first URL to the last answer."""

    hops: list[Hop] = field(default_factory=list)
    progress: list[str] = field(default_factory=list)
    """The hub's messages while the server came up, as the spawn page shows them."""
    phases: list[Span] = field(default_factory=list)
    """Start and end of each part: login, spawn, page, kernel (until it answers)."""

    def took(self, phase: str, started: float) -> None:
        """Record a part that ends now; `started` as time.monotonic()."""
        self.phases.append(Span.ending_now(phase, time.monotonic() - started))

    def __str__(self) -> str:
        return "\n".join([*map(str, self.hops), *(f"    {message}" for message in self.progress)])


@dataclass(frozen=True)
class Page:
    """The page at the end of a journey."""

    url: str
    """Path and query."""
    status: int
    text: str = field(repr=False)

    @property
    def path(self) -> str:
        """Return the path, decoded."""
        return unquote(urlsplit(self.url).path)


ServerProbe = Callable[[str], Callable[[], str | None]]
"""Returns, for a user, a probe that explains why the user's server can no longer start (PodWatch.server_probe)."""


class Visitor:
    """One browser's worth of a person at a hub: cookies of its own, and a journey that records every hop.

    Args:
        hub: the hub to visit.
        server_probe: what ends the wait for a server that cannot start.
        timeline: for the moments of the journey.
        transport: in place of the network.
        names: the way to the hub and to other hosts by their names, where the hub's URL has one.
    """

    role = "student"

    def __init__(
        self,
        hub: Hub,
        server_probe: ServerProbe,
        timeline: Timeline | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
        names: Names | None = None,
    ) -> None:
        self.hub = hub
        self.names = names
        self.journey = Journey()
        self.name = ""
        """The hub's name for the visitor, of a student a random UUID; empty until the journey came by a server."""
        self.began = time.time()
        """When the visitor was made."""
        self._alias = str(uuid4())
        self.aliases = {self._alias}
        """Names in the timeline: those that the hub gave, and one from the time before there was any."""
        self._timeline = Timeline() if timeline is None else timeline
        self._server_probe = server_probe
        way = transport or (names.transport() if names else None)
        self._http = http.Client(base_url=hub.url, timeout=30, follow_redirects=False, transport=way)
        self._token = ""

    def __str__(self) -> str:
        return f"{self.role} {self.name or '(not logged in)'}"

    def close(self) -> None:
        self._http.close()

    @property
    def cookies(self) -> httpx.Cookies:
        return self._http.cookies

    def cookie_header(self, url: str) -> dict[str, str]:
        """Return the header with the cookies that a browser sends to a URL of a host that needs a name."""
        cookies = self._http.build_request("GET", url).headers.get("cookie") if self.names else None
        return {"Cookie": cookies} if cookies else {}

    def get(self, url: str, **kwargs: Any) -> httpx.Response:
        """Send one request, which becomes a hop; redirects are not followed."""
        return self.request("GET", url, **kwargs)

    def request(self, method: str, url: str, **kwargs: Any) -> httpx.Response:
        """Send one request of any method, which becomes a hop."""
        answer, hop = self._send(method, url, **kwargs)
        self.journey.hops.append(hop)
        return answer

    def call(self, method: str, url: str, **kwargs: Any) -> httpx.Response:
        """Send one request that is no hop of the journey, but a moment of the timeline."""
        answer, _ = self._send(method, url, **kwargs)
        return answer

    def _send(self, method: str, url: str, **kwargs: Any) -> tuple[httpx.Response, Hop]:
        at, started = time.time(), time.monotonic()
        try:
            answer = self._http.request(method, url, **kwargs)
        except httpx.HTTPError as error:
            self._note("http", f"{method} {url}: {str(error) or type(error).__name__}")
            raise
        sent = answer.request.url
        elsewhere = self.names and sent.host != httpx.URL(self.hub.url).host
        hop = Hop(
            str(sent) if elsewhere else sent.raw_path.decode(),
            answer.status_code,
            answer.headers.get("location"),
            time.monotonic() - started,
            at,
            method,
            tuple(answer.request.headers.multi_items()),
            tuple(answer.headers.multi_items()),
            len(answer.content),
        )
        self._note("http", f"{method} {hop}")
        return answer, hop

    def _note(self, source: str, text: str) -> None:
        self._timeline.add(source, text, who=self._alias)

    def _end_phase(self, name: str, started: float) -> None:
        self.journey.took(name, started)
        self._note("test", f"{name} of {self.name or 'a visitor'}: {time.monotonic() - started:.2f} s")

    def _take_name(self, name: str) -> None:
        self.name = name
        self.aliases.add(name)

    def open(self, link: str) -> Page:
        """Follow a link to its end, waiting for the server on the way.

        Args:
            link: path and query, such as /tmplogin?course=…&notebook=….

        Raises:
            SpawnError: the server did not come up.
            JourneyError: an error page, a journey without an end, or a course link that started no server.
        """
        parts = urlsplit(link)
        expects_server = parts.path in SPAWNING_PATHS and "course" in parse_qs(parts.query)
        return self._arrive(link, self.get(link), expects_server)

    def _arrive(self, link: str, answer: httpx.Response, expects_server: bool) -> Page:
        """Go on from the first answer to the page at the end."""
        started, served = time.monotonic(), False
        for _ in range(MAX_HOPS - 1):  # the first answer is there already
            path = answer.request.url.path
            if answer.is_redirect and answer.next_request:
                url = str(answer.next_request.url)
                if not url.startswith(f"{self.hub.url}/"):
                    raise JourneyError(f"{link} leaves the hub, for {url}\n{self.journey}")
                answer = self.get(url)
            elif answer.is_error:
                raise JourneyError(f"{link} ended in an error page: {answer.status_code} for {path}\n{self.journey}")
            elif path.startswith(SPAWN_PENDING):
                served = True
                self._take_name(user_in(path))
                self._end_phase("login", started)
                self._wait_for_server()
                started = time.monotonic()
                answer = self.get(answer.request.url.raw_path.decode())
            else:
                if name := user_in(path):
                    # A server that is up already has no page that waits for it.
                    served = True
                    self._take_name(name)
                self._end_phase("page", started)
                if expects_server and not served:
                    raise JourneyError(
                        f"{link} ended at {answer.request.url}: no server was started for it, expected a page under "
                        f"/user/. Check what the hub does after login (redirect_to_server, default_url) and with "
                        f"the course.\n{self.journey}"
                    )
                return Page(answer.request.url.raw_path.decode(), answer.status_code, answer.text)
        raise JourneyError(f"{link} has no end: {MAX_HOPS} hops\n{self.journey}")

    def _wait_for_server(self) -> None:
        """Read the spawn's progress as its page does, until the hub reports that the server is ready."""
        started = time.monotonic()
        try:
            with waiting(f"{self}'s server"):
                self._follow_progress(started)
        except httpx.HTTPError as error:
            raise SpawnError(
                f"The hub went away while {self}'s server came up, after "
                f"{time.monotonic() - started:.1f} s: {str(error) or type(error).__name__}"
            ) from error

    def _follow_progress(self, started: float) -> None:
        stuck_reason = self._server_probe(self.name)
        # A hub whose spawner fails while it tells of the start breaks off, and says why when it is asked again.
        for event in chain.from_iterable(self._progress() for _ in range(2)):
            if message := event.get("message"):
                self.journey.progress.append(message)
                self._note("spawn", message)
            if event.get("ready"):
                self._end_phase("spawn", started)
                return
            elapsed = time.monotonic() - started
            cause = stuck_reason()
            if event.get("failed") or cause or elapsed > SPAWN_TIMEOUT:
                messages = " | ".join(self.journey.progress[-3:])
                own = f"; the hub says: {' '.join(str(message).split())}" if event.get("failed") and message else ""
                raise SpawnError(
                    f"The server of {self} did not come up within {elapsed:.1f} s: "
                    f"{cause or f'no cause named by Kubernetes{own}'}.\nThe hub's messages: {messages}"
                )
        raise SpawnError(f"The hub ended the progress of {self}'s server without a verdict")

    def _progress(self) -> Iterator[dict[str, Any]]:
        """Yield the events of the spawn, and an empty one for each keep-alive line between them."""
        url = f"/hub/api/users/{quote(self.name)}/server/progress"
        with self._http.stream("GET", url, params={"_xsrf": self._xsrf}, timeout=30) as answer:
            if answer.is_error:
                answer.read()
                raise SpawnError(f"The progress of {self}'s server: {answer.status_code} {answer.text[:200]}")
            before = ""
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line.removeprefix("data:"))
                elif not before.startswith("data:"):  # the empty line that ends an event
                    yield {}
                before = line

    def whoami(self) -> str:
        """Return the hub's name for the visitor with these cookies.

        Raises:
            JourneyError: the hub has no user for them.
        """
        answer = self.get("/hub/api/user", headers={"X-XSRFToken": self._xsrf})
        try:
            name = str(answer.raise_for_status().json()["name"])
        except (httpx.HTTPStatusError, ValueError, LookupError) as error:
            # At the gate it may be a way to the login, or a page.
            raise JourneyError(
                f"The hub does not know the visitor: {answer.status_code} {answer.text[:200]}"
            ) from error
        self._take_name(name)
        return self.name

    def find_name(self) -> str:
        """Return the visitor's name, asked of the hub where no server's page has told it; empty where it knows none."""
        if not self.name and len(self.cookies.jar):
            with suppress(JourneyError, httpx.HTTPError):
                self.whoami()
        return self.name

    @property
    def token(self) -> str:
        """Return a token that the visitor's own session made, as the hub's token page does."""
        if not self._token:
            answer = self.call(
                "POST",
                f"/hub/api/users/{quote(self.name)}/tokens",
                json={"note": "kernel", "expires_in": 3600},
                headers={"X-XSRFToken": self._xsrf},
            )
            if answer.is_error:
                raise JourneyError(f"{self} gets no token: {answer.status_code} {answer.text[:200]}")
            self._token = answer.json()["token"]
        return self._token

    @property
    def _xsrf(self) -> str:
        found = [cookie.value for cookie in self.cookies.jar if (cookie.name, cookie.path) == ("_xsrf", "/hub/")]
        if not found:
            raise JourneyError(f"{self} has no _xsrf cookie for /hub/")
        return str(found[0])


def user_in(path: str) -> str:
    """Return the user to whom a path on a hub belongs: of a server's page, or of the page that waits for a server."""
    for prefix in (SPAWN_PENDING, "/user/"):
        if path.startswith(prefix):
            return unquote(path.removeprefix(prefix).partition("/")[0])
    return ""
