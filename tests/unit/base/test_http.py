"""HTTP's time-outs, which name the request, and its cookies."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from harness.base import http


@pytest.mark.parametrize("kind", [httpx.ReadTimeout, httpx.ConnectTimeout])
def test_a_time_out_names_the_request_and_no_token(kind: type[httpx.TimeoutException]) -> None:
    def silent(request: httpx.Request) -> httpx.Response:
        raise kind("timed out", request=request)

    with (
        http.Client(base_url="http://hub:80/hub/api", transport=httpx.MockTransport(silent), timeout=3) as client,
        pytest.raises(kind, match=r"\AGET hub/hub/api/users: no answer within 3 s\Z"),
    ):
        client.get("/users", params={"token": "secret"})


def test_no_proxy_is_asked_for_what_the_run_has_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer would be taken for the hub's."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as hub:
        threading.Thread(target=hub.handle_request, daemon=True).start()
        # The server's own refusal of a method that it does not know.
        assert http.get(f"http://127.0.0.1:{hub.server_port}/hub/api").status_code == 501


@pytest.mark.parametrize(
    ("host", "sent"),
    [("127.0.0.1:8000", "a=1; b=2"), ("localhost:8000", "a=1; b=2"), ("nb.learn.mit.edu", "b=2")],
)
def test_secure_cookies_stay_from_http_but_for_loopback(host: str, sent: str) -> None:
    """As in a browser; a hub behind its gate may say Secure of its cookies, and a copy has no TLS."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("cookie", ""))
        cookies = [("set-cookie", "a=1; Path=/; Secure; HttpOnly"), ("set-cookie", "b=2; Path=/")]
        return httpx.Response(302, headers=[("location", "/next"), *cookies])

    with http.Client(base_url=f"http://{host}", transport=httpx.MockTransport(answer)) as client:
        first = client.get("/")
        client.get("/")
    assert asked == ["", sent]
    assert first.next_request
    assert first.next_request.headers["cookie"] == sent


def test_secure_cookies_go_by_https() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"set-cookie": "a=1; Secure"}, text=request.headers.get("cookie", ""))

    with http.Client(base_url="https://nb.learn.mit.edu", transport=httpx.MockTransport(answer)) as client:
        assert [client.get("/").text for _ in range(2)] == ["", "a=1"]
