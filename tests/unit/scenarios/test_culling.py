"""The background: a test that takes something away waits for the end of its starts; a page is asked when it is old."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.base.wait import NeverError
from harness.hub.culler import Times
from harness.people.browser import Browser
from harness.people.link import EXAMPLE
from harness.scenarios.culling import Background, _ask_when_old, _return, _server_log
from harness.scenarios.scaled_hub import ServerLifetime


@pytest.mark.parametrize("how", ["opened", "failed", "no servers"])
def test_starts_are_waited_for(how: str) -> None:
    hub: Future[Any] = Future()
    servers: Future[Any] | None = None if how == "no servers" else Future()
    opened = threading.Event()
    background = Background(hub, servers, None, opened)
    waiting = threading.Thread(target=background.wait_until_opened, daemon=True)
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive(), "the hub is not there yet"
    hub.set_result(None)
    if servers:
        waiting.join(0.1)
        assert waiting.is_alive(), "its servers are not there yet"
        opened.set() if how == "opened" else servers.set_exception(ValueError("no server"))
    waiting.join(10)
    assert not waiting.is_alive()


@pytest.mark.parametrize(
    ("console", "unsaved"),
    [
        ([], "its server went after 55 s"),
        (
            [
                "https://hub/user/me/lab/extension.js - Failed to load resource: net::ERR_EMPTY_RESPONSE",
                "https://hub/user/me/api - Failed to load resource: the server responded with a status of 403 ()",
            ],
            "403 for https://hub/user/me/api, and then its server went after 55 s",
        ),
    ],
)
def test_page_whose_server_is_gone_tells_of_its_login(console: list[str], unsaved: str) -> None:
    window = cast(Browser, SimpleNamespace(console_errors=console, update_timeline=lambda: None))
    life = ServerLifetime("me", started=0.0, starting=0.0, last_seen=54.0, gone_at=55.0)
    page = _ask_when_old(window, ("", ""), life, 60.0, lambda: None, str)
    assert page.unsaved == unsaved
    assert page.forgotten == "its server went after 55 s"


def test_the_log_of_a_server_is_not_that_of_a_sidecar() -> None:
    """Where a pod has two containers, Kubernetes refuses a log of neither."""
    containers = [SimpleNamespace(name="notebook"), SimpleNamespace(name="a")]
    pod = SimpleNamespace(metadata=SimpleNamespace(name="jupyter-1"), spec=SimpleNamespace(containers=containers))
    pods = SimpleNamespace(
        look=lambda selector: [pod], logs=lambda pod, container, seconds: f"{container} of {pod}" if seconds else ""
    )
    running: Any = SimpleNamespace(cluster=SimpleNamespace(pods=lambda namespace: pods))
    hub: Any = SimpleNamespace(namespace="jupyter")
    assert _server_log(running, hub, "1") == "notebook of jupyter-1"


class Returning:
    """A student who comes back, and the hub that deletes the user."""

    name = "old"

    def __init__(self) -> None:
        self.deleted: list[str] = []
        self.server = SimpleNamespace(contents=lambda path: SimpleNamespace(status_code=200))

    def open(self, link: str) -> str:
        self.name = "new"
        return f"the page of {link}"

    def delete_user(self, name: str, fail_if: Callable[[], str | None]) -> None:
        self.deleted.append(name)


def come_back(student: Returning, gone_at: float | None, over: str | None = None) -> Any:
    life = ServerLifetime("old", started=0.0, last_seen=20.0, gone_at=gone_at)
    anybody: Any = student
    return _return(anybody, anybody, life, Times(every=1, timeout=2, max_age=3), lambda: over)


class TestReturn:
    def test_student_comes_back_and_goes_for_good(self) -> None:
        student = Returning()
        found = come_back(student, gone_at=21.0)
        assert (found.name, found.page, found.notebook) == ("new", f"the page of {EXAMPLE}", 200)
        assert student.deleted == ["new"]

    def test_nobody_comes_back_while_the_server_is_there(self) -> None:
        student = Returning()
        with pytest.raises(NeverError, match=r"the end of an idle server.*the run ends"):
            come_back(student, gone_at=None, over="the run ends")
        assert student.name == "old"
        assert not student.deleted
