"""HTTP's time-outs, which name the request."""

from __future__ import annotations

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
