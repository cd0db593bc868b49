"""An author: the login form, the spawn form, and what is wrong when there is none."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs

import httpx
import pytest

from harness.hub.api import Hub
from harness.people.author import Author
from harness.people.student import JourneyError

LOGIN = '<form><input name="username"><input name="password"><input name="_xsrf"></form>'
FORM = '<form action="/hub/spawn/admin?_xsrf=1" method="post"><input id="c" name="course"><input name="_xsrf"></form>'

Answer = Callable[[httpx.Request], httpx.Response]


def author(answer: Answer) -> Author:
    found = Author(Hub("http://hub", "ns", "rel", "db", "token"))
    vars(found)["_http"] = httpx.Client(base_url="http://hub", transport=httpx.MockTransport(answer))
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
