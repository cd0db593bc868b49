"""A learner's way through the gate and Keycloak, and what is found when it ends elsewhere."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from harness.hub.api import Hub
from harness.people.journey import JourneyError
from harness.people.learner import Learner, login_form, words
from harness.services.keycloak import Account

HUB = Hub("https://nb.example", "jupyter", "jupyterhub", "jupyterhub", "t0ken")
FORM = '<form id="kc-form-login" action="https://sso.example/log-in?session_code=a&amp;tab_id=b" method="post">'
REFUSED = f'{FORM}<span id="input-error" class="x">\n Invalid username or\n password. </span>'


class Played:
    """The gate, Keycloak and the hub behind them."""

    def __init__(self) -> None:
        self.password = "right"

    def __call__(self, request: httpx.Request) -> httpx.Response:
        cookies = request.headers.get("cookie", "")
        match request.url.host, request.url.path:
            case "nb.example", "/.apisix/redirect":
                return httpx.Response(
                    302, headers={"Location": "/hub/home?a=b", "Set-Cookie": "gate=1; Path=/; Secure"}
                )
            case "nb.example", _ if "gate=1" not in cookies:
                return httpx.Response(302, headers={"Location": "https://sso.example/auth"})
            case "nb.example", _:
                return httpx.Response(200, text="home")
            case "sso.example", "/auth":
                return httpx.Response(200, text=FORM)
            case _, _ if f"password={self.password}" in request.content.decode():
                return httpx.Response(302, headers={"Location": "https://nb.example/.apisix/redirect?code=c"})
            case _:
                return httpx.Response(200, text=REFUSED)


@pytest.fixture
def learner() -> Learner:
    played: Any = type("Names", (), {"transport": lambda self: httpx.MockTransport(Played())})()
    return Learner(HUB, played, Account("ada", "right"), lambda name: lambda: None)


def test_the_link_is_followed_to_its_end(learner: Learner) -> None:
    page = learner.open("/hub/home?a=b")
    assert (page.url, page.text) == ("/hub/home?a=b", "home")
    assert [hop.url for hop in learner.journey.hops] == [
        "/hub/home?a=b",
        "https://sso.example/auth",
        "https://sso.example/log-in?session_code=a&tab_id=b",
        "/.apisix/redirect?code=c",
        "/hub/home?a=b",
    ]


def test_it_stops_at_the_form(learner: Learner) -> None:
    assert login_form(learner.go_to_login("/hub/home")) == "https://sso.example/log-in?session_code=a&tab_id=b"


def test_a_login_that_is_refused(learner: Learner) -> None:
    learner.account = Account("ada", "wrong")
    with pytest.raises(JourneyError, match=r"refuses the login of ada: Invalid username or password\."):
        learner.open("/hub/home")


def test_a_page_without_a_form(learner: Learner) -> None:
    page = httpx.Response(502, request=httpx.Request("GET", "https://sso.example/auth?state=s"), text="broken")
    with pytest.raises(JourneyError, match=r"login form of Keycloak, found 502 https://sso.example/auth: status 502\n"):
        learner.submit(page)


def test_a_password_is_in_no_message() -> None:
    assert "right" not in repr(Account("ada", "right"))


def test_keycloaks_words() -> None:
    text = '<p id="kc-error-message" class="a"><b>We are sorry</b>, page&nbsp;not found</p>'
    assert words(httpx.Response(400, text=text)).startswith("We are sorry")
