"""The relay by which a browser reaches Grafana: through the API server, in both directions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from kubernetes import client
from urllib3 import HTTPResponse

from harness.monitoring.grafana import relay

PLACE = "/api/v1/namespaces/monitoring/services/grafana:3000/proxy"


class ApiServer(client.ApiClient):  # type: ignore[misc]  # kubernetes has no types
    """An API server that notes what it is asked, and answers with a page."""

    def __init__(self) -> None:
        super().__init__(client.Configuration(host="https://api"))
        self.asked: list[tuple[Any, ...]] = []

    def call_api(self, method: str, url: str, *given: Any, **_: Any) -> Any:
        self.asked.append((method, url, *given))
        headers = {"Content-Type": "text/html", "Set-Cookie": "a=b"}
        return client.rest.RESTResponse(HTTPResponse(b"<p>it", headers=headers, status=203))


@pytest.fixture
def api() -> ApiServer:
    return ApiServer()


@pytest.fixture
def url(api: ApiServer) -> Iterator[str]:
    with relay(api, PLACE) as url:
        yield url


def test_a_page_comes_by_way_of_the_api_server(api: ApiServer, url: str) -> None:
    answer = httpx.get(f"{url}/d/it?kiosk&from=now", headers={"Accept": "text/html", "Cookie": "a=b"})
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (203, "<p>it", "text/html")
    assert "set-cookie" not in answer.headers
    [(method, asked, headers, content)] = api.asked
    assert (method, asked, content) == ("GET", f"https://api{PLACE}/d/it?kiosk&from=now", None)
    assert headers == {"Accept": "text/html"}


def test_a_link_that_the_api_server_wrote_anew_leads_to_the_same_place(api: ApiServer, url: str) -> None:
    httpx.get(f"{url}{PLACE}/public/build/app.js")
    assert api.asked[0][1] == f"https://api{PLACE}/public/build/app.js"


def test_a_query_is_passed_on(api: ApiServer, url: str) -> None:
    query = {"queries": [{"expr": "up"}]}
    httpx.post(f"{url}/api/ds/query", json=query)
    [(method, _, headers, content)] = api.asked
    assert (method, content) == ("POST", query)
    assert headers["Content-Type"] == "application/json"
    assert json.dumps(content)


def test_nothing_listens_afterwards(api: ApiServer) -> None:
    with relay(api, PLACE) as url:
        pass
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
