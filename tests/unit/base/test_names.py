"""Hosts by their real names on loopback ports: Host is the name's, and no other host is reached."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from harness.base import http
from harness.base.names import Names


@pytest.fixture
def names() -> Iterator[Names]:
    """A host that answers with the Host that it was asked for, and a cookie, and a connection's first request alone."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        answered = False

        def do_GET(self) -> None:
            if self.answered:
                self.close_connection = True
                return
            self.answered = True
            body = f"{self.headers['Host']} {self.path} {self.headers['Cookie']}".encode()
            self.send_response(200)
            self.send_header("Set-Cookie", "a=1; Path=/")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    place = f"127.0.0.1:{server.server_port}"
    yield Names({("nb.example", 80): place, ("sso.example", 80): place})
    server.shutdown()
    server.server_close()


def test_a_host_is_asked_by_its_name(names: Names) -> None:
    with http.Client(transport=names.transport()) as client:
        answer = client.get("http://nb.example/a%2Fb?c=d%26e")
        assert answer.text == "nb.example /a%2Fb?c=d%26e None"
        assert str(answer.request.url) == "http://nb.example/a%2Fb?c=d%26e"


def test_cookies_are_the_names_own(names: Names) -> None:
    with http.Client(transport=names.transport()) as client:
        client.get("http://nb.example/")
        assert client.get("http://nb.example/").text.endswith("a=1")
        assert client.get("http://sso.example/").text.endswith("None")


@pytest.mark.parametrize("url", ["http://other.example/", "https://nb.example/"])
def test_the_real_host_is_never_asked(names: Names, url: str) -> None:
    refused = pytest.raises(httpx.ConnectError, match=r"(other|nb).example:\d+ is no host of this run")
    with http.Client(transport=names.transport()) as client, refused:
        client.get(url)


def test_a_browser_knows_no_other_host(names: Names) -> None:
    rules = names.chromium_rules.split(", ")
    assert rules[0] == f"MAP nb.example:80 {names.places['nb.example', 80]}"
    assert rules[-2:] == ["MAP * ~NOTFOUND", "EXCLUDE 127.0.0.1"]
