"""An author: the login form, the spawn form, and what is wrong when there is none."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs

import httpx
import pytest

from harness.hub.api import Hub
from harness.people.author import Author
from harness.people.journey import JourneyError, ServerProbe, SpawnError
from tests.unit.people.conftest import never_stuck
from tests.unit.people.fake_hub import event

LOGIN = '<form><input name="username"><input name="password"><input name="_xsrf"></form>'
FORM = '<form action="/hub/spawn/admin?_xsrf=1" method="post"><input id="c" name="course"><input name="_xsrf"></form>'

Answer = Callable[[httpx.Request], httpx.Response]


def author(answer: Answer, server_probe: ServerProbe = never_stuck) -> Author:
    hub = Hub("http://hub", "ns", "rel", "db", "token")
    found = Author(hub, server_probe, transport=httpx.MockTransport(answer))
    found.cookies.set("_xsrf", "1", domain="hub", path="/hub/")
    return found


def test_log_in_sends_the_form() -> None:
    sent: list[dict[str, list[str]]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, text=LOGIN)
        sent.append(parse_qs(request.content.decode()))
        return httpx.Response(302, headers={"Location": "/hub/"})

    assert author(answer).log_in("secret") == 302
    assert sent == [{"username": ["admin"], "password": ["secret"], "_xsrf": ["1"]}]


def test_no_login_form() -> None:
    with pytest.raises(JourneyError, match="No login form at /hub/login: 404"):
        author(lambda _: httpx.Response(404)).log_in("secret")


def test_form_is_sent_where_it_says() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.raw_path.decode()} {request.content.decode()}".strip())
        if request.method == "GET" and request.url.path == "/hub/spawn":
            return httpx.Response(200, text=FORM)
        if request.method == "POST":
            return httpx.Response(302, headers={"Location": "/user/admin/lab"})
        return httpx.Response(200, text="the lab")

    page = author(answer).ask_for("intro")
    assert page.path == "/user/admin/lab"
    assert asked == ["GET /hub/spawn", "POST /hub/spawn/admin?_xsrf=1 course=intro&_xsrf=1", "GET /user/admin/lab"]


def test_form_without_a_course() -> None:
    with pytest.raises(JourneyError, match="has no field for a course"):
        author(lambda _: httpx.Response(200, text=LOGIN)).ask_for("intro")


LIST = """
<form><select class="form-control" name="course">
  <option value="">Choose</option><option selected value="r&amp;d">R and D</option><option> intro </option>
</select><input name="_xsrf"></form>
"""


@pytest.mark.parametrize(("course", "sent"), [("INTRO", "intro"), ("R&D", "r%26d")])
def test_list_of_courses_sends_an_option(course: str, sent: str) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            asked.append(request.content.decode())
            return httpx.Response(302, headers={"Location": "/user/admin/lab"})
        return httpx.Response(200, text=LIST if request.url.path == "/hub/spawn" else "the lab")

    author(answer).ask_for(course)
    assert asked == [f"course={sent}&_xsrf=1"]


def test_list_without_the_course() -> None:
    with pytest.raises(JourneyError, match=r"is a list without uai\. It has 3 options: Choose, r&d, intro"):
        author(lambda _: httpx.Response(200, text=LIST)).ask_for("uai")


def hub_with_a_form(sends_to: str, *progress: str) -> Answer:
    """A hub whose form leads there, and that reports this progress of the author's server."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(302, headers={"Location": sends_to})
        if request.url.path.endswith("/progress"):
            return httpx.Response(200, text="".join(progress))
        return httpx.Response(200, text=FORM if request.url.path == "/hub/spawn" else "a page of the hub")

    return answer


def test_a_server_that_is_stuck_is_not_waited_for() -> None:
    """As a student's, the author's wait ends with the cause that Kubernetes names."""
    waits = hub_with_a_form("/hub/spawn-pending/admin", event(message="Back-off pulling image"))
    asked: list[str] = []

    def stuck(user: str) -> Callable[[], str | None]:
        asked.append(user)
        return lambda: "pod jupyter-admin: container notebook: ImagePullBackOff"

    expected = r"\AThe server of author admin did not come up within 0\.. s: pod jupyter-admin: .*ImagePullBackOff\."
    with pytest.raises(SpawnError, match=expected):
        author(waits, stuck).ask_for("intro")
    assert asked == ["admin"]


def test_a_form_that_starts_no_server() -> None:
    expected = r"\Athe form with intro ended at http://hub/hub/home: no server was started for it"
    with pytest.raises(JourneyError, match=expected):
        author(hub_with_a_form("/hub/home")).ask_for("intro")
