"""A student: follows a link hop by hop, waits on the spawn's own progress stream, and runs cells in the notebook."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from uuid import uuid4

import httpx

from harness.base import http
from harness.base.errors import HarnessError
from harness.base.intervals import Span
from harness.base.timeline import UUID as UUID  # what the hub calls a student; whoever wants to know asks here
from harness.base.timeline import Timeline
from harness.base.wait import NotYet, wait_until, waiting
from harness.hub.api import Hub
from harness.people.kernel import START_TIMEOUT, Kernel, connect

MAX_HOPS = 20
SPAWN_TIMEOUT = 280.0
"""Seconds for a server to come up, pull included; production's own limit is 600 (singleuser.startTimeout).

Fewer than a test has (pyproject.toml), so that a spawn that hangs is told as one.
"""


class JourneyError(HarnessError):
    """A journey ended where it should not; the message says at which hop."""


class SpawnError(JourneyError):
    """The student's server did not come up; the message carries the hub's and Kubernetes' own words."""


@dataclass(frozen=True)
class Hop:
    """One request of a journey and its answer."""

    url: str
    """Path and query."""
    status: int
    location: str | None
    """Where the answer sends the browser, as the server wrote it."""
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
    """What one person went through, from the first URL to the last answer."""

    hops: list[Hop] = field(default_factory=list)
    progress: list[str] = field(default_factory=list)
    """The hub's messages while the server came up, as the student's page shows them."""
    phases: list[Span] = field(default_factory=list)
    """From when to when each part went on: login, spawn, page, kernel (until it answers)."""

    def took(self, phase: str, started: float) -> None:
        """Write down a part that ends now; `started` as time.monotonic()."""
        self.phases.append(Span.ending_now(phase, time.monotonic() - started))

    def __str__(self) -> str:
        return "\n".join([*map(str, self.hops), *(f"    {message}" for message in self.progress)])


WhyStuck = Callable[[str], Callable[[], str | None]]
"""Of the server of a user that is to come up from now on: gives what says, look by look, why it will never do so."""


@dataclass(frozen=True)
class Page:
    """The page at the end of a journey."""

    url: str
    """Path and query."""
    status: int
    text: str = field(repr=False)

    @property
    def path(self) -> str:
        """The path, decoded."""
        return unquote(urlsplit(self.url).path)


class Student:
    """One browser's worth of a student: cookies of its own, and a journey that records every hop.

    Args:
        hub: the hub to visit.
        why_stuck: what Kubernetes sees of the students' servers while they come up.
        timeline: where to write down what the student goes through.
    """

    def __init__(
        self, hub: Hub, why_stuck: WhyStuck = lambda user: lambda: None, timeline: Timeline | None = None
    ) -> None:
        self.hub = hub
        self.journey = Journey()
        self.name = ""
        """The hub's name for the student: a random UUID, known once the link was followed."""
        self.began = time.time()
        """When the student came into the world."""
        self._alias = str(uuid4())
        self.aliases = {self._alias}
        """Names in the timeline: those that the hub gave, and one from the time before there was any."""
        self._timeline = Timeline() if timeline is None else timeline
        self._why_stuck = why_stuck
        self._http = http.Client(base_url=hub.url, timeout=30, follow_redirects=False)
        self._token = ""

    def close(self) -> None:
        self._http.close()

    @property
    def cookies(self) -> httpx.Cookies:
        return self._http.cookies

    @property
    def server_url(self) -> str:
        """URL of the student's own server."""
        return f"{self.hub.url}/user/{quote(self.name)}"

    def get(self, url: str, **kwargs: Any) -> httpx.Response:
        """One request, recorded; redirects are not followed."""
        return self._request("GET", url, **kwargs)

    def _request(self, method: str, url: str, **kwargs: Any) -> httpx.Response:
        answer, hop = self._send(method, url, **kwargs)
        self.journey.hops.append(hop)
        return answer

    def _send(self, method: str, url: str, **kwargs: Any) -> tuple[httpx.Response, Hop]:
        """One request, told to the timeline."""
        at, started = time.time(), time.monotonic()
        try:
            answer = self._http.request(method, url, **kwargs)
        except httpx.HTTPError as error:
            self._tell("http", f"{method} {url}: {str(error) or type(error).__name__}")
            raise
        hop = Hop(
            answer.request.url.raw_path.decode(),
            answer.status_code,
            answer.headers.get("location"),
            time.monotonic() - started,
            at,
            method,
            tuple(answer.request.headers.multi_items()),
            tuple(answer.headers.multi_items()),
            len(answer.content),
        )
        self._tell("http", f"{method} {hop}")
        return answer, hop

    def _tell(self, source: str, text: str) -> None:
        self._timeline.add(source, text, who=self._alias)

    def _phase(self, name: str, started: float) -> None:
        """A part of the journey is over."""
        self.journey.took(name, started)
        self._tell("test", f"{name} of {self.name or 'somebody'}: {time.monotonic() - started:.2f} s")

    def _is(self, name: str) -> None:
        """The hub has said who the student is."""
        self.name = name
        self.aliases.add(name)

    def open(self, link: str) -> Page:
        """Follow a link to its end, waiting for the server on the way.

        Args:
            link: path and query, such as /tmplogin?course=…&notebook=….

        Raises:
            SpawnError: the server did not come up.
            JourneyError: an error page, or a journey without an end.
        """
        return self._arrive(link, self.get(link))

    def _arrive(self, link: str, answer: httpx.Response) -> Page:
        """Go on from the first answer to the page at the end."""
        started = time.monotonic()
        for _ in range(MAX_HOPS - 1):  # the first answer is there already
            path = answer.request.url.path
            if answer.is_redirect and answer.next_request:
                url = str(answer.next_request.url)
                if not url.startswith(f"{self.hub.url}/"):
                    raise JourneyError(f"{link} leaves the hub, for {url}\n{self.journey}")
                answer = self.get(url)
            elif answer.is_error:
                raise JourneyError(f"{link} ended in an error page: {answer.status_code} for {path}\n{self.journey}")
            elif path.startswith("/hub/spawn-pending/"):
                self._is(unquote(path.removeprefix("/hub/spawn-pending/")))
                self._phase("login", started)
                self._wait_for_server()
                started = time.monotonic()
                answer = self.get(answer.request.url.raw_path.decode())
            else:
                if path.startswith("/user/"):
                    # Where a server runs already there is no page that waits for it.
                    self._is(unquote(path.split("/")[2]))
                self._phase("page", started)
                return Page(answer.request.url.raw_path.decode(), answer.status_code, answer.text)
        raise JourneyError(f"{link} has no end: {MAX_HOPS} hops\n{self.journey}")

    def _wait_for_server(self) -> None:
        """Read the spawn's progress as the student's page does, until the hub says ready."""
        started = time.monotonic()
        try:
            with waiting(f"student {self.name}'s server"):
                self._follow_progress(started)
        except httpx.HTTPError as error:
            raise SpawnError(
                f"The hub went away while student {self.name}'s server came up, after "
                f"{time.monotonic() - started:.1f} s: {str(error) or type(error).__name__}"
            ) from error

    def _follow_progress(self, started: float) -> None:
        why_stuck = self._why_stuck(self.name)
        for event in self._progress():
            if message := event.get("message"):
                self.journey.progress.append(message)
                self._tell("spawn", message)
            if event.get("ready"):
                self._phase("spawn", started)
                return
            elapsed = time.monotonic() - started
            cause = why_stuck()
            if event.get("failed") or cause or elapsed > SPAWN_TIMEOUT:
                said = " | ".join(self.journey.progress[-3:])
                raise SpawnError(
                    f"The server of student {self.name} did not come up within {elapsed:.1f} s: "
                    f"{cause or 'no cause named by Kubernetes'}.\nThe hub said: {said}"
                )
        raise SpawnError(f"The hub ended the progress of student {self.name}'s server without a verdict")

    def _progress(self) -> Iterator[dict[str, Any]]:
        """Events of the spawn, and an empty one for each keep-alive line between them."""
        url = f"/hub/api/users/{quote(self.name)}/server/progress"
        with self._http.stream("GET", url, params={"_xsrf": self._xsrf("/hub/")}, timeout=30) as answer:
            if answer.is_error:
                answer.read()
                raise SpawnError(
                    f"The progress of student {self.name}'s server: {answer.status_code} {answer.text[:200]}"
                )
            for line in answer.iter_lines():
                yield json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}

    def contents(self, path: str) -> httpx.Response:
        """Ask the student's server for a file: 200 for one that is there, 404 for one that is not.

        The notebook page itself is 200 for any path (notebook 7 serves its shell), so this is what tells.
        """
        return self.get(f"/user/{quote(self.name)}/api/contents/{quote(path)}")

    def whoami(self) -> str:
        """The hub's name for who has these cookies.

        Raises:
            JourneyError: the hub knows nobody by them.
        """
        answer = self.get("/hub/api/user", headers={"X-XSRFToken": self._xsrf("/hub/")})
        if answer.is_error:
            raise JourneyError(f"The hub does not know the visitor: {answer.status_code} {answer.text[:200]}")
        self._is(str(answer.json()["name"]))
        return self.name

    @property
    def token(self) -> str:
        """A token that the student's own session made, as the student's token page does."""
        if not self._token:
            answer, _ = self._send(
                "POST",
                f"/hub/api/users/{quote(self.name)}/tokens",
                json={"note": "kernel", "expires_in": 3600},
                headers={"X-XSRFToken": self._xsrf("/hub/")},
            )
            if answer.is_error:
                raise JourneyError(f"Student {self.name} gets no token: {answer.status_code} {answer.text[:200]}")
            self._token = answer.json()["token"]
        return self._token

    def write(self, path: str, text: str) -> None:
        """Save a text file in the student's home directory, as the file browser does.

        Raises:
            JourneyError: the server refuses.
        """
        self._ask_server("PUT", f"contents/{quote(path)}", json={"type": "file", "format": "text", "content": text})

    def save(self, path: str) -> None:
        """Save a notebook where it is, as it is, as its Save button does.

        Raises:
            JourneyError: the server refuses.
        """
        there = self._ask_server("GET", f"contents/{quote(path)}").json()
        saved = {"type": "notebook", "format": "json", "content": there["content"]}
        self._ask_server("PUT", f"contents/{quote(path)}", json=saved)

    def page_config(self) -> dict[str, Any]:
        """What the student's server tells its pages of itself: disabledExtensions, for one (jupyterlab_server).

        Raises:
            JourneyError: the page has no such thing.
        """
        page = self.get(f"/user/{quote(self.name)}/tree")
        found = re.search(r'<script id="jupyter-config-data"[^>]*>(.*?)</script>', page.text, re.DOTALL)
        if not found:
            raise JourneyError(f"/tree of student {self.name} has no jupyter-config-data: {page.status_code}")
        return dict(json.loads(found[1]))

    def kernelspecs(self) -> dict[str, str]:
        """Language of each kernel that the student's server offers, by the kernel's name.

        Raises:
            JourneyError: the server refuses.
        """
        there = self._ask_server("GET", "kernelspecs").json()["kernelspecs"]
        return {name: its["spec"]["language"] for name, its in there.items()}

    @contextmanager
    def kernel(self, path: str = "", name: str = "python3") -> Iterator[Kernel]:
        """A new kernel in the student's server, over the hub's proxy; gone at the end.

        Args:
            path: notebook whose kernel it is, as when its page is opened: it works in the notebook's directory.
            name: the kernel's, of kernelspecs().

        Raises:
            JourneyError: the server refuses, or the notebook is open with a kernel of its own.
            HarnessError: the kernel cannot be reached, or does not answer.
        """
        # The server gives a path that has a session that session, with whatever its kernel has in memory.
        if path in [session["path"] for session in self._ask_server("GET", "sessions").json()]:
            raise JourneyError(f"{path} has a kernel already: shut that down, for this run needs a new one")
        about = {"path": path or f"console-{uuid4()}", "type": "notebook" if path else "console"}
        wanted = {**about, "name": path.rpartition("/")[2], "kernel": {"name": name}}
        started = time.monotonic()
        session = self._ask_server("POST", "sessions", json=wanted, timeout=START_TIMEOUT).json()
        try:
            with connect(f"{self.server_url}/api/kernels/{session['kernel']['id']}", self._authorization) as kernel:
                self.journey.took("kernel", started)
                yield kernel
        finally:
            self._end_session(session["id"])

    def _end_session(self, session: str) -> None:
        def gone() -> bool | NotYet:
            url = f"/user/{quote(self.name)}/api/sessions/{session}"
            answer, _ = self._send("DELETE", url, headers=self._authorization)
            # 500 while the server starts a killed kernel anew.
            return answer.status_code != 500 or NotYet(f"500 {answer.text[:200]}")

        # A server that is gone has taken its kernel along.
        with suppress(httpx.HTTPError):
            wait_until(f"the end of student {self.name}'s kernel", gone, timeout=30)

    @property
    def _authorization(self) -> dict[str, str]:
        # In a header: JupyterHub takes no token from the address of a websocket (JUPYTERHUB_ALLOW_TOKEN_IN_URL).
        return {"Authorization": f"token {self.token}"}

    def _ask_server(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """One request to the REST API of the student's own server."""
        url = f"/user/{quote(self.name)}/api/{path}"
        try:
            answer, _ = self._send(method, url, headers=self._authorization, **kwargs)
        except httpx.HTTPError as error:
            raise JourneyError(
                f"The server of student {self.name}, at {method} {path}: {str(error) or type(error).__name__}"
            ) from error
        if not answer.is_success:
            raise JourneyError(
                f"The server of student {self.name}, at {method} {path}: {answer.status_code} {answer.text[:200]}"
            )
        return answer

    def _xsrf(self, path: str) -> str:
        found = [cookie.value for cookie in self._http.cookies.jar if cookie.name == "_xsrf" and cookie.path == path]
        if not found:
            raise JourneyError(f"Student {self.name or '(nobody yet)'} has no _xsrf cookie for {path}")
        return str(found[0])
