"""HTTP's time-outs, which name the request."""

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
