"""A class that arrives together: the outcome for each student, and what two of them share."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from harness.hub.api import Hub
from harness.people.journey import SpawnError
from harness.scenarios.classroom import LOGIN_COOKIE, SESSION_COOKIE, StudentResult, arrive, shared


def result(course: str, **other: Any) -> StudentResult:
    """A student who shares nothing with those of other courses."""
    cookies = {SESSION_COOKIE: f"session of {course}", LOGIN_COOKIE: f"login of {course}"}
    return StudentResult(
        course, **{"name": f"name of {course}", "pod": f"pod of {course}", "cookies": cookies, **other}
    )


@pytest.mark.parametrize(
    ("other", "faults"),
    [
        ({}, []),
        ({"name": "name of a"}, ["two students have the same name"]),
        ({"pod": "pod of a"}, ["two students have the same pod"]),
        (
            {"cookies": {SESSION_COOKIE: "session of a", LOGIN_COOKIE: "login of b"}},
            ["one value for the cookies jupyterhub-session-id of a, jupyterhub-session-id of b"],
        ),
        (
            {"cookies": {SESSION_COOKIE: "1", LOGIN_COOKIE: "2", "jupyterhub-user-b": "login of a"}},
            ["one value for the cookies jupyterhub-hub-login of a, jupyterhub-user-b of b"],
        ),
        (
            {"cookies": {SESSION_COOKIE: "1"}},
            ["there is no cookie jupyterhub-hub-login for the students of b"],
        ),
    ],
    ids=["nothing", "name", "pod", "session", "another's server", "no login"],
)
def test_shared(other: dict[str, Any], faults: list[str]) -> None:
    assert shared([result("a"), result("b", **other)]) == faults


class FakeStudent:
    """A student whose server comes up, or not."""

    def __init__(self, name: str, *, arrives: bool = True) -> None:
        self.name, self._arrives = "", arrives
        self._own = name
        self.cookies = httpx.Cookies()
        kernel = SimpleNamespace(run=lambda code: SimpleNamespace(stdout="intro\n"))
        self.server = SimpleNamespace(kernel=lambda: _Entered(kernel))
        self.hub = SimpleNamespace(url="http://hub")

    def open(self, link: str) -> None:
        self.name = self._own
        if not self._arrives:
            raise SpawnError("ImagePullBackOff")
        for cookie in (SESSION_COOKIE, LOGIN_COOKIE, "_xsrf"):
            self.cookies.set(cookie, f"{cookie} of {self.name}", domain="hub")

    def close(self) -> None:
        pass


class _Entered:
    def __init__(self, what: object) -> None:
        self._what = what

    def __enter__(self) -> object:
        return self._what

    def __exit__(self, *_: object) -> None:
        pass


def test_arrive() -> None:
    """Each student's outcome has the cookies of that student, and one who never arrives is in trouble."""
    pod = SimpleNamespace(
        metadata=SimpleNamespace(name="jupyter-1"),
        spec=SimpleNamespace(
            node_name="worker",
            containers=[SimpleNamespace(name="notebook", resources=SimpleNamespace(limits=None))],
        ),
        # The kubelet sorts them by name.
        status=SimpleNamespace(
            container_statuses=[SimpleNamespace(name=name, image_id=f"{name}@sha256:1") for name in ("a", "notebook")]
        ),
    )
    cluster: Any = SimpleNamespace(server_pod=lambda namespace, user: pod)
    gone: list[str] = []
    leaving: Any = SimpleNamespace(add=lambda hub, user: gone.append(user))
    students: Any = iter([FakeStudent("one"), FakeStudent("two", arrives=False)])
    healthy = httpx.MockTransport(lambda _: httpx.Response(200))
    hub = Hub("http://hub", "jupyter", "jupyterhub", "jupyterhub", "token", healthy)
    arrived = arrive(hub, cluster, ["a", "b"], lambda: next(students), leaving)
    [one] = [each for each in arrived.results.values() if each.name == "one"]
    [two] = [each for each in arrived.results.values() if each.name == "two"]
    assert one.cookies == {SESSION_COOKIE: f"{SESSION_COOKIE} of one", LOGIN_COOKIE: f"{LOGIN_COOKIE} of one"}
    assert (one.pod, one.marker, one.trouble) == ("jupyter-1", "intro", "")
    assert one.image_id == "notebook@sha256:1"
    assert two.trouble == "ImagePullBackOff"
    assert "of one" not in repr(one), "a result shows what it takes to be its student"
    assert sorted(gone) == ["one", "two"]
