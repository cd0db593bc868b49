"""HTTP with a limit that says whose it was: httpx's own message for it is "timed out"."""

from __future__ import annotations

import ssl
from typing import Any

import httpx


class Client(httpx.Client):
    """httpx's client for what is asked without TLS, whose time-outs name the request."""

    def __init__(self, **kwargs: Any) -> None:
        # Reading the authorities that nobody asks for costs a tenth of a second of CPU, for each student.
        super().__init__(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), **kwargs)

    def send(self, request: httpx.Request, **kwargs: Any) -> httpx.Response:
        """Send a request.

        Raises:
            httpx.TimeoutException: no answer in time; the message has method, host and path, and the limit.
        """
        try:
            return super().send(request, **kwargs)
        except httpx.TimeoutException as error:
            # Not the query: there may be a token in it.
            place = f"{request.method} {request.url.netloc.decode()}{request.url.path}"
            seconds = request.extensions.get("timeout", {}).get("read")
            limit = f" within {seconds:g} s" if seconds else ""
            raise type(error)(f"{place}: no answer{limit}", request=request) from error


def get(url: str, *, timeout: float = 30, **kwargs: Any) -> httpx.Response:
    """Ask for a URL once, as somebody whom nobody knows.

    Args:
        timeout: seconds.
        kwargs: as httpx's own takes them.

    Raises:
        httpx.TimeoutException: as `Client.send`.
        httpx.TransportError: nobody answers there.
    """
    with Client(timeout=timeout) as latency_probe:
        return latency_probe.get(url, **kwargs)
